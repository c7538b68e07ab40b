"""What stands between trio-websocket and the socket: the way in, the way out, and how a connection is closed.

trio-websocket keeps reading, pongs and the peer's close, all in the one task that reads. What it writes goes through
the outbox. The handshake is answered here: the client's part of it was checked when its head was read, and reading it
once more would cost as much again.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
import wsproto.events
from trio_websocket import CloseReason
from trio_websocket._impl import WebSocketConnection
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.utilities import generate_accept_token

from .outbox import Outbox
from .protocol import CloseCode, TokenBucket

__all__ = ["WebSocket", "linger"]

RECEIVE_BYTES = 16_384


# What trio-websocket sets for those who wait in other tasks. Here is only one, so all connections share it.
NOBODY_WAITS = trio.Event()


class WebSocket(WebSocketConnection):
    """A server's end of one WebSocket, as trio-websocket has it, with its slips mended and its frames counted.

    trio-websocket bounds a message by its characters only, so that empty frames would gather without end, and answers
    every ping. `read` is the only method of its own to be awaited.

    Args:
        stream: the connection's stream.
        outbox: where the bytes go.
        rest: what came behind the request's head already.
        take: is given each message, in the task that reads; the next one is read when it is done.
        max_message_chars: the longest message that is taken, in characters.
        max_fragments: how many frames a message may come in.
        controls: what bounds the pings and pongs.
        refuse: hears why this peer's frames are not taken any more.
        close_seconds: how long a close waits for what is on its way out.
    """

    # In no dictionary, as trio-websocket's own attributes fill one: beyond 30 of them each instance has its own keys.
    __slots__ = ("_controls", "_fragments", "_max_fragments", "_outbox", "_refuse", "_refused")

    def __init__(
        self,
        stream: trio.abc.Stream,
        outbox: Outbox,
        *,
        rest: bytes,
        take: Callable[[str | bytes], Awaitable[None]],
        max_message_chars: int,
        max_fragments: int,
        controls: TokenBucket,
        refuse: Callable[[CloseCode, str], None],
        close_seconds: float,
    ) -> None:
        super().__init__(
            _Stream(stream, outbox, close_seconds),
            Connection(ConnectionType.SERVER, trailing_data=rest),  # type: ignore[arg-type]  # past the handshake
            max_message_size=max_message_chars,
            receive_buffer_size=RECEIVE_BYTES,
        )
        # A queue to another task, a lock against other senders, a way to the handshake: ten thousand idle connections
        # would hold some 2 KiB each for nothing.
        self._send_channel = self._recv_channel = _Handover(take)  # type: ignore[assignment]
        self._connection_proposal = None
        self._open_handshake = self._close_handshake = NOBODY_WAITS
        self._for_testing_peer_closed_connection = NOBODY_WAITS
        del self._stream_lock, self._pings
        self._outbox = outbox
        self._max_fragments = max_fragments
        self._fragments = 0
        self._controls = controls
        self._refuse = refuse
        self._refused = False

    def accept(self, key: str, subprotocol: str | None) -> None:
        """Answer the handshake: with the client's `Sec-WebSocket-Key`, and what is spoken, if the client offered it."""
        self._outbox.put_control(_switching_protocols(key, subprotocol))

    async def read(self) -> None:
        """Read until the connection ends. Cancelled in between it may be called again."""
        await self._reader_task()

    def close(self, code: int, reason: str) -> None:
        """Say that this end closes; `read` goes on to the peer's answer. Harmless when the close has begun already."""
        if self._close_reason is None and self._wsproto.state is ConnectionState.OPEN:
            self._close_reason = CloseReason(code, reason)
            self._outbox.put_control(self._wsproto.send(wsproto.events.CloseConnection(code=code, reason=reason)))

    async def _send(self, event: wsproto.events.Event) -> None:
        self._outbox.put_control(self._wsproto.send(event))
        await trio.lowlevel.checkpoint()  # for the others' sake, where thousands of pings come in one read

    async def _handle_message_event(self, event: wsproto.events.BytesMessage | wsproto.events.TextMessage) -> None:
        if self._refused:
            return
        self._fragments += event.frame_finished
        if event.message_finished:
            self._fragments = 0
        elif self._fragments >= self._max_fragments:
            self._give_up(CloseCode.TOO_BIG, f"a message may come in {self._max_fragments} frames")
            return
        await super()._handle_message_event(event)

    async def _handle_ping_event(self, event: wsproto.events.Ping) -> None:
        # Nothing may follow a close; trio-websocket would answer, and fail, on a ping that crosses ours.
        if self._wsproto.state is ConnectionState.OPEN and self._control_taken():
            await self._send(event.response())  # trio-websocket would log what it says, too

    async def _close_web_socket(self, code: int, reason: str | None = None) -> None:
        # As trio-websocket has it, which would log the peer's own words.
        self._close_reason = CloseReason(code, reason)
        await self._send_channel.aclose()

    async def _handle_pong_event(self, event: wsproto.events.Pong) -> None:
        self._control_taken()

    def _control_taken(self) -> bool:
        taken = not self._refused and self._controls.take(trio.current_time())
        if not taken and not self._refused:
            self._give_up(CloseCode.RATE, f"allowed are {self._controls.per_second:g} pings and pongs a second")
        return taken

    def _give_up(self, code: CloseCode, reason: str) -> None:
        """Take nothing more from this peer but its close."""
        self._refused = True
        self._message_parts = []
        self._refuse(code, reason)

    async def _handle_close_connection_event(self, event: wsproto.events.CloseConnection) -> None:
        if self._wsproto.state is not ConnectionState.OPEN:
            await super()._handle_close_connection_event(event)
            return
        # Not the peer's close, but wsproto's word on a frame that breaks RFC 6455, such as bad UTF-8: the peer is
        # told, where trio-websocket would only cut it off.
        self._close_reason = CloseReason(event.code, event.reason or None)
        await self._send(event)
        await self._recv_channel.aclose()
        self._reader_running = False


