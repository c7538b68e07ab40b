"""What was found by feeding the targets: inputs that each made one fail once."""

from __future__ import annotations

__all__ = ["FOUND"]

FOUND: list[tuple[str, bytes]] = [
    # An answer with a body to a refused HEAD: the connection ended as by a bug of the node's, without any answer.
    ("http", b"\0HEAD / HTTP/0.1\r\nHost: x\r\n\r\n"),
    ("http", b"\0HEAD /%ff HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("http", b"\0HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"),
    ("http", b"\0HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    ("config", b"a=" + b"[" * 2_000),  # RecursionError
    ("config", b"port=" + b"9" * 5_000),  # ValueError of int(), which has a bound of digits
    ("config", b'key_file="a\\u0000b"'),  # ValueError: embedded null byte
    ("config", b'tls_cert="a\\u0000"\ntls_key="b"'),  # the same
]
