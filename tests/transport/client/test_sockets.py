"""One WebSocket, on streams in memory: whatever the other end does, it is open, or told as closed, in time."""

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from callboard.transport.client import Closed, Socket, open_socket
from callboard.transport.protocol import text_frame

URL = "ws://node.example:8765/v1/connect?x=1"
Play = Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]


def accepted(head: bytes, extra: bytes = b"Sec-WebSocket-Protocol: callboard.v1.json\r\n") -> bytes:
    """The answer to an upgrade (RFC 6455 section 4.2.2)."""
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")).split(b": ")[1]
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + (b"Sec-WebSocket-Accept: " + proof + b"\r\n")
        + (extra + b"\r\n")
    )


async def head_of(stream: trio.abc.ReceiveStream) -> bytes:
    """The request's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    return head


@asynccontextmanager
async def playing(play: Play, *, lockstep: bool = False) -> AsyncIterator[Callable[..., Any]]:
    """What opens a socket to somebody who is played by a function."""
    async with trio.open_nursery() as nursery:

        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            assert (host, port) == ("node.example", 8765)
            ours, theirs = lockstep_stream_pair() if lockstep else memory_stream_pair()
            nursery.start_soon(play, theirs)
            return ours

        yield lambda url=URL, **options: open_socket(url, open_stream=open_stream, **options)
        nursery.cancel_scope.cancel()


def unmasked(frame: bytes) -> bytes:
    """The payload of a short client frame."""
    return bytes(byte ^ frame[2 + index % 4] for index, byte in enumerate(frame[6:]))


async def until_closed(socket: Socket) -> Closed:
    """Read to the end."""
    try:
        while True:
            await socket.receive()
    except Closed as closed:
        return closed


async def test_what_it_asks_for() -> None:
    """The path with its query, the host with its port, the subprotocol, and an origin if it is to name one."""
    heads = []

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        heads.append(await head_of(stream))
        await stream.send_all(accepted(heads[-1]))
        await stream.receive_some()

    async with playing(play) as connect:
        async with connect(origin="https://app.example"):
            pass
        async with connect():
            pass
    first, second = (head.decode().lower().split("\r\n") for head in heads)
    assert first[0] == "get /v1/connect?x=1 http/1.1"
    assert {"host: node.example:8765", "origin: https://app.example"} < set(first)
    assert "sec-websocket-protocol: callboard.v1.json" in first
    assert not any(line.startswith("origin") for line in second)


async def test_messages_go_both_ways() -> None:
    """As text."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)) + text_frame(b"hello"))
        frame = bytes(await stream.receive_some())
        assert frame[0] == 0x81
        await stream.send_all(text_frame(unmasked(frame)))
        await trio.sleep_forever()

    async with playing(play) as connect, connect() as socket:
        assert await socket.receive() == "hello"
        await socket.send("grüß".encode())
        assert await socket.receive() == "grüß"


async def nothing(stream: trio.abc.HalfCloseableStream) -> None:
    """Say nothing."""
    await trio.sleep_forever()


async def trickle(stream: trio.abc.HalfCloseableStream) -> None:
    """Say it slowly."""
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n":
        await stream.send_all(bytes([byte]))
        await trio.sleep(1)


@pytest.mark.parametrize("play", [nothing, trickle])
@pytest.mark.parametrize("url", [URL, URL.replace("ws:", "wss:")])
async def test_who_takes_the_connection_and_does_not_answer_is_left(play: Play, url: str) -> None:
    """After ten seconds, for name, connection, TLS and handshake together."""
    began = trio.current_time()
    async with playing(play) as connect:
        with pytest.raises(Closed, match=r"node\.example:8765"):
            async with connect(url):
                raise AssertionError("not reached")
        # The first five bytes are no TLS.
        assert trio.current_time() - began == (4.0 if play is trickle and url.startswith("wss") else 10.0)


async def test_a_connection_that_does_not_come_is_waited_for_no_longer() -> None:
    """Neither is a name."""

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError("not reached")

    began = trio.current_time()
    with pytest.raises(Closed, match="did not answer within 10 seconds"):
        async with open_socket(URL, open_stream=open_stream):
            raise AssertionError("not reached")
    assert trio.current_time() - began == 10.0


async def test_a_connection_that_is_refused_is_told_with_its_reason() -> None:
    """The system's."""

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(Closed, match=r"1006 node\.example:8765: Connection refused"):
        async with open_socket(URL, open_stream=open_stream):
            raise AssertionError("not reached")


