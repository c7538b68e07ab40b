"""Commands of a live session: done once, answered once durable, known again (law S5)."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import CommandRefused, Result, RunCommand, Session
from callboard.runtime import Refusal
from tests.actors.faults import Fault
from tests.actors.programs import Counting
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, World, open_world


async def crash(world: World) -> None:
    """Kill ada's session and wait until it is back."""
    session = world.session("ada")
    assert session is not None
    session.kill()
    await world.settle()


async def test_a_repeated_command_gives_the_same_run() -> None:
    """Red if an id is forgotten: on the same connection, on the device's next one, after a crash, or a passivation."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("think")
        await world.settle()
        first = client.final(1)
        await client.repeat(1)
        await world.settle()
        client.leave()
        await client.connect()
        await client.repeat(1)
        await crash(world)
        await client.repeat(1)
        await world.settle()
        client.leave()
        await trio.sleep(3 * LIMITS.idle_seconds)
        assert world.live_sessions() == set()
        await client.connect()
        await client.repeat(1)
        await world.settle()
        assert client.results[1] == [first] * 5
        assert types_of(await world.history("ada")).count("agent_started") == 1


async def test_an_id_with_another_body_is_a_conflict() -> None:
    """Red if the second command runs, or gets the first one's answer; or if the order of keys makes another body."""
    async with open_world() as world:
        client = await world.connected()
        await client.command("user_message", {"text": "think", "agent": "scripted"}, id=1)
        await world.settle()
        await client.command("user_message", {"agent": "scripted", "text": "think"}, id=1)
        for op, data, run in (
            ("user_message", {"text": "other"}, None),
            ("cancel", {"text": "think", "agent": "scripted"}, None),
            ("user_message", {"text": "think", "agent": "scripted"}, "r"),
        ):
            await client.command(op, data, run, id=1)
        await world.settle()
        assert [result.error_code for result in client.results[1]] == [None, None, *["id_conflict"] * 3]
        assert types_of(client.records).count("agent_started") == 1


async def test_a_repetition_while_the_first_is_not_durable_waits_for_its_answer() -> None:
    """S3. Red if it is answered before the journal has the first, or runs beside it, or its answer goes nowhere."""
    async with open_world(delay_seconds=5.0) as world:
        client = await world.connected()
        await client.say("hang")
        await trio.sleep(1)
        await client.repeat(1)
        client.leave()
        await client.connect()  # which repeats it too, on a connection that the first one did not come by
        await trio.sleep(3.9)
        assert client.results == {}
        await trio.sleep(0.2)
        assert [result.seq for result in client.results[1]] == [1]
        assert types_of(client.records) == ["agent_started"]


async def test_devices_count_for_themselves_and_sessions_too() -> None:
    """S1 S5. Red if an id of one device, or of another user's device of the same name, is taken for another's."""
    async with open_world() as world:
        one, two = await world.connected("ada", "d1"), await world.connected("ada", "d2")
        other = await world.connected("bob", "d1")
        for client in (one, two, other):
            await client.say("think")
        await world.settle()
        assert len({client.run_of(1) for client in (one, two, other)}) == 3
        assert types_of(await world.history("ada")).count("agent_started") == 2
        assert types_of(await world.history("bob")).count("agent_started") == 1


async def test_a_device_that_is_not_known_begins_with_one() -> None:
    """Red if a forgotten device could run its old commands again."""
    async with open_world() as world:
        client = await world.connected()
        await client.command("user_message", {"text": "think"}, id=7)
        await world.settle()
        assert [result.error_code for result in client.results[7]] == ["expired_id"]
        assert not client.results[7][0].retry
        assert client.records == []


