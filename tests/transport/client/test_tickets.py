"""A ticket over HTTP, on streams in memory: whatever is answered, it is a ticket, none just now, or none at all."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from callboard.transport.client import NetworkWay, NoTicketNow, Ticket, TicketDenied, TokenSource, TokenSourceFailed
from callboard.transport.client.tickets import ask_token, get_ticket

URL = "http://node.example/prefix"
GOOD = {"ticket": "t" * 64, "session": "s-1", "expires_in_s": 30, "url": "ws://node.example/v1/connect"}

Play = Callable[[trio.abc.HalfCloseableStream, bytes], Awaitable[None]]


def answer(status: int, body: Any = None, *headers: str) -> bytes:
    """An answer of HTTP with a JSON body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Played", f"content-length: {len(content)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def saying(data: bytes) -> Play:
    """Answer with this, and close."""

    async def play(stream: trio.abc.HalfCloseableStream, request: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    return play


async def asked(play: Play, *, url: str = URL, requests: list[bytes] | None = None, **options: Any) -> Ticket:
    """What `get_ticket` makes of it."""
    streams: list[trio.abc.Stream] = []

    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.abc.HalfCloseableStream) -> None:
            request = b""
            while b"\r\n\r\n" not in request or not request.endswith(b"}"):
                request += await stream.receive_some()
            if requests is not None:
                requests.append(request)
            await play(stream, request)

        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            ours, theirs = memory_stream_pair()
            streams.append(ours)
            nursery.start_soon(serve, theirs)
            return ours

        failure: Exception | None = None
        ticket: Ticket | None = None
        try:
            ticket = await get_ticket(url, "bearer", open_stream=open_stream, **options)
        except Exception as error:  # noqa: BLE001 - raised again outside of the nursery, which would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    for stream in streams:
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
    if failure is not None:
        raise failure
    assert ticket is not None
    return ticket


async def test_a_ticket() -> None:
    """What is asked, and what is given."""
    requests: list[bytes] = []
    ticket = await asked(saying(answer(201, GOOD)), requests=requests, session="notes", origin="https://a.example")
    assert (ticket.ticket, ticket.session, ticket.expires_in_s, ticket.url) == tuple(GOOD.values())
    assert "t" * 64 not in repr(ticket)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /prefix/v1/tickets HTTP/1.1"
    assert {"host: node.example", "authorization: Bearer bearer", "origin: https://a.example"} < set(lines)
    assert json.loads(body) == {"session": "notes"}


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_may_come_in_pieces(chunked: bool) -> None:
    """Of any size, with a word before it, with its length said before or not at all."""
    body = json.dumps(GOOD).encode()
    if chunked:
        data = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        data = b"HTTP/1.1 201 Created\r\n\r\n" + body

    async def play(stream: trio.abc.HalfCloseableStream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        for byte in data:
            await stream.send_all(bytes([byte]))
        await stream.send_eof()

    assert (await asked(play)).ticket == GOOD["ticket"]


DENIED: list[tuple[bytes, int, str]] = [
    (answer(401, {"title": "Unauthorized", "detail": "the token has expired"}), 401, "the token has expired"),
    (answer(403, {"title": "Forbidden"}), 403, "Forbidden"),
    (answer(400, {}), 400, "no reason given"),
    (answer(404, b"<html>"), 404, "does not answer as a callboard node does"),
    (answer(200, GOOD), 200, "no reason given"),
    (answer(307, {}, "location: http://evil.example/"), 307, "elsewhere"),
    (answer(201, b""), 201, "does not answer as"),
    (answer(201, []), 201, "does not answer as"),
    (answer(201, b"[" * 30_000), 201, "does not answer as"),
    (answer(201, b"\xff"), 201, "does not answer as"),
    (answer(201, {**GOOD, "ticket": ""}), 201, "does not answer as"),
    (answer(201, {**GOOD, "ticket": "t" * 513}), 201, "does not answer as"),
    (answer(201, {**GOOD, "ticket": 5}), 201, "does not answer as"),
    (answer(201, {**GOOD, "url": "http://node.example/"}), 201, "does not answer as"),
    (answer(201, {**GOOD, "url": "file:///etc/passwd"}), 201, "does not answer as"),
    (answer(201, {**GOOD, "url": "ws://a b/"}), 201, "does not answer as"),
    (answer(201, {"ticket": "t", "session": "s"}), 201, "does not answer as"),
    (answer(201, b"x" * 100_000), 201, "does not answer as"),
]


@pytest.mark.parametrize("data, status, named", DENIED, ids=[f"{case[1]}-{index}" for index, case in enumerate(DENIED)])
async def test_what_will_not_go_away_by_asking_again(data: bytes, status: int, named: str) -> None:
    """Is told with its status and the reason that the node gave."""
    with pytest.raises(TicketDenied, match=named) as denied:
        await asked(saying(data))
    assert denied.value.status == status


DATE = "date: Sun, 22 Nov 2026 10:00:00 GMT"
LATER: list[tuple[bytes, float]] = [
    (answer(503, {}), 0.0),
    (answer(503, b"<html>", "retry-after: 7"), 7.0),
    (answer(429, {}, "Retry-After: 120"), 120.0),
    (answer(429, {}, "retry-after: 99999"), 300.0),
    (answer(502, {}, "retry-after: Sun, 22 Nov 2026 10:01:00 GMT", DATE), 60.0),
    (answer(504, {}, "retry-after: Sun, 22 Nov 2026 09:00:00 GMT", DATE), 0.0),
    (answer(500, {}, "retry-after: Sun, 22 Nov 2026 10:01:00 GMT"), 0.0),
    (answer(408, {}, "retry-after: -5"), 0.0),
    (answer(425, {}, "retry-after: soon"), 0.0),
    (answer(520, {}, "retry-after: 5.5"), 0.0),
    (b"", 0.0),
    (b"SSH-2.0\r\n", 0.0),
    (answer(201, GOOD)[:-5], 0.0),
]


@pytest.mark.parametrize("data, seconds", LATER, ids=[f"{index}" for index, _ in enumerate(LATER)])
async def test_what_may_be_had_later(data: bytes, seconds: float) -> None:
    """Is told with the time after which to ask, if that was said and can be read."""
    with pytest.raises(NoTicketNow, match=URL) as later:
        await asked(saying(data))
    assert later.value.retry_after_seconds == seconds


async def test_who_does_not_answer_in_time_is_not_waited_for() -> None:
    """Ten seconds for all of it, however it trickles."""

    async def trickle(stream: trio.abc.HalfCloseableStream, request: bytes) -> None:
        for byte in b"HTTP/1.1 201 Created\r\n" + b"x: y\r\n" * 100:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.9)

    began = trio.current_time()
    with pytest.raises(NoTicketNow, match="within 10 seconds"):
        await asked(trickle)
    assert trio.current_time() - began == 10.0


async def test_a_node_that_is_not_there() -> None:
    """The system's reason is told."""

    async def refused(host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == ("node.example", 443)
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(NoTicketNow, match=r"https://node\.example was not reached: Connection refused"):
        await get_ticket("https://node.example", "bearer", open_stream=refused)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans())
async def test_garbage_is_no_ticket(data: bytes, headed: bool) -> None:
    """And nothing else is raised."""
    with pytest.raises((TicketDenied, NoTicketNow)):
        await asked(saying((b"HTTP/1.1 201 Created\r\n" if headed else b"") + data))


async def test_a_token_may_come_from_anywhere() -> None:
    """A text, a function, an async function; asked anew each time; without the end of its line."""
    calls = []

    def plain() -> str:
        calls.append("plain")
        return f"token-{len(calls)}"

    async def slow() -> str:
        await trio.sleep(100)
        return "from-afar\n"

    assert await ask_token("token\n") == "token"
    assert [await ask_token(plain), await ask_token(plain)] == ["token-1", "token-2"]
    assert await ask_token(slow) == "from-afar"


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "ä", "a\x00"])
async def test_what_no_bearer_token_can_be(token: str) -> None:
    """Is not sent, and not shown."""
    with pytest.raises(ValueError, match="the token is empty, or has characters") as refused:
        await ask_token(token)
    assert token.strip() == "" or token not in str(refused.value)


async def test_the_way_asks_for_a_token_each_time_and_tells_whose_error_it_is() -> None:
    """The program's own."""

    def broken() -> str:
        raise KeyError("login")

    async def unasked(host: str, port: int) -> trio.abc.Stream:
        raise AssertionError("not reached")

    def way(token: TokenSource) -> NetworkWay:
        return NetworkWay(URL, token, "main", None, None, unasked)

    for token in (broken, "", lambda: None):
        with pytest.raises(TokenSourceFailed):
            await way(token).ticket()  # type: ignore[arg-type]
