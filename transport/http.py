"""HTTP/1.1 on one stream, with h11: requests in, answers out, until the peer upgrades, closes or is too slow.

An upgrade to WebSocket is checked here but not answered: the caller goes on with the stream.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11
import msgspec
import trio

from ..runtime import log_traceback
from .errors import Problem
from .streams import linger

__all__ = ["HttpLimits", "Request", "Response", "Upgrade", "json_response", "problem_response", "serve_http"]

logger = logging.getLogger("callboard")

RECEIVE_BYTES = 16_384
# RFC 6455 section 4.1: the one version that there is, and a nonce of 16 bytes.
WEBSOCKET_VERSION = "13"
WEBSOCKET_KEY_BYTES = 16


@attrs.frozen
class HttpLimits:
    """What a peer may send, and how long it may take; see `actors.Limits`."""

    head_seconds: float
    keep_alive_seconds: float
    linger_seconds: float
    head_bytes: int
    body_bytes: int


@attrs.frozen
class Request:
    """One request.

    `headers` has lower-case names; a repeated header is one list, RFC 9110 section 5.2. Of a name that is repeated in
    `query` the last one counts.
    `client` is the address of whoever asks, and `secure` whether by TLS, as far as a listed proxy or the connection
    itself says so.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = attrs.field(factory=dict)
    client: str = "-"
    secure: bool = False

    def listed(self, name: str) -> tuple[str, ...]:
        """The elements of a header that holds a list."""
        return tuple(part for part in (part.strip() for part in self.headers.get(name, "").split(",")) if part)


@attrs.frozen
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Upgrade:
    """A sound request to go on as WebSocket: with which key, and what came behind it already."""

    request: Request
    key: str
    rest: bytes

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offers to speak."""
        return self.request.listed("sec-websocket-protocol")


def json_response(status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer in JSON, not to be stored anywhere."""
    return Response(
        status,
        msgspec.json.encode(value),
        (("content-type", "application/json"), ("cache-control", "no-store"), *headers),
    )


def problem_response(problem: Problem) -> Response:
    """An error answer as RFC 9457 has it."""
    body = {"type": "about:blank", "title": problem.title, "status": problem.status}
    if problem.detail:
        body["detail"] = problem.detail
    headers = (("content-type", "application/problem+json"), ("cache-control", "no-store"), *problem.headers)
    return Response(problem.status, msgspec.json.encode(body), headers)


async def serve_http(
    stream: trio.abc.Stream,
    limits: HttpLimits,
    handle: Callable[[Request], Awaitable[Response]],
    upgrades: Collection[str] = (),
    seen: Callable[[Request], Request] = lambda request: request,
) -> Upgrade | None:
    """Answer requests until the peer is done; gives the upgrade if that is how it goes on.

    A peer that takes longer than allowed, or breaks off, is left without a word; one that breaks the rules of HTTP gets
    the status that they name. Does not close the stream.

    Args:
        stream: the connection.
        limits: what the peer may send.
        handle: answers one request; what it raises is logged and answered with 500.
        upgrades: the paths where WebSocket is spoken; elsewhere the wish for it is passed over, as RFC 9110 allows.
        seen: completes a request with who asks, or raises Problem.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
    idle_seconds = limits.head_seconds
    while True:
        with_body = True
        try:
            event = await _head(stream, connection, idle_seconds, limits.head_seconds)
            if event is None:
                return None
            # RFC 9110 section 9.3.2, of refusals too.
            with_body = event.method != b"HEAD"
            request = seen(_request(event, limits.body_bytes))
            if request.path in upgrades and _wants_websocket(event, request):
                return Upgrade(request, _websocket_key(request), bytes(connection.trailing_data[0]))
            with trio.fail_after(limits.head_seconds):
                body = await _body(stream, connection, limits.body_bytes)
        except h11.RemoteProtocolError as error:
            problem = Problem(error.error_status_hint, "Bad request", str(error))
            await _refuse(stream, connection, problem, limits, with_body=with_body)
            return None
        except Problem as problem:
            await _refuse(stream, connection, problem, limits, with_body=with_body)
            return None
        except (trio.TooSlowError, trio.BrokenResourceError):
            return None
        try:
            response = await handle(attrs.evolve(request, body=body))
        except Exception as error:  # noqa: BLE001 - the fence: a bug is this request's alone
            logger.error("%s %s failed: %s", request.method, request.path, type(error).__name__)
            log_traceback(error, "%s %s failed", request.method, request.path)
            response = problem_response(Problem(500, "Internal server error"))
        if not await _say(stream, connection, response, limits, with_body=with_body):
            return None
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            await linger(stream, limits.linger_seconds)
            return None
        connection.start_next_cycle()
        idle_seconds = limits.keep_alive_seconds


async def _head(
    stream: trio.abc.Stream, connection: h11.Connection, idle_seconds: float, head_seconds: float
) -> h11.Request | None:
    """The next request's head; None when the peer has closed."""
    begun = bool(connection.trailing_data[0])
    with trio.fail_after(head_seconds if begun else idle_seconds) as scope:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            data = await stream.receive_some(RECEIVE_BYTES)
            if not begun:
                # The first byte of a request begins its own time; until then the connection was only idle.
                begun = True
                scope.deadline = trio.current_time() + head_seconds
            connection.receive_data(bytes(data))
    raise AssertionError("unreachable")