async def test_a_refusal_to_be_repeated_is_not_kept_and_makes_the_device_known() -> None:
    """S5. Red if `busy` is the answer for ever, or a device whose first command was refused is a stranger."""
    async with open_world(limits=attrs.evolve(LIMITS, runs=1)) as world:
        one, two = await world.connected("ada", "d1"), await world.connected("ada", "d2")
        await one.say("sleep5")
        await world.settle()
        await two.say("think")
        await two.command("cancel", {}, one.run_of(1))
        await world.settle()
        assert [(result.error_code, result.retry) for result in two.results[1]] == [("busy", True)]
        assert two.results[2][0].ok == {"state": "cancelling"}
        await two.repeat(1)
        await world.settle()
        assert two.run_of(1) != one.run_of(1)


async def test_a_device_whose_first_command_was_no_json_is_known() -> None:
    """S5. Red if it is taken for a forgotten one with its second command."""
    async with open_world() as world:
        client = await world.connected()
        assert (await client.ask("user_message", {"text": "hi", "n": 2**60})).error_code == "bad_command"
        await client.say("think")
        await world.settle()
        assert client.run_of(2)


@pytest.mark.parametrize("op", ["do", "cancel"])
async def test_a_device_driven_out_while_its_command_becomes_durable_does_not_run_its_old_ones(
    op: str, author: type[Author]
) -> None:
    """S5. Red if the late result, or a crash, brings the forgotten device back, whose older commands are then new."""
    async with open_world(session=author) as world:
        client = await world.connected("ada", "d1")
        for what in ("one", "two", "three"):
            await client.ask("do", {"what": what})
        world.journal.delay_seconds = 5.0
        assert client.wire is not None
        assert client.wire.session is not None
        session = client.wire.session
        late = await client.command(op, {"what": "four"}, "r")
        for number in range(256):
            await session.send(RunCommand(client.wire, f"other{number}", 1, "cancel", {}, "r"))
        await trio.sleep(30)
        assert client.final(late) is not None  # its own answer comes all the same
        for _ in range(2):
            for id in (2, 3, late):
                await session.send(RunCommand(client.wire, "d1", id, "do", {"what": "again"}, None))
                await trio.sleep(30)
                assert client.results[id][-1].error_code == "expired_id"
            await crash(world)
            await trio.sleep(30)
        assert author.done == ("one", "two", "three", *(("four",) if op == "do" else ()))


@pytest.mark.parametrize(
    "op, data, code",
    [
        ("user_message", {}, "bad_command"),
        ("user_message", {"text": ""}, "bad_command"),
        ("user_message", {"text": " \n\t"}, "bad_command"),
        ("user_message", {"text": 5}, "bad_command"),
        ("user_message", {"text": "hi", "agent": "nobody"}, "bad_command"),
        ("user_message", {"text": "hi", "agent": ["scripted"]}, "bad_command"),
        ("user_message", {"text": "hi", "agent": None}, "bad_command"),
        ("user_message", {"text": "x" * 300_000}, "bad_command"),
        ("user_message", {"text": "\ud800"}, "bad_command"),
        ("user_message", {"text": "hi", "n": 2**60}, "bad_command"),
        ("user_message", {"text": "hi", "n": math.nan}, "bad_command"),
        ("cancel", {}, "bad_command"),
        ("sing", {}, "unknown_op"),
        ("\udfff", {}, "bad_command"),
        ("on_command", {}, "unknown_op"),
    ],
)
async def test_a_wrong_command_is_refused_and_harms_nobody(op: str, data: dict[str, Any], code: str) -> None:
    """S1. Red if what a client sends can end the session's actor, or leave half an effect."""
    async with open_world() as world:
        client = await world.connected()
        refused = await client.ask(op, data)
        assert (refused.error_code, refused.retry, refused.ok) == (code, False, None)
        assert len(refused.error_message) < 400
        await client.say("think")
        await world.settle()
        check_story(client.records)
        session = next(actor for actor in world.system.statistics().actors if actor.kind == "Session")
        assert session.restarts == 0


