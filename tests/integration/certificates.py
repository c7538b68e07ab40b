"""Certificates of an authority that a test makes for itself, and what verifies them. None is kept."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import trustme

from callboard.transport import FileCertificate

__all__ = ["Authority"]


@attrs.frozen
class Authority:
    """An authority, and the folder where its files are."""

    folder: Path
    ca: trustme.CA = attrs.field(factory=trustme.CA)

    def issue(self, name: str = "node", *hosts: str) -> tuple[Path, Path]:
        """A certificate for these hosts and its key, as files; an older one of this name is replaced."""
        leaf = self.ca.issue_cert(*(hosts or ("127.0.0.1", "localhost")))
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        for path, content in (
            (certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems)),
            (key, leaf.private_key_pem.bytes()),
        ):
            new = path.with_suffix(".new")
            new.touch(0o600)
            new.write_bytes(content)
            new.replace(path)
        return certificate, key

    def certificate(self, *hosts: str) -> FileCertificate:
        """The same as the node takes it."""
        return FileCertificate(*self.issue("node", *hosts))

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def context(self) -> ssl.SSLContext:
        """What verifies its certificates, and no others."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        return context
