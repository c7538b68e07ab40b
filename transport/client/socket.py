"""One WebSocket of a client, on trio-websocket; owns its stream, and so closes it however the WebSocket ends."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, HandshakeError
from trio_websocket._impl import WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import ConnectionType

from ..protocol import SUBPROTOCOL

__all__ = ["Closed", "Socket", "open_socket"]

# A node merges what waits into messages of 64 KiB, but one event may be larger.
MAX_MESSAGE = 16 * 1024 * 1024
CLOSE_SECONDS = 2.0


class Closed(Exception):
    """The WebSocket has ended; 1006 if without a word."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """An open WebSocket: text messages in and out. Both raise `Closed` at its end."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self.abandoned = False

    def abandon(self) -> None:
        """Have it end without a word, as a network would end it."""
        self.abandoned = True

    async def receive(self) -> str | bytes:
        """The next message."""
        try:
            return await self._connection.get_message()
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    async def send(self, frame: bytes) -> None:
        """Send one text message. One that was cancelled half-way leaves the socket of no use."""
        try:
            await self._connection.send_message(frame.decode("utf-8"))
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    def _closed(self, closed: ConnectionClosed) -> Closed:
        reason = closed.reason
        return Closed(1006, "") if reason is None else Closed(reason.code, reason.reason or "")


@asynccontextmanager
async def open_socket(
    url: str, *, origin: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Socket]:
    """Connect and shake hands; the WebSocket is closed, and its stream with it, at the end of the body.

    Raises:
        OSError: the address cannot be connected to.
        Closed: the node does not take the handshake.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    if secure:
        stream = trio.SSLStream(stream, tls or ssl.create_default_context(), server_hostname=host)
    headers = [] if origin is None else [(b"origin", origin.encode("ascii"))]
    connection = WebSocketConnection(
        stream,
        WSConnection(ConnectionType.CLIENT),
        host=parts.netloc,
        path=parts.path or "/",
        client_subprotocols=[SUBPROTOCOL],
        client_extra_headers=headers,
        max_message_size=MAX_MESSAGE,
        receive_buffer_size=65_536,
    )
    socket = Socket(connection)
    refused: list[HandshakeError] = []
    error: BaseException | None = None

    async def read() -> None:
        try:
            await connection._reader_task()
        except HandshakeError as raised:
            refused.append(raised)
        except ssl.SSLError:
            await connection._abort_web_socket()
        connection._open_handshake.set()  # whoever waits for the handshake must not wait for a reader that has ended

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                await connection._open_handshake.wait()
                if refused or connection.closed is not None or connection.subprotocol != SUBPROTOCOL:
                    why = str(refused[0]) if refused else f"the node does not speak {SUBPROTOCOL}"
                    raise Closed(1006, why)
                yield socket
            except BaseException as raised:  # noqa: BLE001 - raised again outside of the nursery
                error = raised
            if not socket.abandoned:
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await connection.aclose(1000)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
        if error is not None:
            raise error
