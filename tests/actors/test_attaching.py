"""Connections: where each begins, what each is told it cannot have, and what it costs the others."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Attach, Attached, Mode, StartFrom, ask_session
from tests.actors.client import Client, Wire
from tests.actors.faults import Fault
from tests.actors.story import types_of
from tests.actors.world import LIMITS, World, open_world


async def fill(world: World, count: int, *, user: str = "ada", size: int = 0) -> None:
    """Publish so many records."""
    for number in range(count):
        await world.publish(user, "x.n", {"n": number + 1, "text": "t" * size})


async def begun(world: World, start: StartFrom) -> tuple[Mode, int]:
    """How a connection begins that asks for this: mode, and the first seq that it accounts for."""
    client = world.client("ada", f"probe {start}", stays=False)
    wire = Wire(client)
    attached: Attached = await ask_session(world.node.registry, client.key, Attach(wire, client.device, start))
    wire.session = attached.ref
    wire.leave()
    await world.settle()
    return attached.mode, attached.cursor + 1


async def test_where_a_connection_begins() -> None:
    """S4 S10. Red if any of the forms of `start` is off by one."""
    async with open_world(limits=attrs.evolve(LIMITS, history=4)) as world:
        assert await begun(world, StartFrom()) == (Mode.FRESH, 1)
        await fill(world, 10)
        client = await world.connected("ada", "d")
        epoch = client.epoch
        for start, expected in (
            (StartFrom(), (Mode.FRESH, 7)),
            (StartFrom(first=True), (Mode.FRESH, 1)),
            (StartFrom(last=0), (Mode.FRESH, 11)),
            (StartFrom(last=3), (Mode.FRESH, 8)),
            (StartFrom(last=10), (Mode.FRESH, 1)),
            (StartFrom(last=10**12), (Mode.FRESH, 1)),
            (StartFrom(epoch=epoch, seq=0), (Mode.REPLAY, 1)),
            (StartFrom(epoch=epoch, seq=6), (Mode.REPLAY, 7)),
            (StartFrom(epoch=epoch, seq=10), (Mode.REPLAY, 11)),
            (StartFrom(epoch="0" * 16, seq=3), (Mode.RESET, 7)),
            (StartFrom(epoch="0" * 16, seq=10**9), (Mode.RESET, 7)),
        ):
            assert await begun(world, start) == expected, start
        assert client.epoch == epoch
        assert client.closes == []


@pytest.mark.parametrize("wrong", [{"seq": -1}, {"last": -1}])
def test_a_start_that_is_no_place_is_refused(wrong: dict[str, int]) -> None:
    """Red if a negative number reaches a log, where it would count from the end."""
    with pytest.raises(ValueError, match="must be >= 0: -1"):
        StartFrom(**wrong)  # type: ignore[arg-type]


STEPS = ("publish", "cut", "come", "pause", "resume", "crash")


# S2 S4 S8 S10
@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 6)), max_size=30),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from((1, 200, 4_000)),
    st.sampled_from((0.0, 0.01)),
)
async def test_a_client_gets_every_record_or_a_declared_gap(
    program: list[tuple[str, int]], retained: int, tail: int, batch: int, delay: float
) -> None:
    """Red if memory, journal and retention leave a seam, or a reader that lags costs another one anything."""
    limits = attrs.evolve(LIMITS, tail_records=tail, idle_seconds=10_000.0)
    async with open_world(limits=limits, retained_records=retained, delay_seconds=delay) as world:
        client = world.client("ada", "d1", batch_bytes=batch)
        await client.connect()
        watcher = await world.connected("ada", "d2")
        for what, count in program:
            match what:
                case "publish":
                    await fill(world, count)
                case "cut":
                    client.leave()
                case "come" if client.wire is None:
                    await client.connect()
                case "pause":
                    client.pause()
                case "resume":
                    client.resume()
                case "crash":
                    session = world.session("ada")
                    assert session is not None
                    session.kill()
                    await trio.sleep(2)
        if client.wire is None:
            await client.connect()
        client.resume()
        await trio.sleep(2)
        head = world.durable("ada")
        for each in (client, watcher):
            assert each.broken_rules == []
            assert each.applied == head
            gone = {seq for first, last in each.gaps for seq in range(first, last + 1)}
            assert [record["seq"] for record in each.records] == [n for n in range(1, head + 1) if n not in gone]
            assert max(gone, default=0) <= max(0, head - retained)
        # Who reads along loses nothing, unless the session's restart let retention pass it.
        if "crash" not in [what for what, _ in program] and retained >= 6:
            assert watcher.gaps == []
        assert len(set(client.modes)) <= 2
        assert Mode.RESET not in client.modes


async def test_a_reader_that_stands_still_delays_nobody_and_holds_nothing() -> None:
    """S8. Red if a session waits for a connection, or keeps for it what others have read."""
    limits = attrs.evolve(LIMITS, tail_records=5)
    async with open_world(limits=limits) as world:
        stuck, reader = await world.connected("ada", "d1"), await world.connected("ada", "d2")
        stuck.pause()
        before = trio.current_time()
        await fill(world, 300, size=1_000)
        await world.settle()
        assert trio.current_time() == before
        assert reader.applied == 300
        assert stuck.applied == 0
        session = world.session("ada")
        assert session is not None
        assert len(session._cell.actor._log._tail) == 5  # type: ignore[attr-defined]
        stuck.resume()
        await world.settle()
        assert stuck.records == reader.records


@pytest.mark.parametrize("left", [0, 40])
async def test_what_was_dropped_while_nobody_wrote_is_a_gap(left: int) -> None:
    """S10. Red if a cursor asks for ever for records that are gone since the last append, or skips them unsaid."""
    async with open_world(limits=attrs.evolve(LIMITS, tail_records=5)) as world:
        stuck = await world.connected()
        stuck.pause()
        await fill(world, 300, size=10)
        records = world.journal._streams[stuck.key.id].records
        while len(records) > left:  # by their age
            records.popleft()
        stuck.resume()
        await world.settle()
        kept = max(left, 5)
        assert [record["seq"] for record in stuck.records] == list(range(301 - kept, 301))
        assert sum(last - first + 1 for first, last in stuck.gaps) == 300 - kept
        assert stuck.broken_rules == []


async def test_a_devices_newer_connection_takes_the_place_of_the_older() -> None:
    """S8. Red if a device can pile up connections, or the older one is not told, or takes the place back."""
    async with open_world() as world:
        first = await world.connected("ada", "d1")
        second = await world.connected("ada", "d1")
        other = await world.connected("ada", "d2")
        await fill(world, 1)
        await trio.sleep(5)
        assert [reason.value for reason in first.closes] == ["superseded"]
        assert first.wire is None
        assert (first.applied, second.applied, other.applied) == (0, 1, 1)
        assert second.closes == other.closes == []
        second.leave()
        other.leave()
        await trio.sleep(3 * LIMITS.idle_seconds)
        assert world.live_sessions() == set(), "the superseded one is not counted any more"


# S4 S10
@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 3), st.sampled_from((0.0, 0.01)), st.booleans())
async def test_a_client_that_has_seen_more_than_the_journal_starts_anew_and_so_do_all(
    kept: int, lost: int, clients: int, delay: float, together: bool
) -> None:
    """Red if the epoch is kept: other records would stand where the lost ones were, and nobody would know."""
    async with open_world(delay_seconds=delay) as world:
        await fill(world, kept)
        all_clients = [await world.connected("ada", f"d{n}") for n in range(clients + 1)]
        epoch = all_clients[0].epoch
        for dreamer in all_clients[1:] if together else all_clients[1:2]:
            dreamer.leave()
            dreamer.dreamt = lost
            dreamer.come()
        await trio.sleep(1)
        await fill(world, lost)
        await trio.sleep(1)
        assert {client.epoch for client in all_clients} != {epoch}
        assert len({client.epoch for client in all_clients}) == 1
        for client in all_clients:
            assert client.modes[-1] is Mode.RESET
            assert client.records == await world.history("ada")
            assert client.broken_rules == []
        renewed = all_clients[0].epoch
        session = world.session("ada")
        assert session is not None
        session.kill()
        await trio.sleep(1)
        assert {client.epoch for client in all_clients} == {renewed}, "it lasts"


async def test_a_new_epoch_that_cannot_be_written_is_given_to_nobody() -> None:
    """S3 S10. Red if a client is told an epoch that the journal does not have."""
    async with open_world() as world:
        client = await world.connected()
        epoch = client.epoch
        client.leave()
        client.dreamt = 5
        world.journal.faults["append", world.journal.counts["append"] + 1] = Fault.FAIL
        client.come()
        await world.settle()
        assert client.refusals == ["StoreUnavailable"]
        client.dreamt = 0
        await trio.sleep(5)
        assert (client.epoch, client.modes) == (epoch, [Mode.FRESH, Mode.REPLAY])


async def test_a_crash_between_the_answer_and_its_hearing_leaves_nobody_behind() -> None:
    """S4. Red if a connection follows the log of an incarnation that is gone."""
    async with open_world() as world:
        session_of = await world.connected("ada", "d0")
        for checkpoints in range(12):
            client = world.client("ada", f"d{checkpoints + 1}")
            client.come()
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            session = world.session("ada")
            assert session is not None
            session.kill()
            await trio.sleep(6)
            await fill(world, 1)
            await world.settle()
            for each in (client, session_of):
                assert each.applied == checkpoints + 1
                assert each.broken_rules == []
            client.leave()


async def test_users_see_their_own() -> None:
    """S1. Red if a record, a result or a wake-up goes to another user's connection."""
    async with open_world() as world:
        keys = (("ada", "main"), ("ada", "b"), ("bob", "main"), ("bob", "b"))
        clients: list[Client] = [await world.connected(user, "the same device", name=name) for user, name in keys]
        for client in clients:
            await client.say(f"{client.key.user} {client.key.name}")
        await world.settle()
        for client in clients:
            said: list[dict[str, Any]] = [record["data"] for record in client.records]
            assert said[0]["input"] == f"{client.key.user} {client.key.name}"
            assert types_of(client.records) == ["agent_started", *["agent_thinking"] * 2, "agent_completed"]
            assert len(client.results) == 1
        assert len({client.epoch for client in clients}) == 4
