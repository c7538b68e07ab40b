"""What is fed with anything at all: each target takes bytes, and raises if the node does what it must not.

`test_targets.py` feeds them with Hypothesis, on each run of the tests; `test_atheris.py` with a fuzzer that is led by
coverage, for a minute each. What either finds becomes a line in `found.py`.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio
import trio.testing
from joserfc import jwt
from joserfc.jwk import OctKey

from callboard.actors import IssueTicket, Limits, SessionKey, TicketBook
from callboard.transport.api import Api
from callboard.transport.auth import Authenticator
from callboard.transport.config import load_config
from callboard.transport.errors import ConfigError, Problem, TokenRefused
from callboard.transport.forwarded import TrustedProxies
from callboard.transport.http import HttpLimits, Request, Response, Upgrade, json_response, serve_http
from callboard.transport.outbox import Outbox
from callboard.transport.protocol import (
    AgentsProtocol,
    BadFrame,
    ClientProtocol,
    CloseCode,
    FrameTooBig,
    Refused,
    ServerProtocol,
    ServerState,
    TokenBucket,
    UnknownType,
    decode_client,
    decode_server,
    encode,
)
from callboard.transport.streams import WebSocket

__all__ = ["SEEDS", "TARGETS"]

KEY = bytes(range(32))
NOW = 1_767_225_600.0
LIMITS = Limits(frame_bytes=1_024, depth=8, commands_per_s=1.0, burst=5, fragments=4, body_bytes=512)
HTTP = HttpLimits(head_seconds=5.0, keep_alive_seconds=30.0, linger_seconds=1.0, head_bytes=1_024, body_bytes=512)


def codec(data: bytes) -> None:
    """A message of a client is read, or one of three errors; what was read is the same when written and read again."""
    text: str | bytes = data
    if data[:1] == b"s":
        text = data[1:].decode("utf-8", "surrogatepass" if data[1:2] == b"s" else "replace") if _decodes(data) else data
    try:
        message = decode_client(text, max_bytes=LIMITS.frame_bytes, max_depth=LIMITS.depth)
    except (BadFrame, FrameTooBig, UnknownType):
        pass
    else:
        again = decode_client(encode(message), max_bytes=10 * LIMITS.frame_bytes, max_depth=LIMITS.depth)
        assert again == message
    try:
        server_message = decode_server(text)
    except (BadFrame, UnknownType):
        return
    assert decode_server(encode(server_message)) == server_message


def _decodes(data: bytes) -> bool:
    try:
        data[1:].decode("utf-8", "surrogatepass" if data[1:2] == b"s" else "replace")
    except UnicodeDecodeError:
        return False
    return True


def server_protocol(data: bytes) -> None:
    """A server's end takes any frames, at any times, between steps of its own: it refuses once, and then is deaf."""
    now, refused = 0.0, 0
    protocol = ServerProtocol(LIMITS, now)
    for line in data.split(b"\n"):
        step, frame = line[:1], line[1:]
        if step == b"w":
            if protocol.state is ServerState.AWAIT_VERDICT:
                protocol.welcomed(now)
            continue
        if step == b"d":
            events: list[object] = [protocol.draining()]
        elif step == b"t":
            now += len(frame)
            events = list(protocol.tick(now))
        elif step == b"b":
            events = [protocol.receive(frame, now)]
        elif step == b"c":
            protocol.closed()
            continue
        else:
            events = [protocol.receive(line.decode("utf-8", "replace"), now)]
        before = refused
        refused += sum(isinstance(event, Refused) for event in events)
        assert refused <= 1
        if refused > before:
            assert protocol.state is ServerState.CLOSED
            assert all(len(event.reason.encode()) <= 123 for event in events if isinstance(event, Refused))
        if protocol.state is ServerState.CLOSED:
            assert protocol.next_deadline() == float("inf")


