"""How a client gets in: first a ticket, then a WebSocket. A port, and the one way that there is over the network.

The client knows the port only, so a test can stand at the other end of it without a network.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Protocol

import attrs
import trio

from .dialing import StreamOpener
from .sockets import hold_socket
from .tickets import Ticket, TokenSource, ask_token, get_ticket
from .urls import target

__all__ = ["Link", "NetworkWay", "TokenSourceFailed", "Way"]


class TokenSourceFailed(Exception):
    """The program's own token source raised `error`, which is the program's to hear."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Link(Protocol):
    """An open WebSocket; see `Socket`."""

    async def receive(self) -> str | bytes:
        """The next message. Raises Closed."""

    async def send(self, frame: bytes) -> None:
        """Send one text message. Raises Closed."""

    def close(self, code: int) -> None:
        """Have it closed; waits for nothing."""

    def abandon(self) -> None:
        """Have it dropped without a word; waits for nothing."""


class Way(Protocol):
    """Leads to one session of one user."""

    async def ticket(self) -> Ticket:
        """Get a ticket. Raises TicketDenied, NoTicketNow, or TokenSourceFailed."""

    async def open(self, nursery: trio.Nursery, url: str) -> Link:
        """Open a WebSocket, which lives in a task of the nursery until it is closed. Raises Closed."""


@attrs.frozen(repr=False)
class NetworkWay:
    """The way over HTTP and WebSocket to a node.

    Attributes:
        url: the node, as `check_node_url` gives it.
        token: the user's token, or what gives one; asked before each ticket.
        session: the session's name.
        origin: an origin to name, as a page would.
        tls: how to verify the node's certificate; the system's authorities if None.
        open_stream: opens a stream to a host and port.
    """

    url: str
    token: TokenSource
    session: str
    origin: str | None
    tls: ssl.SSLContext | None
    open_stream: StreamOpener = trio.open_tcp_stream

    async def ticket(self) -> Ticket:
        """See `Way`."""
        try:
            bearer = await ask_token(self.token)
        except Exception as error:
            # The program's own function, so its error is the program's to hear.
            raise TokenSourceFailed(error) from error
        return await get_ticket(
            self.url, bearer, session=self.session, origin=self.origin, tls=self.tls, open_stream=self.open_stream
        )

    async def open(self, nursery: trio.Nursery, url: str) -> Link:
        """See `Way`. A node that was asked over TLS is not spoken to without."""
        if self.url.startswith("https:") and not target(url).secure:
            # A node behind a proxy does not know that it is asked over TLS.
            url = f"wss{url[url.index(':') :]}"
        hold = partial(hold_socket, url, origin=self.origin, tls=self.tls, open_stream=self.open_stream)
        link: Link = await nursery.start(hold)
        return link
