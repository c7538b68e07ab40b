"""The HTTP side of the node: tickets, sessions, services' publications, the operator's view, and whether it serves.

Every answer is about the caller's own things; what belongs to another user is not even said to exist.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import msgspec
import pykka
import trio

from ..actors import (
    EventRefused,
    Grant,
    IssueTicket,
    Journal,
    Limits,
    Node,
    Publication,
    PublicationConflict,
    PublishOnce,
    SessionKey,
    SessionQuarantined,
    StoreUnavailable,
    TooManyPublications,
    TooManyTickets,
    ask_session,
)
from ..runtime import Killed, MailboxFull
from .auth import Authenticator, Identity
from .errors import Problem, TokenRefused
from .http import Request, Response, json_response, problem_response
from .selection import Selection

__all__ = ["Api", "ApiBoard", "Handler"]

logger = logging.getLogger("callboard")

Handler = Callable[[Request], Awaitable[Response]]

# How long a browser may remember that another origin is allowed to ask.
PREFLIGHT_SECONDS = 600

# Refusals that an operator wants to know of; what else is wrong is the asker's own affair.
LOGGED = frozenset((401, 403, 429, 503))

# The one path with a part that is not always the same.
EVENTS = "/v1/sessions/{session}/events"
# Longer than any UUID with a prefix; it is kept for a day.
MAX_KEY = 200


class ApiBoard(Protocol):
    """What the HTTP side needs of its node."""

    node: Node
    journal: Journal
    limits: Limits
    publications: Counter[int]
    """Answers to publications, by status."""

    @property
    def authenticator(self) -> Authenticator:
        """Verifies tokens."""

    @property
    def serving(self) -> bool:
        """Whether tickets and connections are served."""

    def origin_allowed(self, origin: str | None) -> bool:
        """Whether a page of this origin may ask."""

    def may_ask(self, user: str) -> bool:
        """Count a request of a user; False when the user sends too many."""

    def may_publish(self, service: str) -> bool:
        """Count a publication of a service; False when it sends more than it may."""

    def websocket_url(self, host: str, secure: bool) -> str:
        """Where a client that asked this host connects to; `secure` if it asked by TLS."""

    async def report(self, selection: Selection) -> dict[str, Any]:
        """The node's statistics, JSON data, with the actors that are wanted."""

    async def close_user(self, user: str) -> Any:
        """Shut a user out; gives what ended, an attrs object."""


class _TicketBody(msgspec.Struct, forbid_unknown_fields=False):
    session: str = "main"


class _RevocationBody(msgspec.Struct):
    user: str


class _EventBody(msgspec.Struct):
    type: str
    data: dict[str, Any]
    run: str | None = None


