"""The registry: the one actor that knows which session is where.

Theory of operation. An entry is made when a supervisor says that a session is ready, and removed in the turn that
handles the session's death notice (law S11). The registry asks nobody and waits for nobody: who wants a route to a
session that is not there yet gets a deferred answer, and the supervisor is told. It holds no events: they go along
routes, past it.

A route is withdrawn before the session it leads to goes away, so whoever holds one sees that it has to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar

import attrs

from ..runtime import Actor, ActorExited, Ref, Reply
from .errors import UnknownRun
from .ids import SessionKey
from .messages import (
    EnsureSession,
    Leave,
    Locate,
    ReportChildren,
    ReportRuns,
    Reroute,
    Route,
    RouteOfRun,
    RunOpened,
    SessionRefused,
    SessionStarted,
    WithdrawIdle,
)

__all__ = ["Registry", "RegistryEntries", "ReportEntries"]


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
        # Deferred answers, by session; each is one asker that waits, so their number is bounded by the askers.
        self._waiting: dict[str, list[Reply[Route]]] = {}
        self._rerouted: dict[str, list[Reroute]] = {}

    def on_start(self) -> None:
        """Ask for what the supervisor has: nothing at the node's start, everything after a restart of this actor."""
        if self.restarts:
            self._supervisor().tell(ReportChildren())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Withdraw all routes: the next incarnation does not know who holds them."""
        for route in self._routes.values():
            route.withdrawn = True

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages`."""
        match message:
            case Locate(key):
                return self._locate(key)
            case RouteOfRun(run):
                return self._route_of_run(run)
            case RunOpened():
                self._runs[message.run] = (message.key.id, message.agent)
                self._agents[message.agent] = message.run
                self.watch(message.agent)
            case SessionStarted():
                self._session_started(message)
            case SessionRefused():
                for reply in self._waiting.pop(message.key.id, ()):
                    if not reply.abandoned:
                        reply.set_exception(message.error)
                for rerouted in self._rerouted.pop(message.key.id, ()):
                    if rerouted.reply is not None and not rerouted.reply.abandoned:
                        rerouted.reply.set_exception(message.error)
            case WithdrawIdle(key, ref):
                route = self._routes.get(key.id)
                if route is not None and route.ref is ref:
                    self._forget_session(key.id)
                    ref.notify(Leave())
            case Reroute():
                self._reroute(message)
            case ActorExited(ref, _):
                self._exited(ref)
            case ReportEntries():
                return RegistryEntries(
                    sessions={id: route.ref for id, route in self._routes.items()},
                    users={user: tuple(ids) for user, ids in self._users.items()},
                    runs={run: id for run, (id, _) in self._runs.items()},
                    waiting=sum(map(len, self._waiting.values())) + sum(map(len, self._rerouted.values())),
                )
            case _:
                raise TypeError(f"the registry does not know {type(message).__name__}")
        return None

    def _locate(self, key: SessionKey) -> Route | None:
        route = self._routes.get(key.id)
        if route is not None:
            return route
        waiting = self._waiting.setdefault(key.id, [])
        # Those who gave up waiting are not kept.
        waiting[:] = [reply for reply in waiting if not reply.abandoned]
        waiting.append(self.defer_reply())
        self._supervisor().notify(EnsureSession(key))
        return None

    def _route_of_run(self, run: str) -> Route:
        known = self._runs.get(run)
        route = self._routes.get(known[0]) if known is not None else None
        if route is None:
            raise UnknownRun(f"run {run} is not under way")
        return route

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
            if self.restarts:
                message.ref.notify(ReportRuns())
        for reply in self._waiting.pop(id, ()):
            if not reply.abandoned:
                reply.set(route)
        for rerouted in self._rerouted.pop(id, ()):
            self._pass_on(rerouted, route)

    def _reroute(self, message: Reroute) -> None:
        route = self._routes.get(message.key.id)
        if route is not None:
            self._pass_on(message, route)
        else:
            self._rerouted.setdefault(message.key.id, []).append(message)
            self._supervisor().notify(EnsureSession(message.key))

    def _pass_on(self, message: Reroute, route: Route) -> None:
        route.ref.forward(message.message, message.reply)

    def _exited(self, ref: Ref[Any]) -> None:
        run = self._agents.pop(ref, None)
        if run is not None:
            self._runs.pop(run, None)
        id = self._ids.get(ref)
        if id is not None:
            self._forget_session(id)

    def _forget_session(self, id: str) -> None:
        route = self._routes.pop(id)
        route.withdrawn = True
        self.unwatch(route.ref)
        del self._ids[route.ref]
        ids = self._users[route.key.user]
        del ids[id]
        if not ids:
            del self._users[route.key.user]