def agents_protocol(data: bytes) -> None:
    """A node's end of a worker's connection takes any messages at any times: it refuses once, and then is deaf."""
    now, refused = 0.0, 0
    protocol = AgentsProtocol(
        hello_seconds=5, heartbeat_seconds=25, timeout_seconds=10, max_bytes=10_000, max_depth=8, now=now
    )
    for line in data.split(b"\n"):
        if line[:1] == b"t":
            now += len(line)
            outcome: object = protocol.tick(now)
        else:
            outcome = protocol.receive(line[1:] if line[:1] == b"b" else line.decode("utf-8", "replace"), now)
        assert not (refused and outcome is not None), outcome
        refused += isinstance(outcome, tuple)


def client_protocol(data: bytes) -> None:
    """A client's end takes any frames: what it applies is contiguous, whatever a server says."""
    now = 0.0
    client = ClientProtocol(device="d" * 32, client="fuzz")
    client.hello("t")
    for line in data.split(b"\n"):
        if line[:1] == b"t":
            now += len(line)
            client.tick(now)
        elif line[:1] == b"h":
            client.closed()
            client.hello("t")
        else:
            before = client.position
            client.receive(line.decode("utf-8", "replace"), now)
            after = client.position
            if before is not None and after is not None and before[0] == after[0] and b'"welcome"' not in line:
                assert after[1] >= before[1]


class _Fed(trio.abc.Stream):
    """A peer that sends these chunks and then no more, and reads everything."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.said = bytearray()
        self._chunks = chunks

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return next(self._chunks, b"")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.said += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _chunks(data: bytes) -> Iterator[bytes]:
    """What a peer sends, in pieces as long as its first byte says, but not in too many; 0 is all at once."""
    body = data[1:]
    size = max(data[0], len(body) // 20) if data and data[0] else 0
    if not size:
        return iter([body] if body else [])
    return iter([body[start : start + size] for start in range(0, len(body), size)])


async def _answer(request: Request) -> Response:
    return json_response(200, {"method": request.method, "body": len(request.body)})


def http(data: bytes) -> None:
    """Anything at all is answered as HTTP, or left; an upgrade is given only with what RFC 6455 asks for."""
    stream = _Fed(_chunks(data))
    proxies = TrustedProxies(["10.0.0.0/8"])

    def seen(request: Request) -> Request:
        caller = proxies.caller("10.0.0.1", False, request.headers)
        return attrs.evolve(request, client=caller.address, secure=caller.secure)

    clock = trio.testing.MockClock(autojump_threshold=0)
    upgrade = trio.run(partial(serve_http, stream, HTTP, _answer, ("/v1/connect",), seen), clock=clock)
    if upgrade is not None:
        assert isinstance(upgrade, Upgrade)
        assert len(base64.b64decode(upgrade.key, validate=True)) == 16
        assert upgrade.request.path == "/v1/connect"
        assert upgrade.request.method == "GET"
        assert upgrade.request.body == b""
    _check_answers(bytes(stream.said))


def _check_answers(said: bytes) -> None:
    """What the node said is sound HTTP, answer for answer."""
    while said:
        if said.startswith(b"HTTP/1.1 100 "):
            said = said.partition(b"\r\n\r\n")[2]
            continue
        head, separator, said = said.partition(b"\r\n\r\n")
        assert separator, head
        assert head.startswith(b"HTTP/1.1 "), head
        assert head.split(b" ")[1] in (b"200", b"400", b"413", b"426", b"431", b"501", b"505"), head
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        assert len(lengths) == 1, head
        length = int(lengths[0].partition(b":")[2])
        # The answer to HEAD has a length and no body; nothing but another answer can stand there.
        if not said.startswith(b"HTTP/1.1 ") and said:
            assert len(said) >= length, head
            said = said[length:]


def websocket(data: bytes) -> None:
    """Behind a handshake any bytes, raw or in frames: messages, or a close that says why; and nothing is held."""
    frames = bytes(_frames(data[1:])) if data[:1] == b"f" else data[1:]
    stream = _Fed(iter([frames[start : start + 200] for start in range(0, len(frames), 200)]))
    trio.run(_websocket, stream, clock=trio.testing.MockClock(autojump_threshold=0))


def _frames(program: bytes) -> Iterator[int]:
    """Frames as a client masks them: of each three bytes the first is the frame's own first, two say how long it is."""
    for at in range(0, len(program) - 2, 3):
        first, size = program[at], min(int.from_bytes(program[at + 1 : at + 3], "big"), 2_000)
        yield first
        if size < 126:
            yield 0x80 | size
        else:
            yield 0x80 | 126
            yield from size.to_bytes(2, "big")
        yield from bytes(4)
        yield from program[at : at + size].ljust(size, b"a")[:size]


