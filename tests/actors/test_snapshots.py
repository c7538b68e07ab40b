"""What a session has made of its records outlives them: it comes back without reading them, and they may be dropped."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Record, Session
from tests.actors.faults import FaultyJournal
from tests.actors.world import LIMITS, World, open_world


def mixed(digest: str, n: int) -> str:
    """A state that knows every number that went in, and their order."""
    return hashlib.sha256(f"{digest} {n}".encode()).hexdigest()


class Digesting(Session):
    """Its state is made of every record that there ever was."""

    ops = frozenset({"digest"})
    digest = ""

    def on_record(self, record: Record) -> None:
        self.digest = mixed(self.digest, record.data()["n"])

    def dump(self) -> Any:
        return {"digest": self.digest}

    def restore(self, state: Any) -> None:
        assert not self.digest
        self.digest = state["digest"]

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        return {"digest": self.digest}


async def crash(world: World) -> None:
    """Kill ada's session, if it is there, and wait until it is back."""
    session = world.session("ada")
    if session is not None:
        session.kill()
    await world.settle()


# S2 S10
@settings(max_examples=60)
@given(
    program=st.lists(st.lists(st.sampled_from(("say", "say", "burst", "crash", "leave")), max_size=8), max_size=4),
    every=st.integers(1, 7),
    retained=st.integers(1, 9),
)
async def test_an_authors_state_is_that_of_all_records(program: list[list[str]], every: int, retained: int) -> None:
    """Red if a record is lost to an author's state, or counts twice, by retention, crash or passivation."""
    limits = attrs.evolve(LIMITS, snapshot_records=every, retained_records=retained, idle_seconds=10.0)
    journal: FaultyJournal | None = None
    wanted, told = "", 0
    for seed, life in enumerate([*program, []]):
        async with open_world(
            limits=limits, session=Digesting, retained_records=retained, seed=seed, journal=journal
        ) as world:
            journal = world.journal
            for step in life:
                match step:
                    case "crash":
                        await crash(world)
                    case "leave":
                        await trio.sleep(60)
                        assert world.live_sessions() == set()
                    case _:
                        for _ in range(5 if step == "burst" else 1):
                            told += 1
                            wanted = mixed(wanted, told)
                            assert (await world.publish("ada", "x.said", {"n": told})).seq == told
            client = await world.connected(stays=False, device=f"device of life {seed}")
            assert (await client.ask("digest", {})).ok == {"digest": wanted}
            journal.broken = True  # the node is lost: it writes nothing more
        journal.heal()


async def test_a_session_comes_back_without_reading_its_records() -> None:
    """S13. Red if coming back takes longer the more was said, or forgets runs that only old records tell of."""
    async with open_world() as world:
        client = await world.connected(stays=False)
        await client.say("think")
        await world.settle()
        run = client.run_of(1)
        for n in range(2_500):
            await world.publish("ada", "x.said", {"n": n})
        client.leave()
        reads = world.journal.counts["read"]
        await trio.sleep(3 * LIMITS.idle_seconds)
        assert world.live_sessions() == set()
        await world.publish("ada", "x.said", {"n": 0})
        assert world.journal.counts["read"] == reads
        client = await world.connected(device="another")
        assert (await client.ask("cancel", {}, run)).ok == {"state": "ended"}
        journal = world.journal
        journal.broken = True
    journal.heal()
    reads = journal.counts["read"]
    async with open_world(journal=journal, seed=2) as world:
        await world.publish("ada", "x.said", {"n": 0})
        assert journal.counts["read"] == reads + 1, "what came behind the last snapshot"


async def test_a_class_that_learns_to_dump_is_told_everything_once_more() -> None:
    """Red if the state of an author who adds `dump` begins with a snapshot that has none."""
    async with open_world() as world:
        for n in range(1, 4):
            await world.publish("ada", "x.said", {"n": n})
        journal = world.journal
    async with open_world(session=Digesting, journal=journal, seed=2) as world:
        client = await world.connected()
        wanted = mixed(mixed(mixed("", 1), 2), 3)
        assert (await client.ask("digest", {})).ok == {"digest": wanted}
