"""Getting a ticket over HTTP: one request on a connection of its own, read by h11, bounded in time and bytes."""

from __future__ import annotations

import email.utils
import inspect
import ssl
from collections.abc import Awaitable, Callable, Mapping

import attrs
import h11
import msgspec
import trio

from .dialing import NotReached, StreamOpener, dial
from .errors import TicketDenied
from .urls import target, ticket_target

__all__ = ["NoTicketNow", "Ticket", "TokenSource", "ask_token", "get_ticket"]

TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]

TICKET_SECONDS = 10.0
# A node's answer has some 300 bytes; more than this is no node's.
MAX_ANSWER_BYTES = 65_536
RECEIVE_BYTES = 16_384
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
    url: str,
    bearer: str,
    *,
    session: str = "main",
    origin: str | None = None,
    tls: ssl.SSLContext | None = None,
    open_stream: StreamOpener = trio.open_tcp_stream,
) -> Ticket:
    """Ask a node for a ticket, in `TICKET_SECONDS` at most. Goes straight there, not by a proxy of the environment.

    Args:
        url: the node, ``http(s)://…``.
        bearer: the user's token.
        session: the session's name.
        origin: an origin to name, as a page would.
        tls: how to verify a node's certificate; the system's authorities if not given.
        open_stream: opens a stream to a host and port.

    Raises:
        TicketDenied: the token, the session's name or the origin is not accepted, or this is no node.
        NoTicketNow: it may be given later.
        ValueError: the url is no node's, or one of the others cannot be said in a request.
    """
    where = ticket_target(url)
    headers = [
        ("host", where.host_header),
        ("authorization", f"Bearer {bearer}"),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),  # nothing may come back packed: unpacked it has no bound
        ("connection", "close"),  # the next ticket may be hours away
        *([("origin", origin)] if origin is not None else []),
    ]
    body = msgspec.json.encode({"session": session})
    try:
        request = h11.Request(method="POST", target=where.path, headers=[*headers, ("content-length", str(len(body)))])
    except h11.LocalProtocolError as error:
        raise ValueError(f"this cannot be said in a request: {error}") from None
    try:
        with trio.fail_after(TICKET_SECONDS):
            stream = await dial(where, tls, open_stream)
            try:
                response, answer = await _ask(stream, request, body)
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError:
        raise NoTicketNow(f"{url} gave no ticket within {TICKET_SECONDS:g} seconds") from None
    except NotReached as error:
        raise NoTicketNow(f"{url} was not reached: {error}") from None
    except trio.BrokenResourceError:
        raise NoTicketNow(f"{url} broke the connection off") from None
    except h11.RemoteProtocolError:
        raise NoTicketNow(f"{url} gave no whole answer of HTTP") from None
    return _read(url, response, answer)


async def _ask(stream: trio.abc.Stream, request: h11.Request, body: bytes) -> tuple[h11.Response, bytes]:
    """Send a request on a stream of its own, and give the head and the body of what is answered."""
    connection = h11.Connection(h11.CLIENT)
    await stream.send_all(
        (connection.send(request) or b"")
        + (connection.send(h11.Data(data=body)) or b"")
        + (connection.send(h11.EndOfMessage()) or b"")
    )
    response: h11.Response | None = None
    answer = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            answer += event.data
            if len(answer) > MAX_ANSWER_BYTES:
                assert response is not None, "a body comes behind a head"
                return response, b""  # read no further; what is no answer is told as none
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None, "an end comes behind a head"
            return response, bytes(answer)


def _read(url: str, response: h11.Response, body: bytes) -> Ticket:
    status = response.status_code
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}
    if status in TRY_AGAIN or status >= 500:
        raise NoTicketNow(f"{url} answers {status}", _retry_after(headers))
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


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, RFC 9110 section 10.2.3: a number, or a date, seen from the answer's own."""
    said = headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return min(MAX_RETRY_AFTER_SECONDS, float(said))
    try:
        then = email.utils.parsedate_to_datetime(said)
        seconds = (then - email.utils.parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(MAX_RETRY_AFTER_SECONDS, max(0.0, seconds))
