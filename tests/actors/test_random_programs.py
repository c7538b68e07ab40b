"""Whole nodes under random programs: after any of them the laws hold, and nothing is left behind."""

from typing import Any

import attrs
import trio
import trio._core._run
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.programs import USERS, Counting, Machine, Step, programs
from tests.actors.story import check_story
from tests.actors.world import LIMITS, World, open_world


async def check(machine: Machine) -> None:
    """Assert the laws of a node at rest."""
    world = machine.world
    for user in USERS:
        history = await world.history(user)
        check_story(history)
        check_isolation(user, history)
        check_commands(machine, user, history)
        check_publications(machine, user, history)
        said = sum(record["type"] == "x.said" for record in history)
        assert said >= machine.published[user], "an accepted publication is missing"
    assert machine.too_early == [], "S3"
    for (user, _), client in machine.clients.items():
        assert client.broken_rules == []
        assert client.records == await world.history(user), "S4 S10"
        assert client.epoch == machine.clients[user, "d1"].epoch
    assert world.runs.started == world.runs.ended, "an observer was not told"
    assert set(world.runs.started.values()) <= {1}
    entries = await world.entries()
    assert set(entries.sessions) == world.live_sessions(), "S11"
    assert entries.users == {user: (machine.clients[user, "d1"].key.id,) for user in USERS}
    assert entries.runs == {}
    assert entries.waiting == 0


def check_isolation(user: str, history: list[dict[str, Any]]) -> None:
    """S1: whatever names a user names this one."""
    for record in history:
        if record["type"] == "agent_started":
            assert record["data"]["input"].split()[0] == user
        elif record["type"] in ("x.said", "x.named"):
            assert record["data"]["user"] == user


def check_commands(machine: Machine, user: str, history: list[dict[str, Any]]) -> None:
    """S5: each command has one answer, whatever was repeated, and one effect; no effect is nobody's."""
    begun, counted = [], []
    for (owner, _), client in machine.clients.items():
        if owner != user:
            continue
        for id, asked in client.asked.items():
            kept = [result for result in client.results[id] if not result.retry]
            assert kept
            assert kept == [kept[0]] * len(kept), "a repeated command got another answer"
            if kept[0].error_code is not None:
                # A store that fails can forget a new device's first command, and then the second is a stranger's.
                expected = {"user_message": {"expired_id"}, "count": {"expired_id", "interrupted"}}
                assert kept[0].error_code in expected.get(asked.op, {"expired_id"})
            elif asked.op == "user_message":
                assert kept[0].seq is not None
                record = history[kept[0].seq - 1]
                assert (record["run"], record["type"]) == (client.run_of(id), "agent_started")
                assert record["data"]["input"] == asked.data["text"]
                begun.append(record["seq"])
            elif asked.op == "count":
                assert kept[0].ok is not None
                counted.append(kept[0].ok["count"])
    assert sorted(begun) == [record["seq"] for record in history if record["type"] == "agent_started"]
    assert sorted(counted) == [record["data"]["count"] for record in history if record["type"] == "x.counted"]
    assert sorted(counted) == list(range(1, len(counted) + 1))


def check_publications(machine: Machine, user: str, history: list[dict[str, Any]]) -> None:
    """S5: each key has one record, and one answer that says where; what came under a used key has none."""
    named = {record["id"]: record for record in history if record["type"] == "x.named"}
    for owner, service, key in {asked[:3] for asked in machine.asked if asked[0] == user}:
        ((said, answer),) = set(machine.answers[owner, service, key])
        record = named.pop(answer.id)
        assert (record["seq"], record["data"]["said"]) == (answer.seq, said)
    assert named == {}, "a publication was recorded twice, or under a used key"


seeds = st.integers(0, 2**16)

# The second has cursors fall behind what memory holds, and agents wait for room.
DISKS = {
    "memory": (0.0, LIMITS),
    "disk": (0.005, attrs.evolve(LIMITS, tail_records=3, window_bytes=300, undurable_bytes=2_000, runs=3)),
}


async def run_and_check(program: list[Step], disk: str, seed: int) -> list[list[dict[str, Any]]]:
    """Run a program on a fresh node to its end, with one of the orders in which tasks may run; gives all histories."""
    trio._core._run._r.seed(seed)
    delay_seconds, limits = DISKS[disk]
    async with open_world(delay_seconds=delay_seconds, limits=limits, session=Counting) as world:
        await world.settle()
        before = baseline(world)
        machine = Machine(world)
        await machine.run(program)
        await machine.come_to_rest()
        await check(machine)
        await machine.leave()
        assert baseline(world) == before, "something was left behind"
        entries = await world.entries()
        assert (entries.sessions, entries.users, entries.runs, entries.waiting) == ({}, {}, {}, 0)
        return [await world.history(user) for user in USERS]


def baseline(world: World) -> tuple[list[str], int, int]:
    """What a node at rest without sessions consists of."""
    statistics = world.system.statistics()
    return [actor.path for actor in statistics.actors], statistics.tasks, statistics.timers


# S1 S2 S4 S5 S6 S7 S9 S11
@settings(max_examples=80)
@given(programs(faults=False), st.sampled_from(sorted(DISKS)), seeds)
async def test_the_laws_hold_through_crashes(program: list[Step], disk: str, seed: int) -> None:
    """Kills of agents, sessions, registry and supervisor, cuts and repetitions, passivation. Red for most bugs."""
    await run_and_check(program, disk, seed)


# S1 S2 S3 S4 S5 S6 S10 S11
@settings(max_examples=80)
@given(programs(faults=True), st.sampled_from(sorted(DISKS)), seeds)
async def test_the_laws_hold_through_failures_of_the_store(program: list[Step], disk: str, seed: int) -> None:
    """The same with a store that fails, loses answers, stalls and is late. Red if anything hangs, or is told too early.

    That nothing is told too early is looked at each time that a client gets a record, or a publisher its position.
    """
    await run_and_check(program, disk, seed)


# A12
@settings(max_examples=15)
@given(programs(faults=True), st.sampled_from(sorted(DISKS)), seeds)
def test_one_seed_gives_one_run(program: list[Step], disk: str, seed: int) -> None:
    """Red if anything in the layer asks a clock, chance or the order of a set that is not given to it."""

    def history() -> list[list[dict[str, Any]]]:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(run_and_check, program, disk, seed, clock=clock)

    assert history() == history()
