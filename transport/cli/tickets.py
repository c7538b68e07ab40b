"""`callboard ticket`: the node's answer to the request for a ticket."""

from __future__ import annotations

import attrs
import httpx
import trio
from rich.markup import escape

from ..client import TicketDenied, get_ticket
from .console import err, out

__all__ = ["run_ticket"]

HTTP_SECONDS = 10.0


def run_ticket(url: str, token: str, session: str) -> int:
    """Print a ticket as JSON; gives the exit code."""
    return trio.run(_ticket, url, token, session)


async def _ticket(url: str, token: str, session: str) -> int:
    async with httpx.AsyncClient(timeout=HTTP_SECONDS) as http:
        try:
            ticket = await get_ticket(http, url, token, session, None)
        except TicketDenied as error:
            err.print(f"[bold red]callboard:[/] {escape(str(error))}", soft_wrap=True)
            return 1
    if ticket is None:
        why = f"{escape(url)} cannot be reached, or gives no tickets just now"
        err.print(f"[bold red]callboard:[/] {why}", soft_wrap=True)
        return 1
    out.print_json(data=attrs.asdict(ticket))
    return 0
