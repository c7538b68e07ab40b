"""The keys that tokens are verified with: a secret, a public key in PEM, or a JWKS file, read again when it changes.

Each key is good for one algorithm, which its kind decides and never the token: a secret for HS256, RSA for RS256, P-256
for ES256. So a public key can never be taken for a secret (RFC 8725 section 2.1).
"""

from __future__ import annotations

import json
import logging
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import attrs
from joserfc.errors import InvalidKeyTypeError, JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey, import_key

from .errors import ConfigError, TokenRefused

__all__ = ["FileKeys", "KeyRing", "KeySource", "secret_ring"]

logger = logging.getLogger("callboard")

Key = OctKey | RSAKey | ECKey

# RFC 7518 section 3.2: a key for HS256 has at least as many bits as the hash has; section 3.3: RSA has 2048 at least.
MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2_048
# Far more keys than anybody rotates; a larger file is not a key file.
MAX_FILE_BYTES = 262_144


@attrs.frozen(repr=False)
class _Entry:
    algorithm: str
    kid: str | None
    key: Key


class KeyRing:
    """Some keys, of which a token's header chooses one by algorithm and key id."""

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def algorithms(self) -> list[str]:
        """The algorithms that its keys are good for."""
        return sorted({entry.algorithm for entry in self._entries})

    def secret(self) -> OctKey | None:
        """The first secret, which can also sign; None if there are only public keys."""
        return next((entry.key for entry in self._entries if isinstance(entry.key, OctKey)), None)

    def find(self, algorithm: object, kid: object) -> Key:
        """The key for a token that names this algorithm and key id, None for none. Raises TokenRefused.

        A token that names no key id fits when only one key is good for its algorithm.
        """
        fitting = [entry for entry in self._entries if entry.algorithm == algorithm]
        if kid is not None:
            fitting = [entry for entry in fitting if entry.kid in (None, kid)]
        if len(fitting) != 1:
            what = "no key fits" if not fitting else "several keys fit"
            raise TokenRefused(f"{what} the token's algorithm and key id; allowed are {', '.join(self.algorithms)}")
        return fitting[0].key


class KeySource(Protocol):
    """Where the keys come from."""

    def ring(self) -> KeyRing:
        """The keys that count now."""


def secret_ring(secret: bytes) -> KeyRing:
    """A ring of one HS256 secret. Raises ConfigError if it is too short."""
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"the key has {len(secret)} bytes; HS256 needs {MIN_SECRET_BYTES} at least (RFC 7518)")
    return KeyRing([_Entry("HS256", None, OctKey.import_key(secret))])


class FileKeys:
    """The keys of a file: hex digits (a secret), PEM (a public key), or a JWKS. Read again when it changes.

    A file that becomes unreadable or wrong is logged, and the keys read last stay: a slip of the pen while keys are
    rotated must not lock all users out. A file that is wrong at the start is a ConfigError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()
        self._ring = read_keys(path)

    def ring(self) -> KeyRing:
        """The keys, read anew if the file has changed."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._ring = read_keys(self._path)
            except ConfigError as error:
                logger.error("the keys stay as they were: %s", error)
            else:
                logger.info("read %d keys anew from %s", len(self._ring), self._path)
        return self._ring

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_keys(path: Path) -> KeyRing:
    """Read a key file. Raises ConfigError, which names the file and what is wrong with it."""
    try:
        found = path.stat()
        if found.st_size > MAX_FILE_BYTES:
            raise ConfigError(f"key file {path} has {found.st_size} bytes; {MAX_FILE_BYTES} are allowed")
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"key file {path} is neither hex digits, nor PEM, nor a JWKS") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # what the library only warns of is refused below
            entries = _parse(text, path)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise ConfigError(f"key file {path}: {error}") from None
        raise ConfigError(
            f"key file {path} is neither hex digits, nor PEM, nor a JWKS: {type(error).__name__}"
        ) from None
    secret = any(isinstance(entry.key, OctKey) for entry in entries)
    mode = stat.S_IMODE(found.st_mode)
    if secret and mode & 0o077:
        raise ConfigError(f"{path} holds a secret and may be read by others (mode {mode:04o}): chmod 600 {path}")
    return KeyRing(entries)


def _parse(text: str, path: Path) -> list[_Entry]:
    if text.startswith("-----BEGIN"):
        return [_entry(_pem(text), None)]
    if text.startswith("{"):
        return _jwks(json.loads(text), path)
    return list(secret_ring(bytes.fromhex(text))._entries)


def _jwks(content: Any, path: Path) -> list[_Entry]:
    keys = content.get("keys")
    if not isinstance(keys, list) or not keys:
        raise ConfigError(f"{path} is a JWKS without `keys`")
    # RFC 7517 section 4.2: a key for encryption is not for signatures; section 5: kinds that are not known are ignored.
    known = [key for key in keys if key.get("use", "sig") == "sig" and key.get("kty") in ("oct", "RSA", "EC")]
    return [_entry(import_key(key), key.get("kid")) for key in known]


def _pem(text: str) -> RSAKey | ECKey:
    try:
        return RSAKey.import_key(text)
    except InvalidKeyTypeError:
        return ECKey.import_key(text)


def _entry(key: Any, kid: object) -> _Entry:
    name = kid if isinstance(kid, str) else None
    match key:
        case OctKey():
            return attrs.evolve(secret_ring(key.raw_value)._entries[0], kid=name)
        case RSAKey():
            if key.raw_value.key_size < MIN_RSA_BITS:
                raise ConfigError(f"an RSA key has {key.raw_value.key_size} bits; RS256 needs {MIN_RSA_BITS} at least")
            return _Entry("RS256", name, key)
        case ECKey() if key.curve_name == "P-256":
            return _Entry("ES256", name, key)
        case _:
            kind = getattr(key, "curve_name", None) or getattr(key, "key_type", "?")
            raise ConfigError(f"a key is of kind {kind}; allowed are oct (HS256), RSA (RS256) and EC P-256 (ES256)")