async def _take(message: str | bytes) -> None:
    assert len(message) <= 4 * LIMITS.frame_bytes
    await trio.lowlevel.checkpoint()


async def _websocket(stream: _Fed) -> None:
    refused: list[CloseCode] = []
    failed: list[str] = []
    outbox = Outbox(
        stream,
        pull=lambda: None,
        catch_up=trio.lowlevel.checkpoint,
        failed=failed.append,
        write_seconds=15.0,
        max_bytes=65_536,
    )
    socket = WebSocket(
        stream,
        outbox,
        rest=b"",
        take=_take,
        max_message_chars=4 * LIMITS.frame_bytes,
        max_fragments=LIMITS.fragments,
        controls=TokenBucket(LIMITS.commands_per_s, LIMITS.burst, trio.current_time()),
        refuse=lambda code, reason: refused.append(code),
        close_seconds=1.0,
    )
    async with trio.open_nursery() as nursery:
        outbox.start(lambda task: nursery.start_soon(task))
        socket.accept("AAAAAAAAAAAAAAAAAAAAAA==", "callboard.v1.json")
        await socket.read()
        await outbox.wait_written()
        assert outbox.waiting_bytes == 0
        outbox.close()
        nursery.cancel_scope.cancel()
    assert len(refused) <= 1
    assert len(socket._message_parts) <= 4 * LIMITS.frame_bytes
    assert failed == []


def forwarded(data: bytes) -> None:
    """Headers of a trusted proxy name a caller, or are refused with 400; an address is never made up."""
    proxies = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
    names = ("forwarded", "x-forwarded-for", "x-forwarded-proto")
    # As h11 gives them: without line ends and spaces around.
    values = [line.strip(b" \t\r\0").decode("latin-1") for line in data.split(b"\n")]
    headers = {name: value for name, value in zip(names, values, strict=False) if value}
    try:
        caller = proxies.caller("10.0.0.1", False, headers)
    except Problem as problem:
        if problem.status != 400:
            raise
        return
    if caller.address != "10.0.0.1":
        ip_address(caller.address)
        assert "forwarded" in headers or "x-forwarded-for" in headers
    stranger = proxies.caller("192.0.2.1", True, headers)
    assert (stranger.address, stranger.secure) == ("192.0.2.1", True)


class _Tickets:
    def __init__(self) -> None:
        self.book = TicketBook(LIMITS)

    async def ask_async(self, message: IssueTicket) -> str:
        self.book.issue("t" * 64, message.grant, message.origin, 0.0)
        return "t" * 64


class _Journal:
    async def sessions(self, user: str) -> tuple[SessionKey, ...]:
        return (SessionKey(user, "notes"),)


@attrs.define
class _Node:
    tickets: _Tickets = attrs.field(factory=_Tickets)


@attrs.define
class _Board:
    """As much of a board as answers need."""

    authenticator: Authenticator
    node: Any = attrs.field(factory=_Node)
    journal: Any = attrs.field(factory=_Journal)
    publications: Counter[int] = attrs.field(factory=Counter)
    limits: Limits = LIMITS
    serving: bool = True

    def origin_allowed(self, origin: str | None) -> bool:
        return origin in (None, "http://here")

    def may_ask(self, user: str) -> bool:
        return True

    def may_publish(self, service: str) -> bool:
        return True

    def websocket_url(self, host: str, secure: bool) -> str:
        return "ws://here/v1/connect"

    async def report(self, selection: object) -> dict[str, Any]:
        return {"selection": repr(selection)}

    async def close_user(self, user: str) -> Any:
        assert 1 <= len(user) <= 200
        return attrs.make_class("Ended", ["connections"])(0)


