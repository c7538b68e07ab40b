"""What clients do wrong, with what the wire and HTTP name for each: frames, requests and tokens for several tests."""

from __future__ import annotations

import base64
import json
from time import time

from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration.boards import KEY

__all__ = ["AFTER_WELCOME", "BAD_HTTP", "BEFORE_WELCOME", "Frame", "bad_tokens", "good_token", "hello"]

Frame = str | bytes | dict[str, object]

DEVICE = "d" * 32


def hello(ticket: str, **more: object) -> dict[str, object]:
    """A hello with this ticket."""
    return {"t": "hello", "ticket": ticket, "device": DEVICE, "client": "peer", **more}


def nested(depth: int) -> str:
    """A command whose data is so deep."""
    return json.dumps({"t": "command", "id": 1, "op": "user_message", "data": {"x": 0}}).replace(
        "0}", "[" * depth + "]" * depth + "}"
    )


def many_bytes(limit: int) -> str:
    """A command of fewer characters than this, and of more bytes."""
    command = {"t": "command", "id": 1, "op": "o", "data": {"text": "\u00e4" * (limit * 2 // 3)}}
    text = json.dumps(command, ensure_ascii=False)
    assert len(text) < limit < len(text.encode())
    return text


# Before welcome: a name, a first frame, and the code of the close that it gets.
BEFORE_WELCOME: list[tuple[str, Frame, int]] = [
    ("binary", b'{"t":"hello"}', 4001),
    ("malformed JSON", '{"t":', 4001),
    ("not a map", "[1]", 4001),
    ("no t", "{}", 4001),
    ("a number for t", '{"t":1}', 4001),
    ("another frame first", {"t": "ack", "seq": 0}, 4002),
    ("a command first", {"t": "command", "id": 1, "op": "user_message", "data": {"text": "hi"}}, 4002),
    ("an unknown type first", {"t": "future"}, 4002),
    ("hello without a device", {"t": "hello", "ticket": "x", "client": "c"}, 4001),
    ("hello with a short device", {"t": "hello", "ticket": "x", "device": "d", "client": "c"}, 4001),
    ("hello with a wrong start", hello("x", start={"epoch": "0"}), 4001),
    ("too big", {"t": "hello", "ticket": "x" * 3_000}, 4007),
    ("nested too deep", "[" * 1_000 + "]" * 1_000, 4001),
    ("a forged ticket", hello("0" * 64), 4302),
]

# After welcome, with 2,048 bytes for a frame.
AFTER_WELCOME: list[tuple[str, Frame, int]] = [
    ("a second hello", hello("x"), 4002),
    ("binary", b"{}", 4001),
    ("malformed JSON", "{", 4001),
    ("a wrong type", {"t": "command", "id": "1", "op": "user_message", "data": {}}, 4001),
    ("an id beyond what JSON holds", {"t": "command", "id": 2**53, "op": "user_message", "data": {}}, 4001),
    ("nested too deep", nested(40), 4001),
    ("nested much too deep", nested(400), 4001),
    ("too big", {"t": "command", "id": 1, "op": "user_message", "data": {"text": "x" * 3_000}}, 4007),
    ("too big in bytes only", many_bytes(2_048), 4007),
]

HEAD = b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

# A name, the bytes of a request, and the status of the one answer.
BAD_HTTP: list[tuple[str, bytes, int]] = [
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
    ("noise", bytes(range(256)) * 40, 400),
    ("a huge head", b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000, 431),
    ("a huge body", HEAD + b"Content-Length: 10000000\r\n\r\n" + b"x" * 10_000_000, 413),
    (
        "a huge body in chunks",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n%s\r\n" % (b"x" * 4_095) * 500,
        413,
    ),
    ("two lengths", HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    ("an upgrade that lacks its key", UPGRADE + b"Sec-WebSocket-Version: 13\r\n\r\n", 400),
    ("an upgrade of an old version", UPGRADE + b"Sec-WebSocket-Version: 7\r\n\r\n", 426),
    ("an upgrade elsewhere", UPGRADE.replace(b"/v1/connect", b"/v2") + b"Connection: close\r\n\r\n", 404),
]


def raw(header: object, claims: object) -> str:
    """A token that nobody signed."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), b"")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def good_token(user: str, **more: object) -> str:
    """A token that the boards of these tests take."""
    return jwt.encode({"alg": "HS256"}, {"sub": user, "exp": time() + 600, **more}, OctKey.import_key(KEY))


def bad_tokens(user: str) -> list[str]:
    """Tokens that prove nothing: expired, of another key, of another algorithm, unsigned, and none at all."""
    good = {"sub": user, "exp": time() + 600, "scope": "operator"}
    key, other = OctKey.import_key(KEY), OctKey.import_key(bytes(32))
    return [
        jwt.encode({"alg": "HS256"}, {**good, "exp": time() - 1}, key),
        jwt.encode({"alg": "HS256"}, good, other),
        jwt.encode({"alg": "HS512"}, good, key, algorithms=["HS512"]),
        raw({"alg": "none"}, good),
        raw({"alg": "None"}, good),
        "nonsense",
    ]
