"""The registry: the one actor that knows which session is where.

Theory of operation. An entry is made when a supervisor says that a session is ready, and removed in the turn that
handles the session's death notice (law S11). The registry asks nobody and waits for nobody: who wants a route to a
session that is not there yet gets a deferred answer, and the supervisor is told. It holds no events: they go along
routes, past it.

A route is withdrawn before the session it leads to goes away, so whoever holds one sees that it has to ask again.

A registry that restarts knows nothing. It has the supervisor report its sessions, and the sessions their runs; until
all have, a run that it does not know may still be told, and whoever asks for it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar

import attrs
import pykka

from ..runtime import Actor, ActorExited, Ref, Reply
from .commands import Result
from .errors import SessionQuarantined, UnknownRun
from .ids import SessionKey
from .messages import (
    ChildrenReported,
    EnsureSession,
    Leave,
    Locate,
    ReportChildren,
    ReportRuns,
    Reroute,
    Route,
    RouteOfRun,
    RunCommand,
    RunOpened,
    RunsReported,
    SessionRefused,
    SessionStarted,
    SupervisorRestarted,
    WithdrawIdle,
)

__all__ = ["Registry", "RegistryEntries", "ReportEntries", "ask_session"]


async def ask_session(registry: Ref[Any], key: SessionKey, message: Any) -> Any:
    """Ask a session something, starting it if need be; gives the answer.

    A session that is gone before it has answered, because it was idle or for any other reason, is asked once more
    where it is then. So a message that was handled already may be handled twice if its session died for good over it.

    Raises:
        SessionQuarantined, StoreUnavailable: the session cannot be started now.
        pykka.ActorDeadError: the node has ended.
        Exception: whatever the session answered.
    """
    while True:
        route: Route = await registry.ask_async(Locate(key))
        try:
            return await route.ref.ask_async(message)
        except pykka.ActorDeadError:
            # The registry hears of a death before it takes the next question, so it will not give this route again.
            if route.ref.is_alive():
                raise


@attrs.frozen
class ReportEntries:
    """Ask for a snapshot. The answer is `RegistryEntries`."""


@attrs.frozen
class RegistryEntries:
    """The registry at one moment: sessions by id, ids by user, sessions by run, questions that wait."""

    sessions: Mapping[str, Ref[Any]]
    users: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, str]
    waiting: int


@attrs.define(eq=False)
class _Waiting:
    """Who waits for a session that is not there: as many as ask, whose number is bounded where they come from."""

    key: SessionKey
    replies: list[Reply[Route]] = attrs.field(factory=list)
    rerouted: list[Reroute] = attrs.field(factory=list)


class Registry(Actor):
    """Session → ref, user → sessions, run → session.

    Args:
        supervisor: gives the ref of the session supervisor; called when it is needed, as the two know each other.
    """

    # Every user that connects asks once; a burst of ten thousand finds room.
    mailbox_capacity: ClassVar[int] = 16_384

    def __init__(self, supervisor: Callable[[], Ref[Any]]) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._routes: dict[str, Route] = {}
        self._ids: dict[Ref[Any], str] = {}
        self._users: dict[str, dict[str, None]] = {}
        self._runs: dict[str, tuple[str, Ref[Any]]] = {}
        self._agents: dict[Ref[Any], str] = {}
        self._waiting: dict[str, _Waiting] = {}
        # After a restart: the supervisor has not told all its sessions, these sessions have not told their runs, and
        # these questions wait for them.
        self._children_expected = False
        self._runs_expected: dict[str, None] = {}
        self._runs_asked: dict[str, list[Reply[Route]]] = {}

    def on_start(self) -> None:
        """Ask for what the supervisor has: nothing at the node's start, everything after a restart of this actor."""
        if self.restarts:
            self._children_expected = True
            self._supervisor().notify(ReportChildren())

    def on_stop(self) -> None:
        """Answer those whose question was routed once more and got nowhere; the others the kernel answers."""
        for waiting in self._waiting.values():
            for rerouted in waiting.rerouted:
                if rerouted.reply is not None:
                    rerouted.reply.offer_exception(pykka.ActorDeadError(f"session {waiting.key.id} is gone"))

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Withdraw all routes: the next incarnation does not know who holds them. It is left what is to be routed."""
        for route in self._routes.values():
            route.withdrawn = True
        for waiting in self._waiting.values():
            for rerouted in waiting.rerouted:
                self.actor_ref.notify(rerouted)

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages`."""
        match message:
            case Locate(key):
                return self._locate(key)
            case RouteOfRun(run):
                return self._route_of_run(run)
            case RunOpened(run, key, agent):
                self._run_opened(run, key.id, agent)
            case SessionStarted():
                self._session_started(message)
            case SessionRefused(key, error):
                self._session_refused(key, error)
            case WithdrawIdle(key, ref):
                route = self._routes.get(key.id)
                if route is not None and route.ref is ref:
                    self._forget_session(key.id)
                # Also where there is no route, after a restart: it waits for this word, and others for its end.
                ref.notify(Leave())
            case Reroute():
                self._reroute(message)
            case ActorExited(ref, _):
                self._exited(ref)
            case SupervisorRestarted():
                for waiting in self._waiting.values():
                    self._supervisor().notify(EnsureSession(waiting.key))
            case ChildrenReported():
                self._children_expected = False
                self._refuse_when_all_told()
            case RunsReported(session, runs):
                self._runs_reported(session, runs)
            case ReportEntries():
                return self._entries()
            case _:
                raise TypeError(f"the registry does not know {type(message).__name__}")
        return None

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _locate(self, key: SessionKey) -> Route | None:
        route = self._routes.get(key.id)
        if route is not None:
            return route
        replies = self._wait_for(key).replies
        # Those who gave up waiting are not kept.
        replies[:] = [reply for reply in replies if not reply.abandoned]
        replies.append(self.defer_reply())
        return None

    def _wait_for(self, key: SessionKey) -> _Waiting:
        self._supervisor().notify(EnsureSession(key))
        return self._waiting.setdefault(key.id, _Waiting(key))

    def _session_started(self, message: SessionStarted) -> None:
        id = message.key.id
        route = self._routes.get(id)
        if route is None or route.ref is not message.ref:
            if route is not None:
                self._forget_session(id)
            route = self._routes[id] = Route(message.key, message.ref)
            self._ids[message.ref] = id
            self._users.setdefault(message.key.user, {})[id] = None
            self.watch(message.ref)
            if self._children_expected:
                self._runs_expected[id] = None
                message.ref.notify(ReportRuns())
        waiting = self._waiting.pop(id, None)
        if waiting is not None:
            for reply in waiting.replies:
                reply.offer(route)
            for rerouted in waiting.rerouted:
                route.ref.forward(rerouted.message, rerouted.reply)

    def _session_refused(self, key: SessionKey, error: Exception) -> None:
        waiting = self._waiting.pop(key.id, None)
        if waiting is None:
            return
        for reply in waiting.replies:
            reply.offer_exception(error)
        for rerouted in waiting.rerouted:
            if rerouted.reply is not None:
                rerouted.reply.offer_exception(error)
            elif isinstance(rerouted.message, RunCommand):
                command = rerouted.message
                code = "quarantined" if isinstance(error, SessionQuarantined) else "store_unavailable"
                result = Result(command.id, error_code=code, error_message=str(error), retry=True)
                command.connection.deliver(result)

    def _reroute(self, message: Reroute) -> None:
        route = self._routes.get(message.key.id)
        # What a session leaves behind comes just before the notice of its death.
        if route is not None and route.ref.is_alive():
            route.ref.forward(message.message, message.reply)
        else:
            self._wait_for(message.key).rerouted.append(message)

    def _exited(self, ref: Ref[Any]) -> None:
        run = self._agents.pop(ref, None)
        if run is not None:
            self._runs.pop(run, None)
        id = self._ids.get(ref)
        if id is not None:
            self._forget_session(id)
            self._refuse_when_all_told()

    def _forget_session(self, id: str) -> None:
        route = self._routes.pop(id)
        route.withdrawn = True
        self.unwatch(route.ref)
        del self._ids[route.ref]
        self._runs_expected.pop(id, None)
        ids = self._users[route.key.user]
        del ids[id]
        if not ids:
            del self._users[route.key.user]

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _run_opened(self, run: str, session: str, agent: Ref[Any]) -> None:
        self._runs[run] = (session, agent)
        self._agents[agent] = run
        self.watch(agent)

    def _route_of_run(self, run: str) -> Route | None:
        route = self._known_route(run)
        if route is not None:
            return route
        if not self._children_expected and not self._runs_expected:
            raise UnknownRun(f"run {run} is not under way")
        self._runs_asked.setdefault(run, []).append(self.defer_reply())
        return None

    def _known_route(self, run: str) -> Route | None:
        known = self._runs.get(run)
        return self._routes.get(known[0]) if known is not None else None

    def _runs_reported(self, session: str, runs: tuple[tuple[str, Ref[Any]], ...]) -> None:
        self._runs_expected.pop(session, None)
        for run, agent in runs:
            self._run_opened(run, session, agent)
            route = self._known_route(run)
            if route is not None:
                for reply in self._runs_asked.pop(run, ()):
                    reply.offer(route)
        self._refuse_when_all_told()

    def _refuse_when_all_told(self) -> None:
        if self._runs_asked and not self._children_expected and not self._runs_expected:
            asked, self._runs_asked = self._runs_asked, {}
            for run, replies in asked.items():
                for reply in replies:
                    reply.offer_exception(UnknownRun(f"run {run} is not under way"))

    def _entries(self) -> RegistryEntries:
        return RegistryEntries(
            sessions={id: route.ref for id, route in self._routes.items()},
            users={user: tuple(ids) for user, ids in self._users.items()},
            runs={run: session for run, (session, _) in self._runs.items()},
            waiting=sum(len(waiting.replies) + len(waiting.rerouted) for waiting in self._waiting.values()),
        )
