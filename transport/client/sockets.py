"""One WebSocket of a client, on trio-websocket.

A task of its own owns the stream and closes it however the WebSocket ends, so two of them can overlap: while a node
drains, the next one is opened before the last one is left. What fails beneath is told as `Closed`, whatever it was.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
import wsproto.events
from trio_websocket import ConnectionClosed, HandshakeError
from trio_websocket._impl import WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.utilities import ProtocolError

from ..protocol import SUBPROTOCOL, clip_reason
from .dialing import NotReached, StreamOpener, dial
from .urls import Target, target

__all__ = ["Closed", "Socket", "hold_socket", "open_socket"]

# Name, TCP, TLS and the WebSocket's handshake together.
OPEN_SECONDS = 10.0
# A node merges what waits into messages of 64 KiB, but one event may be larger.
MAX_MESSAGE_CHARS = 16 * 1024 * 1024
RECEIVE_BYTES = 65_536
# How long the node may take to agree to the end.
CLOSE_SECONDS = 2.0
# RFC 6455 section 7.4.1: there was no close frame.
ABNORMAL = 1006


class Closed(Exception):
    """The WebSocket has ended, or was never opened; the code is 1006 if the node did not say one."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """An open WebSocket: text messages in and out. `receive` and `send` raise `Closed` at its end."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ending = trio.Event()
        self._code: int | None = None

    async def receive(self) -> str | bytes:
        """The next message; when cancelled none is lost."""
        try:
            return await self._connection.get_message()
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def send(self, frame: bytes) -> None:
        """Send one text message. When cancelled it may be half sent, so nothing can follow: the socket is given up."""
        try:
            await self._connection.send_message(frame.decode("utf-8"))
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        except trio.Cancelled:
            self.abandon()
            raise

    def close(self, code: int) -> None:
        """Have its task close it with this code. Nothing if it was closed or given up."""
        if not self._ending.is_set():
            self._code = code
            self._ending.set()

    def abandon(self) -> None:
        """Have its task drop it without a word, as a network would."""
        self._code = None
        self._ending.set()

    async def _end(self) -> None:
        """Wait until it is to be closed, and say so to the node, which gets `CLOSE_SECONDS` to agree."""
        try:
            await self._ending.wait()
        finally:
            # Cancelled is left politely, but for a socket that was given up.
            code = self._code if self._ending.is_set() else 1000
            if code is not None:
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await self._connection.aclose(code)


