"""HTTP/1.1 on one stream, with h11: requests in, answers out, until the peer upgrades, closes or is too slow.

An upgrade to WebSocket is not answered here: the caller gets the request's own bytes and goes on with the stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import h11
import msgspec
import trio

from .errors import Problem

__all__ = ["HttpLimits", "Request", "Response", "Upgrade", "json_response", "problem_response", "serve_http"]

RECEIVE_BYTES = 16_384


@attrs.frozen
class HttpLimits:
    """What a peer may send, and how long it may take; see `actors.Limits`."""

    head_seconds: float
    keep_alive_seconds: float
    head_bytes: int
    body_bytes: int


@attrs.frozen
class Request:
    """One request. `headers` has lower-case names; of a repeated header the last one counts."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@attrs.frozen
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Upgrade:
    """A request to go on as WebSocket: its head as it came, and what came behind it already."""

    request: Request
    head: bytes
    rest: bytes


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
    stream: trio.abc.Stream, limits: HttpLimits, handle: Callable[[Request], Awaitable[Response]]
) -> Upgrade | None:
    """Answer requests until the peer is done; gives the upgrade if that is how it goes on.

    A peer that takes longer than allowed, or breaks off, is left without a word; one that breaks the rules of HTTP gets
    the status that they name. Does not close the stream.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
    raw = bytearray()
    first = True
    while True:
        try:
            idle = limits.head_seconds if first else limits.keep_alive_seconds
            event = await _head(stream, connection, raw, idle, limits.head_seconds)
            if event is None:
                return None
            first = False
            request = _request(event)
            if request.headers.get("upgrade", "").lower() == "websocket" and request.method == "GET":
                rest = bytes(connection.trailing_data[0])
                return Upgrade(request, bytes(raw[: len(raw) - len(rest)]), rest)
            with trio.fail_after(limits.head_seconds):
                body = await _body(stream, connection, limits.body_bytes)
        except h11.RemoteProtocolError as error:
            await _refuse(stream, connection, Problem(error.error_status_hint, "Bad request", str(error)), limits)
            return None
        except Problem as problem:
            await _refuse(stream, connection, problem, limits)
            return None
        except (trio.TooSlowError, trio.BrokenResourceError):
            return None
        response = await handle(attrs.evolve(request, body=body))
        try:
            with trio.fail_after(limits.head_seconds):
                await stream.send_all(_encode(connection, response, with_body=request.method != "HEAD"))
        except (trio.TooSlowError, trio.BrokenResourceError):
            return None
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return None
        rest = bytes(connection.trailing_data[0])
        connection.start_next_cycle()
        raw = bytearray(rest)


async def _head(
    stream: trio.abc.Stream, connection: h11.Connection, raw: bytearray, idle_seconds: float, head_seconds: float
) -> h11.Request | None:
    """The next request's head; None when the peer has closed."""
    deadline = trio.current_time() + (head_seconds if raw else idle_seconds)
    with trio.fail_at(deadline) as scope:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            data = await stream.receive_some(RECEIVE_BYTES)
            if not raw:
                # The first byte of a request begins its own time; until then the connection was only idle.
                scope.deadline = min(scope.deadline, trio.current_time() + head_seconds)
            raw += data
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
                raise Problem(413, "Content too large", f"a body may have {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        else:
            raise h11.RemoteProtocolError("the connection closed in the middle of a request")


def _request(event: h11.Request) -> Request:
    target = event.target.decode("ascii", "replace")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
    try:
        path = unquote(urlsplit(target).path, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise Problem(400, "Bad request", "the path is no UTF-8") from None
    return Request(event.method.decode("ascii"), path, headers)


def _encode(connection: h11.Connection, response: Response, *, with_body: bool) -> bytes:
    headers = [("content-length", str(len(response.body))), *response.headers]
    reason = HTTPStatus(response.status).phrase.encode("ascii")
    out = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    if with_body and response.body:
        out += connection.send(h11.Data(data=response.body)) or b""
    return out + (connection.send(h11.EndOfMessage()) or b"")


async def _refuse(stream: trio.abc.Stream, connection: h11.Connection, problem: Problem, limits: HttpLimits) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    response = problem_response(_closing(problem))
    with trio.move_on_after(limits.head_seconds):
        try:
            await stream.send_all(_encode(connection, response, with_body=True))
        except trio.BrokenResourceError:
            return


def _closing(problem: Problem) -> Problem:
    """The same problem, said with the connection's end."""
    return Problem(problem.status, problem.title, problem.detail, (*problem.headers, ("connection", "close")))
