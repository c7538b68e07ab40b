"""Where connections come in, up to the point where a WebSocket begins: TLS, who asks, how many an address has, HTTP."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from ..actors import Limits
from ..runtime import log_traceback
from .accepting import PatientListener
from .errors import Problem
from .forwarded import TrustedProxies
from .hosts import AGENTS, CONNECT
from .http import HttpLimits, Request, Response, Upgrade, problem_response, serve_http
from .per_address import AddressCounts

__all__ = ["Entrance"]

logger = logging.getLogger("callboard")

# Connections of an address beyond its bound that are told so. Whoever opens more at once does not listen, and is cut.
SAID_SO = 64


class Entrance:
    """Takes connections, and answers what they ask by HTTP.

    Args:
        limits: what the node bounds.
        proxies: whose word on who asks is believed.
        tls: gives what the port is served with; None for plain TCP.
        handle: answers a request.
        upgraded: takes a connection that goes on as WebSocket, to its end; told whether its address has too many.
    """

    def __init__(
        self,
        limits: Limits,
        proxies: TrustedProxies,
        tls: Callable[[], ssl.SSLContext] | None,
        handle: Callable[[Request], Awaitable[Response]],
        upgraded: Callable[[trio.abc.Stream, Upgrade, bool], Awaitable[None]],
    ) -> None:
        self.tcp = 0
        """Open TCP connections, with those that ask by HTTP or have not said anything yet."""
        self.addresses = AddressCounts()
        self._limits = limits
        self._http_limits = HttpLimits(
            limits.head_seconds,
            limits.keep_alive_seconds,
            limits.close_seconds,
            limits.head_bytes,
            limits.body_bytes,
        )
        self._proxies = proxies
        self._tls = tls
        self._handle = handle
        self._upgraded = upgraded

    async def serve_port(
        self,
        listeners: list[trio.SocketListener],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve these listeners until cancelled."""
        async with trio.open_nursery() as nursery:
            patient = [PatientListener(listener) for listener in listeners]
            await nursery.start(trio.serve_listeners, partial(self.serve_stream, tls=self._tls), patient)
            task_status.started()

    async def serve_stream(self, stream: trio.abc.Stream, *, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """Serve one connection from its first byte to its end; closes the stream."""
        if self.tcp >= self._limits.connections:
            # Nothing is read and nothing is said: at the bound every answer costs what is scarce.
            await trio.aclose_forcefully(stream)
            return
        self.tcp += 1
        peer = _peer(stream)
        # Of a proxy's connections each may be somebody else's; whose is known when the request has been read.
        proxy = self._proxies.trusts(peer)
        own, behind = "" if proxy else peer, ""
        try:
            number = self.addresses.enter(own)
            if number > self._limits.connections_per_address + SAID_SO:
                return
            if tls is not None:
                stream = trio.SSLStream(stream, tls(), server_side=True, https_compatible=True)
            if not await self._shake_hands(stream, peer):
                return
            upgrade = await self._serve_http(stream, peer, self._crowded(number))
            if upgrade is not None:
                behind = upgrade.request.client if proxy else ""
                crowded = self._crowded(number) or self._crowded(self.addresses.enter(behind))
                connection = self._upgraded(stream, upgrade, crowded)
                # This frame lives as long as the connection, which has no more use for a request and its headers.
                del upgrade
                await connection
        except Exception as error:  # noqa: BLE001 - the fence
            logger.error("a connection from %s failed: %s", peer, type(error).__name__)
            log_traceback(error, "a connection from %s failed", peer)
        finally:
            try:
                await trio.aclose_forcefully(stream)
            finally:
                self.tcp -= 1
                self.addresses.leave(own)
                self.addresses.leave(behind)

    async def _shake_hands(self, stream: trio.abc.Stream, peer: str) -> bool:
        """Begin TLS if it is TLS; whether the peer took part."""
        if not isinstance(stream, trio.SSLStream):
            return True
        try:
            with trio.fail_after(self._limits.head_seconds):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            # Its own affair: it does not trust us, or speaks something else.
            logger.debug("no TLS with %s: %s", peer, error.__cause__ or type(error).__name__)
            return False
        return True

    async def _serve_http(self, stream: trio.abc.Stream, peer: str, crowded: bool) -> Upgrade | None:
        secure = isinstance(stream, trio.SSLStream)

        def seen(request: Request) -> Request:
            try:
                caller = self._proxies.caller(peer, secure, request.headers)
            except Problem:
                logger.warning("a request by the proxy %s refused: its forwarded headers are not sound", peer)
                raise
            return attrs.evolve(request, client=caller.address, secure=caller.secure)

        handle = _too_many if crowded else self._handle
        return await serve_http(stream, self._http_limits, handle, upgrades=(CONNECT, AGENTS), seen=seen)

    def _crowded(self, number: int) -> bool:
        return number > self._limits.connections_per_address


async def _too_many(request: Request) -> Response:
    """The answer to all requests of an address that has too many connections."""
    headers = (("retry-after", "1"), ("connection", "close"))
    return problem_response(Problem(429, "Too many requests", "too many connections from this address", headers))


def _peer(stream: trio.abc.Stream) -> str:
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return "-"
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return "-"  # gone before it was looked at