async def _body(stream: trio.abc.Stream, connection: h11.Connection, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        if connection.they_are_waiting_for_100_continue:
            await stream.send_all(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        else:
            raise h11.RemoteProtocolError("the connection closed in the middle of a request")


def _request(event: h11.Request, max_body_bytes: int) -> Request:
    if not event.http_version.startswith(b"1."):
        raise Problem(505, "HTTP version not supported", "HTTP/1.1 and HTTP/1.0 are spoken here")
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "transfer-encoding" in headers and "content-length" in headers:
        # RFC 9112 section 6.1: whoever forwarded this may have seen another end of it than we would.
        raise Problem(400, "Bad request", "a body has either a length or a transfer coding, not both")
    # h11 has seen to it that this is a number.
    if int(headers.get("content-length", "0")) > max_body_bytes:
        raise _too_large(max_body_bytes)
    try:
        target = urlsplit(event.target.decode("ascii", "replace"))
        path = unquote(target.path, errors="strict")
        query = dict(parse_qsl(target.query, keep_blank_values=True, errors="strict"))
    except ValueError:
        raise Problem(400, "Bad request", "path or query is no UTF-8, or the target no URL") from None
    return Request(event.method.decode("ascii"), path, headers, query=query)


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "Content too large", f"a body may have {max_bytes} bytes")


def _wants_websocket(event: h11.Request, request: Request) -> bool:
    """RFC 9110 section 7.8: in HTTP/1.0 there is no upgrade."""
    wanted = [element.lower() for element in request.listed("upgrade")]
    return event.method == b"GET" and event.http_version == b"1.1" and "websocket" in wanted


def _websocket_key(request: Request) -> str:
    """The client's key of a handshake by RFC 6455 section 4.2.1. Raises Problem for one that is not sound."""
    headers = request.headers
    if "upgrade" not in [element.lower() for element in request.listed("connection")]:
        raise Problem(400, "Bad request", "an upgrade needs the header `Connection: Upgrade`")
    if headers.get("sec-websocket-version") != WEBSOCKET_VERSION:
        raise Problem(
            426,
            "Upgrade required",
            f"Sec-WebSocket-Version has to be {WEBSOCKET_VERSION}",
            (("sec-websocket-version", WEBSOCKET_VERSION), ("upgrade", "websocket")),
        )
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Problem(400, "Bad request", "an upgrade has no body here")
    key = headers.get("sec-websocket-key", "")
    try:
        sound = len(base64.b64decode(key, validate=True)) == WEBSOCKET_KEY_BYTES
    except (binascii.Error, ValueError):
        sound = False
    if not sound:
        raise Problem(400, "Bad request", f"Sec-WebSocket-Key has to be {WEBSOCKET_KEY_BYTES} bytes in base64")
    return key


def _encode(connection: h11.Connection, response: Response, *, with_body: bool) -> bytes:
    # RFC 9110 section 8.6: what has no body by its status has no length either.
    length = [("content-length", str(len(response.body)))] if response.status not in (204, 304) else []
    headers = [*length, *response.headers]
    reason = HTTPStatus(response.status).phrase.encode("ascii")
    out = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    if with_body and response.body:
        out += connection.send(h11.Data(data=response.body)) or b""
    return out + (connection.send(h11.EndOfMessage()) or b"")


async def _say(
    stream: trio.abc.Stream, connection: h11.Connection, response: Response, limits: HttpLimits, *, with_body: bool
) -> bool:
    """Send an answer; whether the peer took it."""
    try:
        # As long as an idle peer may keep us, so may one that reads slowly.
        with trio.fail_after(limits.keep_alive_seconds):
            await stream.send_all(_encode(connection, response, with_body=with_body))
    except (trio.TooSlowError, trio.BrokenResourceError):
        return False
    return True


async def _refuse(
    stream: trio.abc.Stream, connection: h11.Connection, problem: Problem, limits: HttpLimits, *, with_body: bool
) -> None:
    """Say the problem and that the connection ends with it: where the next request begins is not known."""
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    response = problem_response(problem)
    response = attrs.evolve(response, headers=(*response.headers, ("connection", "close")))
    if await _say(stream, connection, response, limits, with_body=with_body):
        await linger(stream, limits.linger_seconds)
