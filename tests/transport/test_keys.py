"""Key files: what each kind is good for, what is refused, and that a changed file counts."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from callboard.transport import Authenticator, ConfigError, TokenRefused
from callboard.transport.keys import FileKeys

NOW = 1_000.0
CLAIMS = {"sub": "ada", "exp": 2_000}


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    """An RSA key pair, made for this run."""
    return RSAKey.generate_key(2048, private=True)


@pytest.fixture(scope="module")
def ec() -> ECKey:
    """A P-256 key pair, made for this run."""
    return ECKey.generate_key("P-256", private=True)


def write(path: Path, content: str | bytes | dict[str, Any], mode: int = 0o600) -> Path:
    """Write a key file."""
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def verifier(path: Path) -> Authenticator:
    """What a node with this key file verifies with."""
    return Authenticator(FileKeys(path), lambda: NOW)


def signed(key: RSAKey | ECKey, alg: str, kid: str | None = None) -> str:
    """A token of ada's."""
    header = {"alg": alg} if kid is None else {"alg": alg, "kid": kid}
    return jwt.encode(header, CLAIMS, key, algorithms=[alg])


def test_public_keys_verify(tmp_path: Path, rsa: RSAKey, ec: ECKey) -> None:
    """A PEM file of an RSA or a P-256 public key verifies RS256 or ES256, readable by all as it is no secret."""
    for name, key, alg in (("rsa.pem", rsa, "RS256"), ("ec.pem", ec, "ES256")):
        path = write(tmp_path / name, key.as_pem(private=False), mode=0o644)
        assert verifier(path).verify(signed(key, alg)).user == "ada"


def test_secret_file(tmp_path: Path) -> None:
    """Hex digits are an HS256 secret, and must be the owner's alone."""
    secret = os.urandom(32)
    path = write(tmp_path / "key", secret.hex() + "\n")
    assert verifier(path).verify(Authenticator(secret, lambda: NOW).token("ada")).user == "ada"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        FileKeys(path)


def test_public_key_is_no_secret(tmp_path: Path, rsa: RSAKey) -> None:
    """A token signed with HS256 and the public key's own text is refused (RFC 8725 section 2.1)."""  # S12
    pem = rsa.as_pem(private=False)
    path = write(tmp_path / "rsa.pem", pem)
    # By hand, as the library would not take such a secret.
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, CLAIMS)]
    signed_part = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(pem, signed_part, "sha256")).rstrip(b"=")
    forged = f"{signed_part.decode()}.{signature.decode()}"
    with pytest.raises(TokenRefused):
        verifier(path).verify(forged)


def test_key_id_chooses(tmp_path: Path, rsa: RSAKey, ec: ECKey) -> None:
    """In a JWKS the token's key id and algorithm choose; one that is not there, or of another kind, is refused."""
    other = RSAKey.generate_key(2048, private=True)
    keys = [
        {**rsa.as_dict(private=False), "kid": "new", "use": "sig"},
        {**other.as_dict(private=False), "kid": "old"},
        {**ec.as_dict(private=False), "kid": "curve"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "unknown-kind"},
    ]
    auth = verifier(write(tmp_path / "jwks.json", {"keys": keys}))
    assert auth.verify(signed(rsa, "RS256", "new")).user == "ada"
    assert auth.verify(signed(other, "RS256", "old")).user == "ada"
    assert auth.verify(signed(ec, "ES256")).user == "ada"
    refused = ((rsa, "RS256", "old"), (rsa, "RS256", "gone"), (rsa, "RS256", None), (rsa, "RS256", "curve"))
    for key, alg, kid in refused:
        with pytest.raises(TokenRefused):
            auth.verify(signed(key, alg, kid))


def test_rotation(tmp_path: Path, rsa: RSAKey, ec: ECKey, caplog: pytest.LogCaptureFixture) -> None:
    """A changed file counts at once; one that is broken is logged, and the keys read last stay."""
    path = write(tmp_path / "jwks.json", {"keys": [rsa.as_dict(private=False)]})
    auth = verifier(path)
    assert auth.verify(signed(rsa, "RS256")).user == "ada"
    write(path, {"keys": [ec.as_dict(private=False)]})
    assert auth.verify(signed(ec, "ES256")).user == "ada"
    with pytest.raises(TokenRefused):
        auth.verify(signed(rsa, "RS256"))
    with caplog.at_level(logging.ERROR, "callboard"):
        write(path, "{ half of a fi")
        assert auth.verify(signed(ec, "ES256")).user == "ada"
    assert "the keys stay as they were" in caplog.text


@pytest.mark.parametrize(
    "content",
    ["", "not a key", "abcd", "{}", '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', '{"keys": 3}', b"\xff\xfe", "[1]",
     "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", '{"keys": ["x"]}'],
)  # fmt: skip
def test_wrong_files(tmp_path: Path, content: str | bytes) -> None:
    """A file that holds no key says so, by its name, at the start."""
    path = write(tmp_path / "wrong", content)
    with pytest.raises(ConfigError, match="wrong"):
        FileKeys(path)


def test_weak_and_strange_keys(tmp_path: Path) -> None:
    """A short RSA key and another curve are refused by name; a missing file too."""
    with pytest.warns(SecurityWarning):
        short = RSAKey.generate_key(1024, private=True)
    with pytest.raises(ConfigError, match="1024"):
        FileKeys(write(tmp_path / "short.pem", short.as_pem(private=False)))
    curve = ECKey.generate_key("P-384", private=True)
    with pytest.raises(ConfigError, match="P-384"):
        FileKeys(write(tmp_path / "curve.pem", curve.as_pem(private=False)))
    with pytest.raises(ConfigError, match=r"missing.pem"):
        FileKeys(tmp_path / "missing.pem")


def test_public_keys_sign_nothing(tmp_path: Path, rsa: RSAKey) -> None:
    """A node with public keys only says that it cannot make tokens."""
    with pytest.raises(ConfigError, match="public keys only"):
        verifier(write(tmp_path / "rsa.pem", rsa.as_pem(private=False))).token("ada")
