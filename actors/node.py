"""`Node`: the registry, the session supervisor and the ticket office, started and wired to each other.

They know each other by refs that are there once all are started, hence the small functions that give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..runtime import ActorSystem, Ref, Restart
from .app import App
from .ids import Ids
from .journal import Journal
from .limits import Limits
from .recovery import Recovery
from .registry import Registry
from .session_node import RunObserver, SessionNode
from .supervisor import SessionSupervisor
from .tickets import TicketOffice

__all__ = ["Node"]


@attrs.frozen(eq=False)
class Node:
    """The actors of one node. Started by `start`, stopped with their system, the registry last."""

    system: ActorSystem
    registry: Ref[Any]
    tickets: Ref[Any]
    sessions: Ref[Any]

    @classmethod
    async def start(
        cls,
        system: ActorSystem,
        app: App,
        journal: Journal,
        limits: Limits,
        ids: Ids,
        now_ms: Callable[[], int],
        observer: RunObserver,
    ) -> Node:
        """Start the actors in an open system.

        Args:
            system: where they live.
            app: the platform's agents and sessions.
            journal: where records go; the caller closes it after the system.
            limits: the node's limits.
            ids: the source of ids.
            now_ms: Unix milliseconds.
            observer: hears of each run's beginning and end.
        """
        sessions: list[Ref[Any]] = []

        def supervisor() -> Ref[Any]:
            return sessions[0]

        registry = await system.spawn(lambda: Registry(supervisor), id="registry")
        tickets = await system.spawn(lambda: TicketOffice(limits, ids), id="tickets")
        session_node = SessionNode(
            journal=journal,
            registry=lambda: registry,
            supervisor=supervisor,
            agents=app.agents,
            default_agent=app.default_agent,
            limits=limits,
            ids=ids,
            now_ms=now_ms,
            observer=observer,
        )
        sessions.append(
            await system.spawn(
                lambda: SessionSupervisor(lambda key: app.session(key, session_node), lambda: registry, limits),
                id="sessions",
                stop_seconds=limits.drain_seconds,
            )
        )
        await system.spawn(
            lambda: Recovery(journal, registry, limits), id="recovery", restart=Restart.TRANSIENT, stop_seconds=0.0
        )
        return cls(system, registry, tickets, sessions[0])
