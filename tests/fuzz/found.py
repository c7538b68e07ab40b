"""What was found by feeding the targets: inputs that each made one fail once."""

from __future__ import annotations

__all__ = ["FOUND"]

FOUND: list[tuple[str, bytes]] = [
    ("config", b"a=" + b"[" * 2_000),  # RecursionError
    ("config", b"port=" + b"9" * 5_000),  # ValueError of int(), which has a bound of digits
    ("config", b'key_file="a\\u0000b"'),  # ValueError: embedded null byte
    ("config", b'tls_cert="a\\u0000"\ntls_key="b"'),  # the same
]