def _switching_protocols(key: str, subprotocol: str | None) -> bytes:
    """The answer to a sound handshake, RFC 6455 section 4.2.2."""
    spoken = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {generate_accept_token(key.encode('ascii')).decode('ascii')}\r\n{spoken}\r\n"
    ).encode("ascii")


class _Handover:
    """Where trio-websocket has a queue between two tasks: a message is taken right away."""

    __slots__ = ("send",)

    def __init__(self, take: Callable[[str | bytes], Awaitable[None]]) -> None:
        self.send = take

    async def aclose(self) -> None:
        """Nothing waits in here."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass


class _Stream(trio.abc.Stream):
    """Reads the stream; does not write, which is the outbox's."""

    __slots__ = ("_close_seconds", "_inner", "_outbox")

    def __init__(self, inner: trio.abc.Stream, outbox: Outbox, close_seconds: float) -> None:
        self._inner = inner
        self._outbox = outbox
        self._close_seconds = close_seconds

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what comes."""
        inner = self._inner
        if not isinstance(inner, trio.SocketStream):
            return bytes(await inner.receive_some(max_bytes))
        # trio's own way there is five coroutines and a generator deep, which an idle connection would hold for ever.
        while (number := inner.socket.fileno()) >= 0:
            await trio.lowlevel.wait_readable(number)
            try:
                return os.read(number, max_bytes or RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error
        raise trio.ClosedResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Not used; `WebSocket` gives its bytes to the outbox."""
        raise AssertionError("only the outbox writes")

    async def wait_send_all_might_not_block(self) -> None:
        """Not used either."""
        raise AssertionError("only the outbox writes")

    async def aclose(self) -> None:
        """Close the stream beneath, a moment after the last word has gone out."""
        try:
            with trio.move_on_after(self._close_seconds):
                await self._outbox.wait_written()
        finally:
            self._outbox.close()
            await self._inner.aclose()


async def linger(stream: trio.abc.Stream, seconds: float) -> None:
    """Let the peer read what was said last: say that no more comes, and wait for its end for up to `seconds`.

    Closing with bytes unread makes the kernel send a reset, which throws away what the peer has not read yet.
    """
    with trio.move_on_after(seconds), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if isinstance(stream, trio.SSLStream):
            # Without its word of farewell a client of TLS has to take the end for an attack that cut the answer short.
            stream, _ = await stream.unwrap()
        if not isinstance(stream, trio.SocketStream):
            return
        await stream.send_eof()
        while await stream.receive_some(RECEIVE_BYTES):
            pass
