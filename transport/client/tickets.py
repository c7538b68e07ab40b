"""Getting a ticket over HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import attrs
import httpx

from .errors import TicketDenied

__all__ = ["Ticket", "TokenSource", "get_ticket"]

TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]

# What a node, or a proxy before it, says while it cannot serve; everything else will be said again.
TRY_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))


@attrs.frozen(repr=False)
class Ticket:
    """A ticket, the session that it opens, and where."""

    ticket: str
    session: str
    url: str


async def get_ticket(
    http: httpx.AsyncClient, url: str, token: TokenSource, session: str, origin: str | None
) -> Ticket | None:
    """Ask the node for a ticket; None when it cannot give one just now.

    Raises:
        TicketDenied: the token, the session's name or the origin is not accepted.
    """
    bearer = token if isinstance(token, str) else token()
    if inspect.isawaitable(bearer):
        bearer = await bearer
    headers = {"authorization": f"Bearer {bearer}"}
    if origin is not None:
        headers["origin"] = origin
    try:
        response = await http.post(f"{url}/v1/tickets", json={"session": session}, headers=headers)
    except httpx.TransportError:
        return None
    if response.status_code in TRY_AGAIN:
        return None
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise TicketDenied(response.status_code, f"{url} does not answer as a callboard node does")
    if response.status_code != 201:
        raise TicketDenied(response.status_code, str(body.get("detail") or body.get("title") or "no reason given"))
    return Ticket(str(body["ticket"]), str(body["session"]), str(body["url"]))
