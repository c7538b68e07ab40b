"""Registry and supervisor through restarts of either: true when settled, and nobody waits for ever (laws S11, A4)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Agent, Locate, Message, Session, SessionKey, SessionQuarantined, UnknownRun, ask_session
from callboard.actors.messages import PublishAlone, ReleaseSession, RouteOfRun
from callboard.runtime import Killed
from tests.actors.faults import Fault
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, World, open_world


async def entries_are_true(world: World) -> None:
    """Assert S11 of a settled node."""
    await world.settle()
    entries = await world.entries()
    assert set(entries.sessions) == world.live_sessions()
    assert {ref.path for ref in entries.sessions.values()} == {f"t/sessions/{id}" for id in world.live_sessions()}
    assert sorted(id for ids in entries.users.values() for id in ids) == sorted(world.live_sessions())
    assert entries.waiting == 0


async def test_entries_follow_the_life_of_sessions_and_runs() -> None:
    """S11. Red if an entry is missing while a session lives, or stays when it is gone."""
    async with open_world() as world:
        client = await world.connected("ada", "d1", name="zoo")
        await world.connected("ada", "d1")
        await world.connected("bob", "d1")
        await client.say("hang")
        await entries_are_true(world)
        entries = await world.entries()
        assert entries.users["ada"] == (SessionKey("ada", "zoo").id, SessionKey("ada").id)
        assert entries.runs == {client.run_of(1): client.key.id}
        route = await world.node.registry.ask_async(Locate(client.key))
        assert not route.withdrawn
        await client.command("cancel", {}, client.run_of(1))
        await entries_are_true(world)
        assert (await world.entries()).runs == {}
        await trio.sleep(1)
        for ref in (await world.entries()).sessions.values():
            assert ref is not None
            ref.stop(block=False)
        await world.settle()
        assert route.withdrawn
        await trio.sleep(1)
        await entries_are_true(world)


async def test_a_restarted_registry_knows_all_sessions_and_runs_again() -> None:
    """S11. Red if a session or a run is forgotten, started twice, or its old route still looks good."""
    async with open_world() as world:
        clients = [await world.connected(user) for user in ("ada", "bob", "cat")]
        for client in clients:
            await client.say("hang")
        await world.settle()
        before = await world.entries()
        route = await world.node.registry.ask_async(Locate(clients[0].key))
        world.node.registry.kill()
        await entries_are_true(world)
        assert await world.entries() == before
        assert route.withdrawn
        assert (await world.node.registry.ask_async(Locate(clients[0].key))).ref is route.ref
        with pytest.raises(UnknownRun):
            await world.node.registry.ask_async(RouteOfRun("0" * 32))


class Talker(Agent):
    """Speaks again and again."""

    async def run(self, message: Message) -> None:
        for n in range(10):
            await self.emit("x.n", {"n": n})
            await trio.sleep(0.001)


# S6 S11
@settings(max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=3), st.sampled_from((0.0, 0.001)), st.integers(0, 2**16))
async def test_no_run_notices_that_the_registry_restarts(kills: list[int], delay: float, seed: int) -> None:
    """Red if an agent that asks for its route while sessions report is told that there is no such run."""
    trio._core._run._r.seed(seed)
    async with open_world(agents={"it": Talker}, delay_seconds=delay) as world:
        clients = [await world.connected(user) for user in ("ada", "bob")]
        for client in clients:
            await client.say("go")
        for turns in kills:
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            world.node.registry.kill()
            # Two in one breath may cost the answer that the first incarnation owed; that is the asker's to repeat.
            await world.settle()
            await trio.sleep(0.002)
        await trio.sleep(10)
        for client in clients:
            assert types_of(client.records) == ["agent_started", *["x.n"] * 10, "agent_completed"]
        await entries_are_true(world)
        assert (await world.entries()).runs == {}


async def test_who_waits_for_a_session_is_not_forgotten_when_the_supervisor_restarts() -> None:
    """A4 S11. Red if a question hangs because the supervisor lost the session that it was starting."""
    async with open_world() as world:
        world.journal.faults["open", 1] = Fault.STALL
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await world.publish("ada", "x.said", {})).seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            assert (await world.entries()).waiting == 1
            world.node.sessions.kill()
        assert answers == [1]
        await entries_are_true(world)


async def test_who_waits_for_a_session_is_told_when_the_registry_fails() -> None:
    """A4. Red if a question that the registry had deferred is never answered."""
    async with open_world() as world:
        world.journal.faults["open", 1] = Fault.STALL
        heard: list[str] = []

        async def ask() -> None:
            try:
                await world.publish("ada", "x.said", {})
            except Killed as error:
                heard.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.lowlevel.checkpoint()
            await world.settle()
            world.node.registry.kill()
        assert heard == ["t/registry was killed"]
        await trio.sleep(20)
        await entries_are_true(world)


async def test_a_notice_of_an_earlier_life_does_not_remove_the_next_one() -> None:
    """S11. Red if a restarted supervisor takes the death of an old session for that of its successor."""
    async with open_world() as world:
        for _ in range(3):
            clients = [await world.connected(user) for user in ("ada", "bob", "cat")]
            world.node.sessions.kill()
            for client in clients:
                await client.say("think")
            await trio.sleep(5)
            await entries_are_true(world)
            for client in clients:
                assert client.wire is not None
                check_story(await world.history(client.key.user))
                client.stays = False
                client.leave()
            await trio.sleep(2 * LIMITS.idle_seconds)
            assert world.live_sessions() == set()
        assert world.system.statistics().timers == 1, "one tick, and not one more for each restart"


# -- quarantine -------------------------------------------------------------------------------------------------------


class Cursed(Session):
    """A session whose command `curse` ends it, as often as it is sent."""

    ops = frozenset({"curse"})

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        raise ZeroDivisionError


async def curse(world: World, times: int = 4) -> Any:
    """Have ada's session fail too often; gives a client with a run that its failure left open."""
    client = await world.connected(stays=False)
    other = await world.connected("bob")
    await other.say("hang")
    await client.say("opencall hang")
    await world.settle()
    for _ in range(times):
        await client.command("curse", {})
        await world.settle()
    return client


