"""A WebSocket of the verifier's own, on wsproto: it reads when it is asked to and never ahead, and keeps every code.

So a client that reads nothing is one that does not ask; and a close that comes right behind the handshake is seen as
what it is. Knows nothing of what is said on it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from ..protocol import SUBPROTOCOL

__all__ = ["Closed", "Socket", "open_socket"]

RECEIVE_BYTES = 65_536
CLOSE_SECONDS = 2.0

# What the kernel is asked for where little is to be taken: it doubles the first, and has lower bounds of its own. Small
# segments make the sender's buffer small too, which on loopback is megabytes otherwise.
SMALL_BUFFER_BYTES = 2_048
SMALL_SEGMENT_BYTES = 1_400


class Closed(Exception):
    """The WebSocket has ended; 1006 if without a word."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Socket:
    """An open WebSocket. One task may receive while others send."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._sending = trio.StrictFIFOLock()
        self._messages: list[str | bytes] = []
        self._parts: list[str] = []
        self._byte_parts: list[bytes] = []
        self._closed: Closed | None = None
        self._accepted = False
        self._sound = True

    async def shake_hands(self, host: str, target: str, origin: str | None) -> None:
        """Upgrade. Raises Closed if the node does not take it."""
        headers = [] if origin is None else [(b"origin", origin.encode("ascii"))]
        request = Request(host=host, target=target, subprotocols=[SUBPROTOCOL], extra_headers=headers)
        await self._send(request)
        while not self._accepted:
            if self._closed is not None:
                raise self._closed
            await self._read()

    async def receive(self) -> str | bytes:
        """The next message. Raises Closed."""
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            await self._read()
        return self._messages.pop(0)

    async def send(self, text: bytes) -> None:
        """Send a text message. Raises Closed. One that is cancelled half-way leaves the socket of no use."""
        if self._closed is not None:
            raise self._closed
        await self._send(TextMessage(text.decode("utf-8")))

    def abandon(self) -> None:
        """Have it end without a word, as a network would end it."""
        self._sound = False

    async def leave(self) -> None:
        """Close as a client should, but for a socket of no use, and for no longer than it may take."""
        if not self._sound or self._closed is not None:
            return
        with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Closed):
            await self._send(CloseConnection(1000))
            while self._closed is None:
                await self._read()

    async def _send(self, event: Event) -> None:
        async with self._sending:
            if isinstance(event, TextMessage) and self._connection.state is not ConnectionState.OPEN:
                raise self._closed or Closed(1006, "")
            data = self._connection.send(event)
            # Half a frame cannot be taken back.
            sound, self._sound = self._sound, False
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # Why is told by what can still be read.
                return
            self._sound = sound

    async def _read(self) -> None:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        try:
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                await self._take(event)
        except RemoteProtocolError as error:
            self._closed = Closed(1006, f"no WebSocket: {error}")
        if not data and self._closed is None:
            self._closed = Closed(1006, "")

    async def _take(self, event: Event) -> None:
        if isinstance(event, TextMessage):
            self._parts.append(event.data)
            if event.message_finished:
                self._messages.append("".join(self._parts))
                self._parts.clear()
        elif isinstance(event, BytesMessage):
            self._byte_parts.append(bytes(event.data))
            if event.message_finished:
                self._messages.append(b"".join(self._byte_parts))
                self._byte_parts.clear()
        elif isinstance(event, Ping):
            await self._send(event.response())
        elif isinstance(event, AcceptConnection):
            self._accepted = event.subprotocol == SUBPROTOCOL
            if not self._accepted:
                self._closed = Closed(1006, f"the node speaks {event.subprotocol}, not {SUBPROTOCOL}")
        elif isinstance(event, RejectConnection):
            self._closed = Closed(1006, f"the handshake was refused with {event.status_code}")
        elif isinstance(event, CloseConnection):
            if self._closed is None:
                self._closed = Closed(event.code, event.reason or "")
            if self._connection.state is ConnectionState.REMOTE_CLOSING:
                await self._send(event.response())


@asynccontextmanager
async def open_socket(
    url: str, tls: ssl.SSLContext, *, origin: str | None = None, small: bool = False
) -> AsyncIterator[Socket]:
    """Connect and shake hands; at the end of the body the WebSocket is closed, and its stream with it.

    Args:
        url: ``ws://…`` or ``wss://…``.
        tls: how a node's certificate is verified, for ``wss``.
        origin: as a page would name it.
        small: ask the kernel for as little room as it gives, for a client that means to read nothing.

    Raises:
        OSError: the address cannot be connected to.
        Closed: the node does not take the handshake.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    below = await _connect_small(host, port) if small else await trio.open_tcp_stream(host, port)
    try:
        stream: trio.abc.Stream = below
        if secure:
            stream = trio.SSLStream(below, tls, server_hostname=host)
        opened = Socket(stream)
        await opened.shake_hands(parts.netloc, parts.path or "/", origin)
        yield opened
        await opened.leave()
    finally:
        await trio.aclose_forcefully(below)


async def _connect_small(host: str, port: int) -> trio.SocketStream:
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    sock = trio.socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
