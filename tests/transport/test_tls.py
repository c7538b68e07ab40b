"""The node's certificate from files: what is wrong is named, what is renewed is read. No connection is made here."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from callboard.transport import ConfigError, FileCertificate
from callboard.transport.tls import authority


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """An authority of this module's own."""
    return trustme.CA()


def write(folder: Path, leaf: trustme.LeafCert, name: str = "node") -> tuple[Path, Path]:
    """A certificate and its key as files."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.touch(0o600)
    key.write_bytes(leaf.private_key_pem.bytes())
    return certificate, key


def test_two_files_or_one(tmp_path: Path, ca: trustme.CA) -> None:
    """TLS 1.2 at least, and no word of HTTP/2, where a WebSocket is opened in another way."""
    leaf = ca.issue_cert("localhost")
    certificate, key = write(tmp_path, leaf)
    context = FileCertificate(certificate, key).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    assert FileCertificate(both, both).context().get_ca_certs() == []


def test_what_is_wrong_is_named(tmp_path: Path, ca: trustme.CA) -> None:
    """The file, and what is the matter with it; a key that everybody may read is no secret."""  # S12
    certificate, key = write(tmp_path, ca.issue_cert("localhost"))
    other_certificate, other_key = write(tmp_path, ca.issue_cert("localhost"), "other")
    text, broken, locked = tmp_path / "text", tmp_path / "broken", tmp_path / "locked"
    for path in (text, broken, locked):
        path.touch(0o600)
    text.write_text("hello", encoding="ascii")
    broken.write_text("-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----\n", encoding="ascii")
    secret = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
    for files, said in [
        ((tmp_path / "none", key), "certificate .*none cannot be read: No such file"),
        ((certificate, tmp_path / "none"), "key .*none cannot be read: No such file"),
        ((tmp_path, key), "cannot be read: Is a directory"),
        ((text, key), "certificate .*text is no PEM file with a certificate"),
        ((certificate, text), "key .*text is no PEM file with a key"),
        ((key, key), "node.key is no PEM file with a certificate"),
        ((certificate, certificate), "node.pem is no PEM file with a key"),
        ((broken, key), "broken and key .* cannot be used"),
        ((certificate, broken), "broken cannot be used"),
        ((certificate, other_key), "other.key does not belong to the certificate .*node.pem"),
        ((other_certificate, key), "node.key does not belong to the certificate .*other.pem"),
        ((certificate, locked), "locked is encrypted"),
    ]:
        with pytest.raises(ConfigError, match=said):
            FileCertificate(*files)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"0644.*chmod o= "):
        FileCertificate(certificate, key)
    key.chmod(0o640)
    FileCertificate(certificate, key)


def test_a_renewed_certificate_is_read(tmp_path: Path, ca: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    """With both files new; while they do not match, what was read last is served, and it is said once."""
    caplog.set_level(logging.INFO)
    old, new = ca.issue_cert("localhost"), ca.issue_cert("localhost")
    files = write(tmp_path, old)
    source = FileCertificate(*files)
    first = source.context()
    assert source.context() is first
    renewed = write(tmp_path, new, "renewed")
    os.replace(renewed[0], files[0])  # as a renewal does, one after the other
    assert source.context() is source.context() is first
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "stays as it was" in caplog.text
    os.replace(renewed[1], files[1])
    second = source.context()
    assert second is not first
    assert source.context() is second
    files[0].unlink()
    assert source.context() is second
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "ERROR"]


def test_an_authority_of_ones_own(tmp_path: Path, ca: trustme.CA) -> None:
    """It verifies, names included, and it is the only one that is trusted."""  # S12
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    context = authority(path)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    for name, content in (("none", None), ("text", "hello"), ("broken", "-----BEGIN CERTIFICATE-----\nx\n")):
        if content is not None:
            (tmp_path / name).write_text(content, encoding="ascii")
        with pytest.raises(ConfigError, match=f"--ca .*{name}"):
            authority(tmp_path / name)