async def test_a_session_that_fails_too_often_rests_and_nobody_else_notices() -> None:
    """A7. Red if it is started again and again, or another user is cut off."""
    async with open_world(session=Cursed) as world:
        client = await curse(world)
        assert world.live_sessions() == {SessionKey("bob").id}
        assert set(world.runs.started) - set(world.runs.ended) == set((await world.entries()).runs)
        for _ in range(3):
            with pytest.raises(SessionQuarantined, match="failed too often and rests"):
                await world.publish("ada", "x.said", {})
            await trio.sleep(LIMITS.quarantine_seconds / 4)
        await client.connect()  # tries again until it may
        assert trio.current_time() >= LIMITS.quarantine_seconds
        assert set(client.refusals) == {"SessionQuarantined"}
        check_story(await world.history("ada"))
        assert types_of(await world.history("bob")) == ["agent_started"]
        await entries_are_true(world)


async def test_when_its_rest_is_over_its_open_runs_are_closed_though_nobody_asks() -> None:
    """S6. Red if a run of a session that failed too often stays open until somebody looks, or after one vain try."""
    async with open_world() as world:
        client = await world.connected(stays=False)
        await client.say("opencall hang")
        await world.settle()
        reads, opens = world.journal.counts["read"], world.journal.counts["open"]
        for ahead in (1, 2, 3):
            world.journal.faults["read", reads + ahead] = Fault.FAIL
        world.journal.faults["open", opens + 4] = Fault.FAIL
        session = world.session("ada")
        assert session is not None
        session.kill()
        await world.settle()
        assert world.live_sessions() == set()
        assert world.runs.started == world.runs.ended
        await trio.sleep(LIMITS.quarantine_seconds * 1.3)
        assert world.journal.counts["open"] == opens + 4, "it was tried, and the store was down just then"
        assert types_of(await world.history("ada")) == ["agent_started", "tool_executing"]
        await trio.sleep(LIMITS.quarantine_seconds * 1.3)
        check_story(await world.history("ada"))
        assert types_of(await world.history("ada"))[2:] == ["tool_completed", "agent_error"]
        assert (await world.history("ada"))[-1]["data"]["code"] == "session_restarted", "the node is the same"
        await trio.sleep(2 * LIMITS.idle_seconds)
        assert world.live_sessions() == set()
        assert world.journal.counts["open"] == opens + 5
        await entries_are_true(world)


async def test_a_quarantine_can_be_ended_by_hand() -> None:
    """A7. Red if `release` says that it did what it did not, or the session stays away."""
    async with open_world(session=Cursed) as world:
        await curse(world)
        id = SessionKey("ada").id
        assert await world.node.sessions.ask_async(ReleaseSession(id)) is True
        assert await world.node.sessions.ask_async(ReleaseSession(id)) is False
        await world.settle()
        check_story(await world.history("ada"))
        assert (await world.publish("ada", "x.said", {})).seq == len(await world.history("ada"))
        await entries_are_true(world)


class Stillborn(Session):
    """A session class with a bug in its start."""

    async def on_start(self) -> None:  # type: ignore[override]
        await super().on_start()
        if self.key.user == "ada":
            raise LookupError("a bug")


async def test_a_session_that_does_not_start_is_told_to_everyone_who_asks() -> None:
    """A7. Red if who asks hangs, or it is tried on and on when nobody asks."""
    async with open_world(session=Stillborn) as world:
        for _ in range(3):
            with pytest.raises(SessionQuarantined, match="did not start: LookupError"):
                await world.publish("ada", "x.said", {})
            assert (await world.publish("bob", "x.said", {})).seq >= 1
        opened = world.journal.counts["open"]
        await trio.sleep(1_000)
        assert world.journal.counts["open"] == opened
        await entries_are_true(world)


async def test_a_question_to_a_session_that_is_gone_is_asked_where_it_is_now() -> None:
    """S11. Red if who has a route of a session that was given up is told that it is dead."""
    async with open_world(session=Cursed) as world:
        client = await world.connected(stays=False)
        session = world.session("ada")
        assert session is not None
        client.leave()
        await world.settle()
        session.kill()
        answer = await ask_session(world.node.registry, SessionKey("ada"), PublishAlone("x.said", {}))
        assert answer.seq == 1