@cache
def _authenticator() -> Authenticator:
    return Authenticator(KEY, lambda: NOW)


def _token(user: str, **more: object) -> str:
    return jwt.encode({"alg": "HS256"}, {"sub": user, "exp": NOW + 60, **more}, OctKey.import_key(KEY))


@cache
def _operator() -> str:
    return _token("op", scope="operator")


def requests(data: bytes) -> None:
    """Bodies and queries of whoever has a token are answered: with 2xx, 400 or 429, and nothing else."""
    api = Api(_Board(_authenticator()), {})
    path = ("/v1/tickets", "/v1/revocations", "/v1/statistics")[(data or b"\0")[0] % 3]
    query: Mapping[str, str] = {}
    if path == "/v1/statistics":
        names = ("actors", "sort", "match")
        query = dict(zip(names, data[1:].decode("utf-8", "replace").split("&"), strict=False))
    method = "GET" if query else "POST"
    request = Request(method, path, {"authorization": f"Bearer {_operator()}"}, data[1:], query)
    response = trio.run(api.handle, request)
    assert response.status in (200, 201, 400, 405, 429), response
    msgspec.json.decode(response.body)


def token(data: bytes) -> None:
    """No bytes are somebody but those that were signed."""
    text = data.decode("latin-1")
    try:
        identity = _authenticator().verify(text)
    except TokenRefused:
        return
    assert identity.user in ("ada", "op"), identity


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="callboard-fuzz-"))


def config(data: bytes) -> None:
    """A settings file is read, or refused with a message; nothing else is raised."""
    path = _folder() / f"{os.getpid()}.toml"
    path.write_bytes(data)
    try:
        load_config({"app": "a:b"}, {}, path)
    except ConfigError as error:
        if not str(error):
            raise
    finally:
        path.unlink()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        codec,
        server_protocol,
        agents_protocol,
        client_protocol,
        http,
        websocket,
        forwarded,
        requests,
        token,
        config,
    )
}

_HELLO = b'{"t":"hello","ticket":"x","device":"' + b"d" * 32 + b'","client":"c","start":{"epoch":"' + b"0" * 16
_FRAMES = [
    _HELLO + b'","seq":3},"merge":true}',
    _HELLO.partition(b',"start"')[0] + b',"start":"first"}',
    _HELLO.partition(b',"start"')[0] + b',"start":{"last":5}}',
    b'{"t":"command","id":1,"op":"user_message","data":{"text":"hi","agent":null,"x":[1.5,{"y":[]}]}}',
    b'{"t":"command","id":2,"op":"cancel","run":"' + b"0" * 32 + b'"}',
    b'{"t":"ack","seq":9007199254740991}',
    b'{"t":"pong","seq":0}',
    b'{"t":"future"}',
]
_WORKER = [
    b'{"t":"hello","worker":"' + b"e" * 32 + b'","client":"c","agents":{"a":{"restartable":true}},"capacity":2}',
    b'{"t":"event","run":"r","attempt":1,"n":1,"type":"agent_delta","data":{"text":"x"}}',
    b'{"t":"end","run":"r","attempt":1,"n":2,"error":{"code":"c","message":"m"}}',
    b'{"t":"pong"}',
]
_SERVER_FRAMES = [
    b'{"t":"welcome","session":"s","connection":"c","epoch":"0000000000000000","first":1,"head":3,"from":1,'
    b'"mode":"fresh","last_id":0,"heartbeat_ms":25000,"timeout_ms":10000,"limits":{"frame_bytes":65536,"depth":32,'
    b'"commands_per_s":20.0,"burst":40,"runs":4,"history":1000},"server":"s"}',
    b'{"t":"events","events":[{"seq":1,"id":"r/0","type":"agent_started","run":"r","at":1,"data":{}},'
    b'{"seq":[2,3],"id":"r/1","type":"agent_delta","at":1,"data":{"text":"x"}}]}',
    b'{"t":"gap","from":1,"to":3,"reason":"retention"}',
    b'{"t":"result","id":1,"ok":{"run":"r"},"seq":1}',
    b'{"t":"result","id":1,"error":{"code":"rate","message":"m","retry":true}}',
    b'{"t":"error","code":"c","message":"m"}',
    b'{"t":"ping","seq":3}',
    b'{"t":"goaway","reason":"draining","in_ms":1,"by_ms":2}',
]
_UPGRADE = (
    b"GET /v1/connect HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: callboard.v1.json\r\nForwarded: for=192.0.2.1;proto=https\r\n\r\n"
)
_POST = b"POST /v1/tickets?x=1&y=%41 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"
_CHUNKED = (
    b"POST /%C3%A4 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n"
)

