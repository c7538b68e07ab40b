"""TLS for the node's port: a certificate and its key from files, read again when they change.

New connections get the new certificate, those that are open keep theirs. So a certificate that is renewed every few
weeks needs no restart and no signal.
"""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path
from typing import Protocol

from .errors import ConfigError

__all__ = ["FileCertificate", "TlsSource", "authority"]

logger = logging.getLogger("callboard")

# A chain has some 6 KB; a larger file is none.
MAX_FILE_BYTES = 1_048_576


class TlsSource(Protocol):
    """Where the node's TLS comes from."""

    def context(self) -> ssl.SSLContext:
        """What the next connection is served with."""


class FileCertificate:
    """A certificate, with its chain, and its key, from two files in PEM. They may be one and the same.

    Files that become unreadable or do not match, as in the middle of a renewal, are logged, and what was read last
    stays; they are looked at again with the next connection after they have changed.

    Raises:
        ConfigError: a file is wrong at the start; the message names it.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._look()
        self._context = _load(certificate, key)

    def context(self) -> ssl.SSLContext:
        """See `TlsSource`; reads the files anew if they have changed."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = _load(*self._files)
            except ConfigError as error:
                logger.error("the certificate stays as it was: %s", error)
            else:
                logger.info("read the certificate anew from %s", self._files[0])
        return self._context

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_look(path) for path in self._files]


def authority(path: Path) -> ssl.SSLContext:
    """What verifies nodes whose certificates this file's authorities have signed, and no others.

    Raises:
        ConfigError: the file holds no certificates.
    """
    _read(path, "--ca", "CERTIFICATE-----")
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigError(f"--ca {path} holds no certificate in PEM: {error.reason}") from None


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    _read(certificate, "TLS certificate", "CERTIFICATE-----")
    mode = _read(key, "TLS key", "PRIVATE KEY-----")
    if mode & stat.S_IRWXO:
        # A group is how many systems share it with those who serve.
        raise ConfigError(f"TLS key {key} may be read by everybody (mode {mode:04o}): chmod o= {key}")

    def no_password() -> str:
        raise ConfigError(f"TLS key {key} is encrypted; nobody is there to type its password")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 ends those before
    context.set_alpn_protocols(["http/1.1"])  # a client must not take us for HTTP/2, where upgrades differ
    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"TLS key {key} does not belong to the certificate {certificate}") from None
        raise ConfigError(f"TLS certificate {certificate} and key {key} cannot be used: {error.reason}") from None
    except OSError as error:
        raise ConfigError(f"TLS certificate {certificate} and key {key}: {error.strerror}") from None
    return context


def _read(path: Path, what: str, mark: str) -> int:
    """See that a file can be read and looks right; gives its mode. OpenSSL's own errors name no file."""
    try:
        found = path.stat()
        if found.st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{what} {path} has {found.st_size} bytes; {MAX_FILE_BYTES} are allowed")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from None
    if mark.encode() not in content:
        raise ConfigError(f"{what} {path} is no PEM file with {'a key' if 'KEY' in mark else 'a certificate'}")
    return stat.S_IMODE(found.st_mode)