async def hold_socket(
    url: str,
    *,
    origin: str | None = None,
    subprotocol: str = SUBPROTOCOL,
    bearer: str | None = None,
    tls: ssl.SSLContext | None = None,
    open_stream: StreamOpener = trio.open_tcp_stream,
    task_status: trio.TaskStatus[Socket] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Connect, shake hands, give the socket to who started this, and stay until it is closed.

    For `nursery.start`, which raises what is raised before the socket is there; nothing is raised after.

    Args:
        url: ``ws(s)://…``.
        origin: an origin to name, as a page would.
        subprotocol: what is to be spoken.
        bearer: a token to present.
        tls: how to verify the node's certificate; the system's authorities if not given.
        open_stream: opens a stream to a host and port.
        task_status: gets the socket.

    Raises:
        Closed: there is no socket to be had there within `OPEN_SECONDS`.
        ValueError: the url is no WebSocket's.
    """
    where, deadline = target(url), trio.current_time() + OPEN_SECONDS
    try:
        with trio.fail_at(deadline):
            stream = await dial(where, tls, open_stream)
    except NotReached as error:
        raise Closed(ABNORMAL, f"{where.host_header}: {error}") from None
    except trio.TooSlowError:
        raise _too_late(where) from None
    try:
        headers = [] if origin is None else [(b"origin", origin.encode("ascii"))]
        if bearer is not None:
            headers.append((b"authorization", f"Bearer {bearer}".encode("ascii")))
        await _hold(stream, where, subprotocol, headers, deadline, task_status)
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_socket(
    url: str,
    *,
    origin: str | None = None,
    tls: ssl.SSLContext | None = None,
    open_stream: StreamOpener = trio.open_tcp_stream,
) -> AsyncIterator[Socket]:
    """A WebSocket for the body of an ``async with``, closed at its end. Arguments and errors are `hold_socket`'s."""
    # Raised again outside of the nursery, which would wrap it into a group.
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield await nursery.start(partial(hold_socket, url, origin=origin, tls=tls, open_stream=open_stream))
        except BaseException as error:  # noqa: BLE001 - see above
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _hold(
    stream: trio.abc.Stream,
    where: Target,
    subprotocol: str,
    headers: list[tuple[bytes, bytes]],
    deadline: float,
    task_status: trio.TaskStatus[Socket],
) -> None:
    connection = _WebSocket(
        stream,
        WSConnection(ConnectionType.CLIENT),
        host=where.host_header,
        path=where.path,
        client_subprotocols=[subprotocol],
        client_extra_headers=headers,
        max_message_size=MAX_MESSAGE_CHARS,
        receive_buffer_size=RECEIVE_BYTES,
    )
    reader = _Reader(connection, subprotocol)
    # Raised outside of the nursery, which would wrap it into a group.
    refused: Closed | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        try:
            # The deadline is over before the socket is given away: it must not end what is in use.
            with trio.move_on_at(deadline):
                await reader.opened.wait()
            refused = reader.refused() if reader.opened.is_set() else _too_late(where)
            if refused is None:
                socket = Socket(connection)
                task_status.started(socket)
                await socket._end()
        finally:
            reader.scope.cancel()
    if refused is not None:
        raise refused


class _Reader:
    """Runs trio-websocket's reader, which the close needs too: so it is not cancelled with everything else."""

    def __init__(self, connection: WebSocketConnection, subprotocol: str) -> None:
        self._subprotocol = subprotocol
        self.opened = trio.Event()
        self.scope = trio.CancelScope(shield=True)
        self._connection = connection
        self._why = "the node closed the connection in the middle of the handshake"

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_handshake)
                try:
                    await self._connection._reader_task()
                except (HandshakeError, ProtocolError, ConnectionClosed, ValueError) as error:
                    # ValueError: a head that is not ASCII.
                    self._why = str(error) or type(error).__name__
                    await self._connection._abort_web_socket()
                # Whoever waits for a handshake, or for the end, must not wait for a reader that has ended.
                self.opened.set()
                self._connection._close_handshake.set()
                nursery.cancel_scope.cancel()

    async def _watch_handshake(self) -> None:
        await self._connection._open_handshake.wait()
        self.opened.set()

    def refused(self) -> Closed | None:
        """Why there is no WebSocket, if there is none."""
        if not self._connection._open_handshake.is_set():
            return Closed(ABNORMAL, clip_reason(self._why))
        if self._connection.subprotocol != self._subprotocol:
            return Closed(ABNORMAL, f"the node does not speak {self._subprotocol}")
        return None


class _WebSocket(WebSocketConnection):
    """trio-websocket's end of a client, with two slips mended."""

    async def _send(self, event: wsproto.events.Event) -> None:
        if isinstance(event, wsproto.events.RejectConnection):
            # wsproto hints at a refusal for a handshake that is wrong, but a client has nothing to refuse it with.
            error = sys.exc_info()[1]
            raise ProtocolError(str(error) if error is not None else "no handshake")
        await super()._send(event)

    async def _handle_ping_event(self, event: wsproto.events.Ping) -> None:
        # Nothing may follow a close; trio-websocket would answer, and fail, on a ping that crosses ours.
        if self._wsproto.state is ConnectionState.OPEN:
            await super()._handle_ping_event(event)


def _too_late(where: Target) -> Closed:
    return Closed(ABNORMAL, f"{where.host_header} did not answer within {OPEN_SECONDS:g} seconds")


def _closed(closed: ConnectionClosed) -> Closed:
    reason = closed.reason
    return Closed(ABNORMAL, "") if reason is None else Closed(reason.code, reason.reason or "")