class Api:
    """Routes a request to its handler.

    Args:
        board: the node.
        extra: further handlers, by method and path, such as the demo's login and pages.
    """

    def __init__(self, board: ApiBoard, extra: Mapping[tuple[str, str], Handler]) -> None:
        self._board = board
        self._handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/tickets"): self._tickets,
            ("GET", "/v1/sessions"): self._sessions,
            ("POST", EVENTS): self._events,
            ("GET", "/v1/statistics"): self._statistics,
            ("POST", "/v1/revocations"): self._revoke,
            ("GET", "/v1/connect"): self._not_an_upgrade,
            ("GET", "/v1/agents"): self._not_an_upgrade,
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            **extra,
        }
        self._methods: dict[str, list[str]] = {}
        for method, path in self._handlers:
            self._methods.setdefault(path, []).append(method)

    async def handle(self, request: Request) -> Response:
        """Answer one request; a problem is an answer too."""
        origin = request.headers.get("origin")
        cors: tuple[tuple[str, str], ...] = ()
        try:
            if origin is not None and self._board.origin_allowed(origin):
                cors = (("access-control-allow-origin", origin), ("vary", "Origin"))
            return _with(await self._dispatch(request), cors)
        except Problem as problem:
            if problem.status in LOGGED:
                logger.info("%s %s refused: %d", request.method, request.path, problem.status)
            return _with(problem_response(problem), cors)

    async def _dispatch(self, request: Request) -> Response:
        path = _route(request.path)
        methods = self._methods.get(path)
        if methods is None:
            raise Problem(404, "Not found", f"there is no {request.path[:200]}")
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return self._preflight(request, methods)
        handler = self._handlers.get((method, path))
        if handler is None:
            allowed = ", ".join(sorted(methods))
            detail = f"{request.path} takes {allowed}, not {request.method[:20]}"
            raise Problem(405, "Method not allowed", detail, (("allow", allowed),))
        try:
            return await handler(request)
        except (MailboxFull, pykka.ActorDeadError):
            raise _unavailable("the node is overloaded, or about to stop") from None

    def _preflight(self, request: Request, methods: list[str]) -> Response:
        headers = [("allow", ", ".join(sorted(methods)))]
        if self._board.origin_allowed(request.headers.get("origin")):
            headers += [
                ("access-control-allow-methods", ", ".join(sorted(methods))),
                ("access-control-allow-headers", "authorization, content-type"),
                ("access-control-max-age", str(PREFLIGHT_SECONDS)),
            ]
        return Response(204, b"", tuple(headers))

    def _identify(self, request: Request) -> Identity:
        """Who asks, and count it."""
        identity = self._verify(request)
        self._count(identity)
        return identity

    def _count(self, identity: Identity) -> None:
        if not self._board.may_ask(identity.user):
            raise _too_often(self._board.limits.requests_per_s, "requests")

    def _verify(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            detail = "send `Authorization: Bearer <token>`"
            raise Problem(401, "Unauthorized", detail, (("www-authenticate", "Bearer"),))
        try:
            return self._board.authenticator.verify(token.strip())
        except TokenRefused as error:
            challenge = (("www-authenticate", 'Bearer error="invalid_token"'),)
            raise Problem(401, "Unauthorized", str(error), challenge) from None

    async def _tickets(self, request: Request) -> Response:
        board = self._board
        identity = self._identify(request)
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if not board.origin_allowed(origin):
            raise Problem(403, "Forbidden", f"origin {origin!r:.200} is not allowed here")
        if not board.serving:
            raise _unavailable("the node is not serving")
        try:
            body = msgspec.json.decode(request.body, type=_TicketBody) if request.body.strip() else _TicketBody()
            key = SessionKey(identity.user, body.session)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise Problem(400, "Bad request", str(error)) from None
        if key != SessionKey(identity.user):
            await self._check_room(key)
            # The user may have been shut out meanwhile, and the tickets that there were taken back.
            self._verify(request)
        try:
            grant = Grant(key, identity.expires_at)
            ticket = await board.node.tickets.ask_async(IssueTicket(grant, origin))
        except TooManyTickets as error:
            raise Problem(429, "Too many requests", str(error), (("retry-after", "1"),)) from None
        return json_response(
            201,
            {
                "ticket": ticket,
                "session": key.id,
                "expires_in_s": int(board.limits.ticket_seconds),
                "url": board.websocket_url(host, request.secure),
            },
        )

    async def _check_room(self, key: SessionKey) -> None:
        """Raise Problem if the session does not exist, and its user has as many as are allowed."""
        keys, limit = await self._keys(key.user), self._board.limits.sessions_per_user
        if len(keys) >= limit and key not in keys:
            raise Problem(403, "Forbidden", f"{len(keys)} sessions of this user exist; {limit} are allowed")

    async def _keys(self, user: str) -> Sequence[SessionKey]:
        try:
            with trio.fail_after(self._board.limits.store_seconds):
                return await self._board.journal.sessions(user)
        except StoreUnavailable as error:
            raise _unavailable(str(error)) from None
        except trio.TooSlowError:
            raise _unavailable("the store does not answer") from None

    async def _sessions(self, request: Request) -> Response:
        keys = await self._keys(self._identify(request).user)
        return json_response(200, {"sessions": [{"name": key.name, "session": key.id} for key in keys]})

    async def _events(self, request: Request) -> Response:
        """A service publishes, and repeats it under the same key until it has an answer (law S5)."""
        counts = self._board.publications
        try:
            publication = await self._published(request)
        except Problem as problem:
            counts[problem.status] += 1
            if problem.status == 404:
                logger.info("a service was refused to speak in a session that is not there, or not for it")
            raise
        counts[201] += 1
        return json_response(201, {"epoch": publication.epoch, "seq": publication.seq, "id": publication.id})

    async def _published(self, request: Request) -> Publication:
        board = self._board
        identity = self._verify(request)
        if "agent" not in identity.scopes:
            self._count(identity)
            raise Problem(403, "Forbidden", "this needs a token with the scope `agent`")
        if not board.serving:
            raise _unavailable("the node is not serving")
        if not board.may_publish(identity.user):
            raise _too_often(board.limits.publications_per_s, "publications")
        name = _idempotency_key(request)
        try:
            body = msgspec.json.decode(request.body, type=_EventBody)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise Problem(400, "Bad request", str(error)) from None
        message = PublishOnce(identity.user, name, body.type, body.data)
        try:
            # As long as an append may take, behind one that is under way.
            with trio.fail_after(2 * board.limits.store_seconds):
                key = await self._session_for(identity, request.path.split("/")[3])
                self._verify(request)  # the service may have been shut out meanwhile
                if body.run is not None:
                    raise Problem(403, "Forbidden", "events of a run are its agent's to say; leave `run` out")
                publication: Publication = await ask_session(board.node.registry, key, message)
                return publication
        except EventRefused as error:
            raise Problem(422, "Unprocessable content", str(error)) from None
        except PublicationConflict as error:
            # So has it the IETF's draft on this header (draft-ietf-httpapi-idempotency-key-header-06, section 2.7).
            raise Problem(422, "Unprocessable content", f"Idempotency-Key: {error}") from None
        except TooManyPublications as error:
            retry = (("retry-after", str(math.ceil(error.retry_ms / 1000))),)
            raise Problem(429, "Too many requests", str(error), retry) from None
        except SessionQuarantined as error:
            raise _unavailable(str(error), board.limits.quarantine_seconds) from None
        except StoreUnavailable as error:
            raise _unavailable(str(error)) from None
        except trio.TooSlowError:
            raise _unavailable("the session did not answer in time") from None
        except (Killed, MailboxFull, pykka.ActorDeadError):
            raise _unavailable("the session was cut short, or is overloaded") from None

    async def _session_for(self, identity: Identity, session: str) -> SessionKey:
        """The session of this id. One that this service may not speak in looks like one that is not there."""
        allowed = identity.sessions is None or session in identity.sessions
        key = await self._board.journal.find(session) if allowed else None
        if key is None:
            raise Problem(404, "Not found", "there is no such session for this service")
        return key

    async def _statistics(self, request: Request) -> Response:
        self._operator(request)
        try:
            selection = Selection.of(request.query)
        except ValueError as error:
            raise Problem(400, "Bad request", str(error)) from None
        return json_response(200, await self._board.report(selection))

    async def _revoke(self, request: Request) -> Response:
        self._operator(request)
        try:
            key = SessionKey(msgspec.json.decode(request.body, type=_RevocationBody).user)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise Problem(400, "Bad request", str(error)) from None
        return json_response(200, attrs.asdict(await self._board.close_user(key.user)))

    def _operator(self, request: Request) -> None:
        if "operator" not in self._identify(request).scopes:
            raise Problem(403, "Forbidden", "this needs a token with the scope `operator`")

    async def _not_an_upgrade(self, request: Request) -> Response:
        detail = "connect here by WebSocket, subprotocol callboard.v1.json, or callboard.agents.v1.json at /v1/agents"
        raise Problem(426, "Upgrade required", detail, (("upgrade", "websocket"), ("connection", "upgrade")))

    async def _healthz(self, request: Request) -> Response:
        return json_response(200, {"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        if not self._board.serving:
            raise _unavailable("the node is not serving")
        return json_response(200, {"status": "ready"})


def _route(path: str) -> str:
    """The path by which a request's handler is known."""
    parts = path.split("/")
    if len(parts) == 5 and parts[:3] == ["", "v1", "sessions"] and parts[4] == "events":
        return EVENTS
    return path


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise Problem(400, "Bad request", f"the header `Idempotency-Key` has to be 1 to {MAX_KEY} characters of ASCII")
    return key


def _too_often(per_s: float, what: str) -> Problem:
    detail = f"{per_s:g} {what} a second are allowed in the long run"
    return Problem(429, "Too many requests", detail, (("retry-after", "1"),))


def _unavailable(detail: str, seconds: float = 1.0) -> Problem:
    return Problem(503, "Service unavailable", detail, (("retry-after", str(math.ceil(seconds))),))


def _with(response: Response, headers: tuple[tuple[str, str], ...]) -> Response:
    return Response(response.status, response.body, (*response.headers, *headers)) if headers else response