ANSWERS = [
    (b"", "closed the connection in the middle"),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403"),
    (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Upgrade"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "Bad HTTP"),
    (b"\x15\x03\x01\x00\x02\x02\x46" * 9, "Bad HTTP|middle"),
]


@pytest.mark.parametrize("answer, named", ANSWERS, ids=[case[0][:20].decode("latin-1") for case in ANSWERS])
async def test_whatever_else_is_answered_is_no_websocket(answer: bytes, named: str) -> None:
    """And is told as closed."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await head_of(stream)
        await stream.send_all(answer)
        await stream.send_eof()

    async with playing(play) as connect:
        with pytest.raises(Closed, match=named) as closed:
            async with connect():
                raise AssertionError("not reached")
        assert closed.value.code == 1006


@pytest.mark.parametrize(
    "extra, named",
    [
        (b"", "does not speak callboard.v1.json"),
        (b"Sec-WebSocket-Protocol: chat\r\n", "chat"),
        (b"Sec-WebSocket-Protocol: \xff\r\n", "ascii"),
        (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension"),
    ],
)
async def test_a_handshake_that_agrees_on_something_else_is_none(extra: bytes, named: str) -> None:
    """A node of this protocol says so."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream), extra))
        await trio.sleep_forever()

    async with playing(play) as connect:
        with pytest.raises(Closed, match=named):
            async with connect():
                raise AssertionError("not reached")


@settings(max_examples=150)
@given(st.binary(max_size=200), st.booleans(), st.booleans())
async def test_garbage_ends_in_closed_and_in_nothing_else(garbage: bytes, shaken: bool, eof: bool) -> None:
    """In place of the handshake, or behind it; leaving takes no longer than it may."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        head = await head_of(stream)
        await stream.send_all((accepted(head) if shaken else b"HTTP/1.1 ") + garbage)
        if eof:
            await stream.send_eof()

    began = trio.current_time()
    async with playing(play) as connect:
        try:
            async with connect() as socket:
                with trio.move_on_after(1):
                    await until_closed(socket)
        except Closed:
            assert not shaken
    assert trio.current_time() - began <= 10.0


async def test_it_is_left_politely() -> None:
    """With a close, and at once when that is answered."""
    heard = []

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        frame = bytes(await stream.receive_some())
        heard.append((frame[0], unmasked(frame)))
        await stream.send_all(b"\x88\x02" + unmasked(frame)[:2])

    began = trio.current_time()
    async with playing(play) as connect:
        async with connect():
            pass
        async with connect() as socket:
            socket.close(4001)
            assert (await until_closed(socket)).code in (1000, 4001)
        with trio.move_on_after(5):
            async with connect():
                await trio.sleep_forever()
    assert heard == [(0x88, b"\x03\xe8"), (0x88, b"\x0f\xa1"), (0x88, b"\x03\xe8")]
    assert trio.current_time() - began == 5.0


async def test_who_does_not_agree_to_the_end_is_left_after_two_seconds() -> None:
    """However it is left."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        await trio.sleep_forever()

    async with playing(play) as connect:
        began = trio.current_time()
        async with connect():
            pass
        assert trio.current_time() - began == 2.0


async def test_a_ping_that_crosses_the_close_is_not_answered() -> None:
    """Nothing may follow a close."""
    heard = []

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        heard.append(bytes(await stream.receive_some()))
        await stream.send_all(b"\x89\x00" + b"\x88\x02\x03\xe8")
        heard.append(bytes(await stream.receive_some()))

    async with playing(play) as connect:
        async with connect():
            pass
        await wait_all_tasks_blocked()
    assert heard[0][0] == 0x88
    assert heard[1] == b""


async def test_what_the_node_says_at_the_end_is_told() -> None:
    """Behind all that it said before."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        close = b"\x88\x09" + (4101).to_bytes(2, "big") + b"resting"
        await stream.send_all(accepted(await head_of(stream)) + text_frame(b"1") + text_frame(b"2") + close)

    async with playing(play) as connect, connect() as socket:
        assert [await socket.receive(), await socket.receive()] == ["1", "2"]
        closed = await until_closed(socket)
        assert (closed.code, closed.reason) == (4101, "resting")
        with pytest.raises(Closed, match="4101"):
            await socket.send(b"too late")


async def test_a_cut_is_felt_at_once() -> None:
    """By who reads; and nothing more is said."""
    heard = []

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        heard.append(bytes(await stream.receive_some()))

    async with playing(play) as connect:
        began = trio.current_time()
        async with connect() as socket, trio.open_nursery() as nursery:
            closed = []

            async def read() -> None:
                closed.append(await until_closed(socket))

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            socket.abandon()
            socket.close(1000)
            await wait_all_tasks_blocked()
            assert [(end.code, end.reason) for end in closed] == [(1006, "")]
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
    assert heard == [b""]


async def test_nothing_follows_a_frame_that_was_cancelled_half_way() -> None:
    """Not even a close: it would be taken for the rest of the frame."""
    heard = bytearray()
    go_on = trio.Event()

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        await go_on.wait()
        async for data in stream:
            heard.extend(data)

    async with playing(play, lockstep=True) as connect:
        async with connect() as socket:
            with trio.move_on_after(1) as scope:
                await socket.send(b"x" * 100)
            assert scope.cancelled_caught
            go_on.set()
            await until_closed(socket)
        await wait_all_tasks_blocked()
    assert len(heard) == 2 + 4 + 100, "the stream in memory has taken all of it already"


async def test_a_message_beyond_all_bounds_ends_it() -> None:
    """Before it is there as a whole."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        frame = b"\x01\x7f" + (2**62).to_bytes(8, "big")
        await stream.send_all(accepted(await head_of(stream)) + frame)
        for _ in range(20):
            await stream.send_all(b"x" * 1_000_000)

    async with playing(play) as connect, connect() as socket:
        assert (await until_closed(socket)).code == 1009


async def test_what_the_body_raises_is_raised_as_it_is() -> None:
    """Not in a group."""

    async def play(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(accepted(await head_of(stream)))
        await stream.send_eof()

    async with playing(play) as connect:
        with pytest.raises(ZeroDivisionError):
            async with connect():
                raise ZeroDivisionError
