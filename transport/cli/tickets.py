"""`callboard ticket`: the node's answer to the request for a ticket."""

from __future__ import annotations

import json
import ssl

import attrs
import rich_click as click
import trio
from rich.markup import escape

from ..client import NoTicketNow, Ticket, TicketDenied, ask_token, get_ticket
from .console import err
from .story import clean

__all__ = ["run_ticket"]


def run_ticket(url: str, token: str, session: str, tls: ssl.SSLContext | None = None) -> int:
    """Print a ticket as JSON, and nothing else; gives the exit code."""
    try:
        ticket = trio.run(_ticket, url, token, session, tls)
    except (TicketDenied, NoTicketNow, ValueError) as error:
        err.print(f"[bold red]callboard:[/] {escape(clean(str(error)))}", soft_wrap=True)
        return 1
    # Not by rich, which would style it wherever a terminal is pretended. And ASCII only: no terminal obeys it.
    click.echo(json.dumps(attrs.asdict(ticket), indent=2))
    return 0


async def _ticket(url: str, token: str, session: str, tls: ssl.SSLContext | None) -> Ticket:
    return await get_ticket(url, await ask_token(token), session=session, tls=tls)
