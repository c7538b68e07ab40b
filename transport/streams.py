"""What stands between trio-websocket and the socket: the way in, the way out, and how a connection is closed.

trio-websocket keeps handshake, reading and close. It reads from the socket, and all that it writes goes through the
outbox. It is told a plain handshake of our own making, as the client's was checked when its head was read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio
import wsproto.events
from trio_websocket import CloseReason
from trio_websocket._impl import WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType

from .outbox import Outbox
from .protocol import CloseCode, TokenBucket

__all__ = ["WebSocket", "linger"]

RECEIVE_BYTES = 16_384


class WebSocket(WebSocketConnection):
    """A server's end of one WebSocket, as trio-websocket has it, with its slips mended and its frames counted.

    trio-websocket bounds a message by its characters only, so that empty frames would gather without end, and answers
    every ping.

    Args:
        stream: the connection's stream.
        outbox: where the bytes go.
        key: the client's `Sec-WebSocket-Key`.
        subprotocol: what is spoken; None if the client offered nothing that is.
        rest: what came behind the request's head already.
        max_message_chars: the longest message that is taken, in characters.
        max_fragments: how many frames a message may come in.
        controls: what bounds the pings and pongs.
        refuse: hears why this peer's frames are not taken any more.
        close_seconds: how long a close waits for what is on its way out.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        outbox: Outbox,
        *,
        key: str,
        subprotocol: str | None,
        rest: bytes,
        max_message_chars: int,
        max_fragments: int,
        controls: TokenBucket,
        refuse: Callable[[CloseCode, str], None],
        close_seconds: float,
    ) -> None:
        head = (
            "GET / HTTP/1.1\r\nHost: callboard\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            + (f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol is not None else "")
            + "\r\n"
        ).encode("ascii")
        self._guarded = _Stream(stream, head, rest, outbox, close_seconds)
        super().__init__(
            self._guarded,
            WSConnection(ConnectionType.SERVER),
            max_message_size=max_message_chars,
            receive_buffer_size=RECEIVE_BYTES,
        )
        self._offered = subprotocol
        self._max_fragments = max_fragments
        self._fragments = 0
        self._controls = controls
        self._refuse = refuse
        self._refused = False

    async def read(self) -> None:
        """Read until the connection ends; everything else here waits for what this reads."""
        try:
            await self._reader_task()
        finally:
            # Nobody reads any more, so nobody else would tell `aclose`.
            self._close_handshake.set()

    async def accept(self) -> None:
        """Answer the handshake."""
        request = await self._get_request()
        await request.accept(subprotocol=self._offered)
        self._guarded.accepted.set()

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
        if self._control_taken():
            await super()._handle_pong_event(event)

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


class _Stream(trio.abc.Stream):
    """Reads a request's head, then what was read behind it, then the stream; writes to the outbox.

    Nothing behind the head is given before the handshake was accepted: wsproto would lose it.
    """

    def __init__(self, inner: trio.abc.Stream, head: bytes, rest: bytes, outbox: Outbox, close_seconds: float) -> None:
        self.accepted = trio.Event()
        self._inner = inner
        self._head = head
        self._rest = rest
        self._outbox = outbox
        self._close_seconds = close_seconds

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what was read already, then what comes."""
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self.accepted.wait()
        if self._rest:
            end = len(self._rest) if max_bytes is None else max_bytes
            chunk, self._rest = self._rest[:end], self._rest[end:]
            return chunk
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand bytes to the outbox; it waits for nothing but a checkpoint."""
        await trio.lowlevel.checkpoint()
        if data:
            self._outbox.put_control(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """It never blocks."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the stream beneath, a moment after the last word has gone out."""
        try:
            with trio.move_on_after(self._close_seconds):
                await self._outbox.wait_written()
        finally:
            self._outbox.close()
            await self._inner.aclose()
            self.accepted.set()


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