async def test_at_the_bound_of_what_is_not_durable_commands_are_refused() -> None:
    """S13. Red if a stalled disk lets the node's memory fill; or if the refusal is kept."""
    limits = attrs.evolve(LIMITS, undurable_bytes=1_000, runs=100)
    async with open_world(limits=limits) as world:
        client = await world.connected()
        world.journal.delay_seconds = 5.0
        for _ in range(5):
            await client.say("x" * 400)
        await trio.sleep(1)
        refusals = [id for id, results in client.results.items() if results[0].error_code == "store_unavailable"]
        assert refusals == [3, 4, 5] or refusals == [4, 5]
        assert all(client.results[id][0].retry for id in refusals)
        with pytest.raises(Refusal, match="too much is not durable yet"):
            await world.publish("ada", "x.said", {})
        await trio.sleep(30)
        for id in refusals:
            await client.repeat(id)
            await trio.sleep(30)
        assert len({client.run_of(id) for id in range(1, 6)}) == 5


# -- an author's own commands -----------------------------------------------------------------------------------------


class Author(Session):
    """Commands that do all that an author may do wrong."""

    ops = frozenset({"do", "slow"})
    done: tuple[str, ...] = ()
    refuses = True

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        what = data["what"]
        Author.done += (what,)
        match what:
            case "refuse":
                raise CommandRefused("forbidden", "not you")
            case "later":
                if Author.refuses:
                    raise CommandRefused("busy", "not now", retry=True)
                self.publish("x.done", {"what": what})
                return {"fine": True}
            case "publish and refuse":
                self.publish("x.done", {"what": what})
                raise CommandRefused("forbidden", "but it is said")
            case "crash":
                raise ZeroDivisionError
            case "other refusal":
                raise Refusal("somebody said no to me")
            case "no dict":
                return ["no", "dict"]  # type: ignore[return-value]
            case "no json":
                return {"n": math.inf}
            case "keep the dict":
                answer = {"list": [1]}
                self.kept = answer
                return answer
            case "change it":
                self.kept["list"].append(2)
                return {}
            case _:
                self.publish("x.done", {"what": what, "run": run})
                return {"did": what}


@pytest.fixture
def author() -> type[Author]:
    """The class, with nothing done yet."""
    Author.done = ()
    Author.refuses = True
    return Author


async def test_an_authors_command_runs_once_and_its_effect_is_durable_with_its_answer(author: type[Author]) -> None:
    """S5. Red if it runs again when it is repeated, crashed over or reconnected over."""
    async with open_world(session=author) as world:
        client = await world.connected()
        first = await client.ask("do", {"what": "something"}, "r")
        assert first == Result(1, ok={"did": "something"})
        await crash(world)
        await client.repeat(1)
        await world.settle()
        assert client.results[1] == [first, first]
        assert author.done == ("something",)
        assert [record["data"] for record in client.records] == [{"what": "something", "run": "r"}]


@pytest.mark.parametrize("what", ["crash", "other refusal", "no dict", "no json"])
async def test_a_command_that_fails_is_answered_interrupted_and_never_runs_again(
    author: type[Author], what: str
) -> None:
    """S5. Red if the bug in it is run over and over, its caller waits for ever, or another user notices."""
    async with open_world(session=author) as world:
        client, other = await world.connected(), await world.connected("bob")
        await other.say("hang")
        await client.command("do", {"what": what})
        await world.settle()
        await client.command("do", {"what": "next"})
        await world.settle()
        assert [result.error_code for result in client.results[1]] == ["interrupted"]
        await client.repeat(1)
        await world.settle()
        assert [result.error_code for result in client.results[1]] == ["interrupted"] * 2
        assert client.results[2] == [Result(2, ok={"did": "next"})]
        assert author.done == (what, "next")
        assert types_of(other.records) == ["agent_started"]


