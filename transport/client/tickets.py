"""Getting a ticket over HTTP."""

from __future__ import annotations

import email.utils
import inspect
import ssl
from collections.abc import Awaitable, Callable

import attrs
import httpx
import msgspec
import trio

from .errors import TicketDenied
from .urls import check_node_url, target

__all__ = ["NoTicketNow", "Ticket", "TokenSource", "ask_token", "get_ticket"]

TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]

TICKET_SECONDS = 10.0
# A node's answer has some 300 bytes; more than this is no node's.
MAX_ANSWER_BYTES = 65_536
# What a proxy says while its node cannot be reached, and a node while it cannot serve, is said with a 5xx.
TRY_AGAIN = frozenset((408, 425, 429))
# Whoever names a longer time is asked again all the same: it may have been answered in the middle of a deploy.
MAX_RETRY_AFTER_SECONDS = 300.0
# What the wire takes as a ticket.
MAX_TICKET_CHARS = 512


@attrs.frozen(repr=False)
class Ticket:
    """A ticket, the id of the session that it opens, how long it waits to be used, and where."""

    ticket: str
    session: str
    expires_in_s: float
    url: str


class NoTicketNow(Exception):
    """The node cannot give one just now, or was not reached; 0 seconds if it did not say when to ask again."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class _Answer(msgspec.Struct):
    ticket: str
    session: str
    url: str
    expires_in_s: float = 0.0


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""


async def ask_token(token: TokenSource) -> str:
    """What the source gives. Takes as long as the source does, and raises what it raises.

    Raises:
        ValueError: it is nothing that can be presented as a bearer token.
    """
    given = token if isinstance(token, str) else token()
    bearer = await given if inspect.isawaitable(given) else given
    bearer = bearer.strip()  # a token that was read from a file often ends with the line
    if not bearer or not bearer.isascii() or not bearer.isprintable() or " " in bearer:
        # Not shown: it is a secret.
        raise ValueError("the token is empty, or has characters that no bearer token can have")
    return bearer


async def get_ticket(
    url: str, bearer: str, *, session: str = "main", origin: str | None = None, tls: ssl.SSLContext | None = None
) -> Ticket:
    """Ask a node for a ticket, in `TICKET_SECONDS` at most. Goes straight there, not by a proxy of the environment.

    Args:
        url: the node, ``http(s)://…``.
        bearer: the user's token.
        session: the session's name.
        origin: an origin to name, as a page would.
        tls: how to verify a node's certificate; the system's authorities if not given.

    Raises:
        TicketDenied: the token, the session's name or the origin is not accepted, or this is no node.
        NoTicketNow: it may be given later.
        ValueError: the url is no node's.
    """
    url = check_node_url(url)
    if tls is None:
        # Loading the authorities takes a while, and without TLS none is asked.
        secure = url.startswith("https:")
        tls = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        with trio.fail_after(TICKET_SECONDS):
            response, body = await _post(url, bearer, session, origin, tls)
    except trio.TooSlowError:
        raise NoTicketNow(f"{url} gave no ticket within {TICKET_SECONDS:g} seconds") from None
    except httpx.HTTPError as error:
        raise NoTicketNow(f"{url} was not reached: {str(error) or type(error).__name__}") from None
    return _read(url, response, body)


async def _post(
    url: str, bearer: str, session: str, origin: str | None, tls: ssl.SSLContext
) -> tuple[httpx.Response, bytes]:
    # Nothing may come back packed: unpacked it has no bound.
    headers = {"authorization": f"Bearer {bearer}", "accept-encoding": "identity"}
    if origin is not None:
        headers["origin"] = origin
    body = bytearray()
    # The one deadline is around all of it. A connection of its own each time: the next ticket may be hours away.
    async with (
        httpx.AsyncClient(timeout=None, verify=tls, trust_env=False) as http,
        http.stream("POST", f"{url}/v1/tickets", json={"session": session}, headers=headers) as response,
    ):
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise TicketDenied(response.status_code, _no_node(url))
    return response, bytes(body)


def _read(url: str, response: httpx.Response, body: bytes) -> Ticket:
    status = response.status_code
    if status in TRY_AGAIN or status >= 500:
        raise NoTicketNow(f"{url} answers {status}", _retry_after(response))
    if status in range(300, 400):
        # Not followed: the token is for the node that was named.
        raise TicketDenied(status, f"{url} is elsewhere; name the node itself")
    try:
        if status == 201:
            answer = msgspec.json.decode(body, type=_Answer)
            target(answer.url)
            if not 0 < len(answer.ticket) <= MAX_TICKET_CHARS:
                raise ValueError(f"a ticket of {len(answer.ticket)} characters")
            return Ticket(answer.ticket, answer.session, answer.expires_in_s, answer.url)
        problem = msgspec.json.decode(body, type=_Problem)
    except (ValueError, RecursionError):
        raise TicketDenied(status, _no_node(url)) from None
    raise TicketDenied(status, problem.detail or problem.title or "no reason given")


def _no_node(url: str) -> str:
    return f"{url} does not answer as a callboard node does"


def _retry_after(response: httpx.Response) -> float:
    """Seconds, RFC 9110 section 10.2.3: a number, or a date, seen from the answer's own."""
    said = response.headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return min(MAX_RETRY_AFTER_SECONDS, float(said))
    try:
        then = email.utils.parsedate_to_datetime(said)
        seconds = (then - email.utils.parsedate_to_datetime(response.headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(MAX_RETRY_AFTER_SECONDS, max(0.0, seconds))