SEEDS: dict[str, list[bytes]] = {
    "codec": [*_FRAMES, *_SERVER_FRAMES, b"s" + _FRAMES[0], b"ss\xed\xa0\x80"],
    "server_protocol": [
        b"\n".join([_FRAMES[0], b"w", *_FRAMES[3:], b"t" + b"x" * 26, b"t" + b"x" * 36, _FRAMES[3]]),
        b"\n".join([_FRAMES[1], b"w", *([_FRAMES[3]] * 12)]),
        b"\n".join([_FRAMES[1], b"d", b"c"]),
        b"\n".join([b"b" + _FRAMES[1], b"t" + b"x" * 6]),
    ],
    "agents_protocol": [
        b"\n".join([_WORKER[0], *_WORKER, b"t" + b"x" * 26, _WORKER[3], b"t" + b"x" * 36]),
        b"\n".join([*_WORKER[1:], b"t" + b"x" * 6]),
    ],
    "client_protocol": [
        b"\n".join(_SERVER_FRAMES),
        b"\n".join([*_SERVER_FRAMES[:2], b"h", *_SERVER_FRAMES]),
        *(b"\n".join(pair) for pair in pairwise(_SERVER_FRAMES)),
    ],
    "http": [
        b"\0" + _UPGRADE,
        b"\1" + _UPGRADE,
        b"\0" + _POST * 3,
        b"\7" + _POST + _CHUNKED,
        b"\0" + _CHUNKED,
        b"\0HEAD" + _UPGRADE[3:],
    ],
    "websocket": [
        b"f\x81\0\5\x01\0\3\x80\0\3\x89\0\1\x8a\0\0\x88\0\2",
        b"f" + b"\x01\0\0" + b"\0\0\0" * 6,
        b"r\x81\x82\0\0\0\0{}\x88\x82\0\0\0\0\x03\xe8",
    ],
    "forwarded": [
        b'for=192.0.2.1;proto=https, for="[2001:db8::1]:80";by=_x\n192.0.2.1, 10.1.1.1\nhttps',
        b"for=unknown\n\nhttp",
        b"\n[2001:db8::1]:443, ::ffff:10.0.0.2\nwss",
        b'for="\\"a";host=x,,\n1.2.3.4:80\n',
    ],
    "requests": [
        b'\0{"session":"notes"}',
        b'\1{"user":"ada"}',
        b"\x025&stuck&board/",
        b"\0",
        b'\0{"session":"\\ud800"}',
    ],
    "token": [_token("ada").encode(), _operator().encode(), b"a.b.c"],
    "config": [
        b'port = 1\nhost = "127.0.0.1"\norigins = ["https://a.example"]\n[limits]\nruns = 8\ndrain_seconds = 1.5\n',
        b'public_url = "https://n.example/x"\ntrusted_proxies = ["10.0.0.0/8"]\ndurability = "power"\ndev = true\n',
        b'key_file = "k"\ntls_cert = "c"\ntls_key = "k"\njournal = ":memory:"\n',
    ],
}
assert SEEDS.keys() == TARGETS.keys()