async def test_a_crash_between_the_note_and_the_op_is_answered_interrupted(author: type[Author]) -> None:
    """S5. Red if an op whose beginning is durable is forgotten, or run by the next incarnation."""
    async with open_world(session=author, delay_seconds=1.0) as world:
        client = await world.connected()
        await client.command("do", {"what": "something"})
        await trio.sleep(0.5)
        session = world.session("ada")
        assert session is not None
        session.kill()  # the note is on its way to the disk, the op has not begun
        await trio.sleep(10)
        assert [result.error_code for result in client.results[1]] == ["interrupted"]
        assert author.done == ()
        assert client.records == []


async def test_refusals_of_an_author_are_kept_unless_they_are_to_be_repeated(author: type[Author]) -> None:
    """S5. Red if a refusal is run again, or one with `retry` is not; and if what was published before it is lost."""
    async with open_world(session=author) as world:
        client = await world.connected()
        for what in ("refuse", "publish and refuse", "later"):
            await client.ask("do", {"what": what})
        author.refuses = False
        await crash(world)  # after which the client repeats what it has no lasting answer to
        for id in (1, 2, 3):
            await client.repeat(id)
        await world.settle()
        assert [result.error_code for result in client.results[1]] == ["forbidden"] * 2
        assert [result.error_code for result in client.results[2]] == ["forbidden"] * 2
        assert [result.error_code for result in client.results[3]] == ["busy", None, None]
        assert client.results[3][1:] == [Result(3, ok={"fine": True})] * 2
        assert author.done == ("refuse", "publish and refuse", "later", "later")
        assert [record["data"]["what"] for record in client.records] == ["publish and refuse", "later"]


async def test_an_answer_does_not_change_with_the_authors_dict(author: type[Author]) -> None:
    """S5. Red if a repeated id gets another answer because the author went on working with his dict."""
    async with open_world(session=author) as world:
        client = await world.connected()
        await client.ask("do", {"what": "keep the dict"})
        await client.ask("do", {"what": "change it"})
        await client.repeat(1)
        await world.settle()
        assert [result.ok for result in client.results[1]] == [{"list": [1]}] * 2


async def test_an_authors_state_outlives_crash_and_passivation() -> None:
    """Red if `on_record` misses a record, or gets one twice."""
    async with open_world(session=Counting) as world:
        client = await world.connected()
        for _ in range(3):
            await client.ask("count", {})
            await crash(world)
        client.leave()
        await trio.sleep(3 * LIMITS.idle_seconds)
        await client.connect()
        assert (await client.ask("count", {})).ok == {"count": 4}


# S3 S5
@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(("count", "repeat", "crash", "pass", "come")), min_size=1, max_size=25),
    st.dictionaries(st.integers(1, 12), st.sampled_from((Fault.FAIL, Fault.LOSE, Fault.SILENT)), max_size=3),
    st.sampled_from((0.0, 0.01)),
)
async def test_every_op_happens_exactly_as_often_as_it_is_answered(
    program: list[str], faults: dict[int, Fault], delay: float
) -> None:
    """Red if an op runs twice, is answered without its effect, or has an effect without its answer."""
    async with open_world(session=Counting, delay_seconds=delay) as world:
        client = await world.connected()
        world.journal.faults = {("append", number): fault for number, fault in faults.items()}
        for step in program:
            match step:
                case "count":
                    await client.command("count", {})
                case "repeat" if client.asked:
                    await client.repeat(1 + len(program) % len(client.asked))
                case "crash":
                    session = world.session("ada")
                    if session is not None:
                        session.kill()
                case "pass":
                    await trio.sleep(0.013)
                case _:
                    client.leave()
                    await client.connect()
        world.journal.heal()
        await trio.sleep(100)
        for id in client.asked:
            while client.final(id) is None:
                await client.repeat(id)
                await trio.sleep(100)
        answered = [result.ok["count"] for id in client.asked if (result := client.final(id)) and result.ok]
        history = await world.history("ada")
        assert sorted(answered) == [record["data"]["count"] for record in history]
        refused = {result.error_code for id in client.asked if (result := client.final(id)) and not result.ok}
        assert refused <= {"interrupted", "expired_id"}
        assert client.records == history
