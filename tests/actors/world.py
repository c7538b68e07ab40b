"""A whole node of actors on virtual time, with a journal that can go wrong, and clients of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pykka
import trio

from callboard.actors import (
    Agent,
    App,
    Ids,
    Limits,
    Node,
    PublishAlone,
    RegistryEntries,
    ReportEntries,
    Session,
    SessionKey,
    SessionNode,
    ask_session,
)
from callboard.runtime import ActorSystem, Ref, open_system
from callboard.runtime.testing import settle
from tests.actors.client import Client
from tests.actors.faults import FaultyJournal
from tests.actors.scripted import AGENTS

# Short enough that a test sees each of them pass; their relation is that of the defaults.
LIMITS = Limits(run_seconds=60.0, store_seconds=10.0, idle_seconds=120.0, quarantine_seconds=30.0, drain_seconds=10.0)


class Runs:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.terminals: dict[str, str] = {}

    def run_started(self, run: str, session: str, agent: str) -> None:
        """A beginning."""
        self.started[run] += 1

    def run_ended(self, run: str, session: str, terminal: str) -> None:
        """An end."""
        self.ended[run] += 1
        self.terminals[run] = terminal


class World:
    """A node, its journal, and everything a test asks of them."""

    def __init__(
        self,
        system: ActorSystem,
        node: Node,
        journal: FaultyJournal,
        limits: Limits,
        ids: Ids,
        runs: Runs,
        nursery: trio.Nursery,
    ) -> None:
        self.system = system
        self.node = node
        self.journal = journal
        self.limits = limits
        self.ids = ids
        self.runs = runs
        self.nursery = nursery
        self.ended = False

    def client(self, user: str = "ada", device: str = "d1", *, name: str = "main", **more: Any) -> Client:
        """A client that is not connected yet."""
        return Client(self, SessionKey(user, name), device, **more)

    async def connected(self, user: str = "ada", device: str = "d1", **more: Any) -> Client:
        """A client that is."""
        client = self.client(user, device, **more)
        await client.connect()
        return client

    async def settle(self) -> None:
        """Wait until nothing can happen without time passing."""
        await settle(self.system)

    async def publish(self, user: str, type: str, data: Mapping[str, Any]) -> Any:
        """Say something outside of any run."""
        return await ask_session(self.node.registry, SessionKey(user), PublishAlone(type, dict(data)))

    def actor(self, path: str) -> Ref[Any] | None:
        """The ref of a live actor, by its path below the system."""
        return next((cell.ref for cell in self.system.cells if cell.path == f"{self.system.name}/{path}"), None)

    def session(self, user: str, name: str = "main") -> Ref[Any] | None:
        """The ref of a user's session, if it lives."""
        return self.actor(f"sessions/{SessionKey(user, name).id}")

    def agents(self) -> list[Ref[Any]]:
        """The refs of all agents that live."""
        return [cell.ref for cell in self.system.cells if cell.path.count("/") == 3]

    def live_sessions(self) -> set[str]:
        """The ids of the sessions that live."""
        paths = [actor.path.split("/") for actor in self.system.statistics().actors]
        return {path[2] for path in paths if len(path) == 3}

    async def entries(self) -> RegistryEntries:
        """What the registry says."""
        entries: RegistryEntries = await self.node.registry.ask_async(ReportEntries())
        return entries

    def durable(self, user: str, name: str = "main") -> int:
        """The newest seq that the journal has of a session, without asking it."""
        stream = self.journal._streams.get(SessionKey(user, name).id)
        return 0 if stream is None else stream.head

    async def history(self, user: str, name: str = "main") -> list[dict[str, Any]]:
        """All records that the journal has of a session, decoded."""
        records: list[dict[str, Any]] = []
        while True:
            page = await super(FaultyJournal, self.journal).read(
                SessionKey(user, name).id, len(records), max_records=500, max_bytes=1_000_000
            )
            if not page:
                return records
            records += [json.loads(record.encoded) for record in page]


@asynccontextmanager
async def open_world(
    *,
    limits: Limits = LIMITS,
    agents: Mapping[str, Callable[[], Agent | pykka.ThreadingActor]] = AGENTS,
    session: Callable[[SessionKey, SessionNode], Session] = Session,
    seed: int = 1,
    delay_seconds: float = 0.0,
    retained_records: int = 10_000,
    journal: FaultyJournal | None = None,
) -> AsyncIterator[World]:
    """Open a node; at the end of the body it is stopped in order. A journal may be handed from one to the next."""
    ids = Ids(random.Random(seed).randbytes)
    if journal is None:
        journal = FaultyJournal(ids.epoch, retained_records=retained_records, delay_seconds=delay_seconds)
    runs = Runs()
    async with trio.open_nursery() as nursery, open_system("t", slice_clock=lambda: 0.0) as system:
        journal.later = system.timers.call_later
        app = App(
            agents=agents, default_agent="scripted" if "scripted" in agents else next(iter(agents)), session=session
        )
        node = await Node.start(system, app, journal, limits, ids, lambda: int(trio.current_time() * 1000), runs)
        world = World(system, node, journal, limits, ids, runs, nursery)
        try:
            yield world
        finally:
            world.ended = True
            nursery.cancel_scope.cancel()
