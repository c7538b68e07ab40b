"""Agents at work: what they say arrives as they said it, and what they may not say does not."""

from typing import Any

import attrs
import pytest
import trio
import trio._core._run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callboard.actors import (
    Agent,
    AgentError,
    Event,
    EventRefused,
    GrammarError,
    InvalidEvent,
    Message,
    Position,
    Receipt,
    RunEnded,
    StoreUnavailable,
)
from callboard.actors.messages import Publish
from callboard.runtime import Refusal
from tests.actors.faults import Fault
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, open_world


async def told_by(agent: type[Agent], text: str = "go", **options: Any) -> list[dict[str, Any]]:
    """Run an agent of this class to its end; gives the records of its run."""
    async with open_world(agents={"it": agent}, **options) as world:
        client = await world.connected()
        await client.say(text)
        await trio.sleep(LIMITS.run_seconds + 1)
        history = await world.history("ada")
        check_story(history)
        assert client.records == history
        return history


async def test_a_message_becomes_a_run_with_one_end() -> None:
    """S2 S6. Red if an event is lost, doubled or out of order on the way."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("think tool delta")
        await world.settle()
        assert client.records == await world.history("ada")
        check_story(client.records)
        assert types_of(client.records) == [
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_delta",
            "agent_completed",
        ]
        assert client.records[-1]["data"] == {"result": {"said": "think tool delta"}, "duration_ms": 0}
        assert world.runs.terminals == {client.run_of(1): "agent_completed"}
        assert world.agents() == []


async def test_an_agent_finds_what_was_said_before() -> None:
    """Red if history is empty, out of order, or holds the agent's own question."""

    class Remembers(Agent):
        async def run(self, message: Message) -> Any:
            assert (message.user, message.agent) == ("ada", "it")
            if message.text == "fail":
                raise AgentError("no", "no")
            return [[exchange.text, exchange.answer] for exchange in message.history]

    async with open_world(agents={"it": Remembers}) as world:
        client = await world.connected()
        for text in ("one", "fail", "three"):
            await client.say(text)
            await world.settle()
        assert client.records[-1]["data"]["result"] == [["one", []], ["fail", None]]


# S13
async def test_an_agent_finds_as_many_exchanges_as_are_allowed() -> None:
    """S13. Red if one more or less is told, or what was said behind its own question, where runs begin at once."""

    class Remembers(Agent):
        async def run(self, message: Message) -> Any:
            await trio.sleep(1)
            return [exchange.text for exchange in message.history]

    limits = attrs.evolve(LIMITS, context_exchanges=2, runs=4)
    async with open_world(agents={"it": Remembers}, limits=limits, delay_seconds=2.0) as world:
        client = await world.connected()
        for texts in (("one",), ("two", "three", "four", "five"), ("six",)):
            for text in texts:
                await client.say(text)
            await trio.sleep(30)
        found = {
            record["run"]: record["data"]["result"] for record in client.records if record["type"] == "agent_completed"
        }
        assert [found[client.run_of(id)] for id in range(1, 7)] == [
            [],
            ["one"],
            ["one", "two"],
            ["two", "three"],
            ["three", "four"],
            ["four", "five"],
        ]


# S13
async def test_the_data_of_an_event_is_bounded_whoever_says_it() -> None:
    """S13. Red if the bound does not count for agents, users' messages, or what the platform publishes."""

    class Loud(Agent):
        async def run(self, message: Message) -> int:
            with pytest.raises(InvalidEvent, match="takes 1012 bytes; 1000 are allowed"):
                await self.emit("x.note", {"text": "x" * 1_001})
            await self.emit("x.note", {"text": "x" * 989})
            return 1

    async with open_world(agents={"it": Loud}, limits=attrs.evolve(LIMITS, event_bytes=1_000)) as world:
        client = await world.connected()
        with pytest.raises(Refusal, match="1000 are allowed"):
            await world.publish("ada", "x.note", {"text": "x" * 1_001})
        refused = await client.ask("user_message", {"text": "x" * 1_001})
        assert refused.error_code == "bad_command"
        await client.say("hello")
        await world.settle()
        assert types_of(client.records) == ["agent_started", "x.note", "agent_completed"]


async def test_a_receipt_gives_the_position_once_it_is_durable() -> None:
    """S3. Red if a receipt is answered before the journal has the record."""
    positions: list[Position] = []

    class Waits(Agent):
        async def run(self, message: Message) -> None:
            receipts = [await self.emit("agent_delta", {"text": str(n)}) for n in range(3)]
            for receipt in (*receipts, receipts[0]):
                positions.append(await receipt)
                assert world.durable("ada") >= positions[-1].seq

    async with open_world(agents={"it": Waits}, delay_seconds=2.0) as world:
        client = await world.connected()
        await client.say("go")
        await trio.sleep(3.9)
        assert positions == []
        await trio.sleep(20)
        assert client.epoch is not None
        assert positions == [Position(client.epoch, seq) for seq in (2, 3, 4, 2)]
        assert client.records[-1]["type"] == "agent_completed"


# S2
@settings(max_examples=30)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4), st.booleans())
async def test_what_is_said_without_a_pause_keeps_its_order_and_its_receipts(bursts: list[int], slow: bool) -> None:
    """Red if events that travel as one message are mixed up, or a receipt gives another event's position."""
    positions: list[tuple[int, Position]] = []

    class Bursts(Agent):
        async def run(self, message: Message) -> None:
            said = 0
            for burst in bursts:
                receipts = []
                for _ in range(burst):
                    said += 1
                    receipts.append((said, await self.emit("x.n", {"n": said})))
                positions.extend([(n, await receipt) for n, receipt in receipts[:: max(1, burst // 3)]])

    async with open_world(agents={"it": Bursts}, delay_seconds=1.0 if slow else 0.0) as world:
        client = await world.connected()
        await client.say("go")
        await trio.sleep(50)
        history = await world.history("ada")
    assert [record["data"]["n"] for record in history[1:-1]] == list(range(1, sum(bursts) + 1))
    assert client.records == history
    assert [position.seq for _, position in positions] == [n + 1 for n, _ in positions]


SAYINGS = st.tuples(
    st.sampled_from(("agent_delta", "agent_thinking", "x.n", "x.m", "agent_started", "agent_completed", "nothing", 7)),
    st.sampled_from(({"text": "t"}, {"text": 1}, {"text": "t", "n": 2}, {}, {"text": "\ud800"}, None)),
)


# S2 S6
@settings(max_examples=60)
@example([("agent_delta", {"text": "t"}), ("agent_completed", None), ("agent_delta", {"text": "t"})], True)
@given(st.lists(SAYINGS, max_size=12), st.booleans())
async def test_an_event_behind_others_is_treated_as_one_alone(sayings: list[tuple[Any, Any]], terminal: bool) -> None:
    """Red if what joins a message that waits is checked otherwise, numbered otherwise, or comes after the end."""
    told: list[list[str]] = []

    def agent(*, alone: bool) -> type[Agent]:
        class Says(Agent):
            async def run(self, message: Message) -> None:
                heard: list[str] = []
                told.append(heard)
                for type, data in sayings:
                    if type == "agent_completed":
                        if not terminal:
                            continue
                        data = {"result": None, "duration_ms": 0}
                    try:
                        receipt = await self.emit(type, data)
                        if alone:
                            await receipt
                    except (GrammarError, InvalidEvent) as error:
                        heard.append(str(error).replace(message.run, "run"))

        return Says

    async with open_world(agents={"alone": agent(alone=True), "behind": agent(alone=False)}) as world:
        histories = []
        for user in ("alone", "behind"):
            client = await world.connected(user)
            await client.say("go", agent=user)
            await trio.sleep(10)
            run = client.run_of(1)
            histories.append(
                [(r["id"].removeprefix(run), r["type"], r["data"]) for r in (await world.history(user))[1:]]
            )
    assert told[0] == told[1]
    assert histories[0] == histories[1]


async def test_a_burst_is_one_message_to_the_session() -> None:
    """Red if each event of a burst costs a message and a turn of the session's."""

    class Bursts(Agent):
        async def run(self, message: Message) -> None:
            before = handled()
            for n in range(50):
                await self.emit("x.n", {"n": n})
            await (await self.emit("x.n", {"n": 50}))
            counted.append(handled() - before)

    counted: list[int] = []
    async with open_world(agents={"it": Bursts}) as world:

        def handled() -> int:
            session = world.session("ada")
            assert session is not None
            return next(actor.handled for actor in world.system.statistics().actors if actor.path == session.path)

        client = await world.connected()
        await client.say("go")
        await world.settle()
    assert counted == [1]


async def test_an_agent_that_speaks_without_end_lets_others_run() -> None:
    """Red if `emit` never lets go of the loop, or only when there is no room any more."""
    turns = 0

    class Endless(Agent):
        async def run(self, message: Message) -> None:
            for n in range(1_000):
                await self.emit("x.n", {"n": n})
            turns_at_its_end.append(turns)

    turns_at_its_end: list[int] = []
    async with open_world(agents={"it": Endless}) as world:
        client = await world.connected()
        await client.say("go")
        while not turns_at_its_end:
            turns += 1
            await trio.lowlevel.checkpoint()
    assert turns_at_its_end[0] >= 10


async def test_an_agent_that_speaks_without_end_is_cancelled() -> None:
    """S9. Red if an agent that awaits nothing but `emit` goes on after its user has cancelled it."""
    said = 0

    class Endless(Agent):
        async def run(self, message: Message) -> None:
            nonlocal said
            while True:
                await self.emit("x.n", {"n": said})
                said += 1

    async with open_world(agents={"it": Endless}) as world:
        client = await world.connected()
        await client.say("go")
        while said < 200:
            await trio.lowlevel.checkpoint()
        await client.command("cancel", {}, client.run_of(1))
        await world.settle()
        assert client.records[-1]["type"] == "agent_cancelled"
        assert world.agents() == []


async def test_of_a_burst_nothing_behind_what_is_refused_is_taken() -> None:
    """S6. Red if the session records what follows an event that it refused, or takes back what came before."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("hang")
        await world.settle()
        run, session = client.run_of(1), world.session("ada")
        assert session is not None

        def event(n: int, type: str, **data: Any) -> Event:
            return Event.make(f"{run}/{n}", type, run, data, max_bytes=10**6, max_depth=8)

        out_of_place = event(6, "tool_completed", call="c", tool="t", ok=True, result=1, duration_ms=0)
        burst = Publish(run, 5, event(5, "x.n"), out_of_place, event(7, "x.n"))
        position = await session.ask_async(burst)
        assert [position.seq] == burst.seqs
        assert isinstance(burst.refused, EventRefused)
        await world.settle()
        assert [record["id"] for record in client.records if record["type"] == "x.n"] == [f"{run}/5"]


async def test_to_stop_waiting_for_a_receipt_takes_nothing_back() -> None:
    """Red if a cancelled wait takes the event out of the session's mailbox: then it was said, and is not there."""

    class Impatient(Agent):
        async def run(self, message: Message) -> None:
            receipt = await self.emit("agent_delta", {"text": "0"})
            for n in ("1", "2"):
                with trio.move_on_after(0):
                    await receipt
                receipt = await self.emit("agent_delta", {"text": n})
            with trio.move_on_after(1):
                await receipt
            await receipt

    history = await told_by(Impatient, delay_seconds=3.0)
    assert types_of(history) == ["agent_started", *["agent_delta"] * 3, "agent_completed"]


async def test_a_run_does_not_end_before_its_last_record_is_durable() -> None:
    """S3 S6. Red if the agent is gone while its terminal event could still be lost."""
    async with open_world(delay_seconds=4.0) as world:
        client = await world.connected()
        await client.say("yield")
        await trio.sleep(7.9)
        assert types_of(client.records) == ["agent_started"]
        assert len(world.agents()) == 1
        assert world.runs.ended == {}
        await trio.sleep(0.2)
        assert types_of(client.records) == ["agent_started", "agent_completed"]
        assert world.agents() == []
        assert world.runs.terminals == {client.run_of(1): "agent_completed"}


@pytest.mark.parametrize(
    "said",
    [
        ("agent_started", {"agent": "a", "input": "i", "by": "session"}),
        ("agent_cancelled", {"by": "user", "reason": "r"}),
        ("tool_completed", {"call": "c", "tool": "t", "ok": True, "result": None, "duration_ms": 0}),
    ],
    ids=lambda said: said[0],
)
async def test_an_agent_cannot_say_what_is_not_its_to_say(said: tuple[str, dict[str, Any]]) -> None:
    """S7. Red if an agent can begin or cancel a run, or complete what was not begun."""

    class Liar(Agent):
        async def run(self, message: Message) -> str:
            try:
                await self.emit(*said)
            except GrammarError as error:
                return str(error)
            return "it was taken"

    history = await told_by(Liar)
    assert types_of(history) == ["agent_started", "agent_completed"]
    assert said[0] in history[-1]["data"]["result"]


async def test_an_agent_speaks_in_its_own_name() -> None:
    """S7. Red if an agent can say that its supervisor ended the run."""

    class Pretender(Agent):
        async def run(self, message: Message) -> None:
            executing = {"call": "c", "tool": "t", "arguments": {}}
            await self.emit("tool_executing", executing)
            completed = {"call": "c", "tool": "t", "ok": True, "result": 1, "duration_ms": 0, "by": "supervisor"}
            await self.emit("tool_completed", completed)
            await self.emit("agent_error", {"code": "c", "message": "m", "by": "supervisor"})

    history = await told_by(Pretender)
    assert [record["data"].get("by") for record in history] == ["session", None, "agent", "agent"]


async def test_the_session_does_not_take_it_either() -> None:
    """S7. Red if the session trusts what it is sent: its own word counts, not the agent's."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("hang")
        await world.settle()
        run, session = client.run_of(1), world.session("ada")
        assert session is not None

        async def refused(n: int, type: str, data: dict[str, Any], *, of: str = run, named: str = "") -> str:
            named = named or of
            event = Event.make(f"{named}/{n}", type, named, data, max_bytes=10**6, max_depth=8)
            with pytest.raises(Refusal) as error:
                await session.ask_async(Publish(of, n, event))
            return f"{type_name(error.value)}: {error.value}"

        cancelled = {"by": "user", "reason": "r"}
        assert "EventRefused: agent_cancelled is said by the session" in await refused(5, "agent_cancelled", cancelled)
        assert "EventRefused" in await refused(0, "agent_delta", {"text": "old"})
        assert "EventRefused" in await refused(9, "agent_delta", {"text": "of another"}, named="other")
        assert "UnknownRun" in await refused(9, "agent_delta", {"text": "of nobody"}, of="nobody")
        await client.command("cancel", {}, run)
        await world.settle()
        assert "RunEnded" in await refused(9, "agent_delta", {"text": "too late"})
        check_story(await world.history("ada"))
        assert types_of(client.records) == ["agent_started", "agent_cancelled"]


def type_name(value: object) -> str:
    """The name of its class."""
    return type(value).__name__


async def test_an_event_that_json_cannot_hold_is_refused_at_the_agent_and_does_no_harm() -> None:
    """Red if the error comes elsewhere, or what is said next is out of place."""

    class Clumsy(Agent):
        async def run(self, message: Message) -> int:
            refusals = 0
            for type, data in (
                ("agent_delta", {"text": float("nan")}),
                ("x.note", {"n": 2**53}),
                ("x.note", {"n": b"bytes"}),
                ("x.note", 5),
                ("note", {}),
                ("x.\ud800", {}),
                (None, {}),
                ({}, {}),
                ("agent_error", 7),
                ("tool_executing", {"call": 1, "tool": "t", "arguments": {}}),
                ("x.note", {"text": "x" * 300_000}),
            ):
                try:
                    await self.emit(type, data)  # type: ignore[arg-type]
                except InvalidEvent:
                    refusals += 1
            await self.emit("agent_delta", {"text": "fine"})
            return refusals

    history = await told_by(Clumsy)
    assert types_of(history) == ["agent_started", "agent_delta", "agent_completed"]
    assert history[-1]["data"]["result"] == 11


async def test_a_result_that_is_no_json_ends_the_run_with_an_error() -> None:
    """S6. Red if such a run never ends, or the value is shown to the user."""

    class Odd(Agent):
        async def run(self, message: Message) -> Any:
            return object()

    history = await told_by(Odd)
    assert history[-1]["type"] == "agent_error"
    assert history[-1]["data"] == {
        "by": "supervisor",
        "code": "agent_failed",
        "message": "the agent ended without a result (InvalidEvent)",
    }


async def test_speaking_before_the_run_is_refused() -> None:
    """Red if `emit` in `on_start` breaks with an AttributeError, or says something of no run."""
    heard: list[str] = []

    class Early(Agent):
        async def on_start(self) -> None:  # type: ignore[override]
            try:
                await self.emit("agent_delta", {"text": "hello"})
            except GrammarError as error:
                heard.append(str(error))

        async def run(self, message: Message) -> None:
            pass

    assert types_of(await told_by(Early)) == ["agent_started", "agent_completed"]
    assert heard == ["agent_delta before the run: an agent speaks while its `run` works"]


# -- tools ------------------------------------------------------------------------------------------------------------


async def test_tools_are_told_before_and_after() -> None:
    """Red if a call has no end, a wrong duration, or its exception is swallowed."""

    class Worker(Agent):
        async def run(self, message: Message) -> list[Any]:
            async def slow() -> dict[str, int]:
                await trio.sleep(1.25)
                return {"n": 1}

            async def broken() -> None:
                await trio.sleep(0.5)
                raise KeyError("secret")

            first = await self.tool("slow", {"a": 1}, slow)
            with pytest.raises(KeyError):
                await self.tool("broken", {}, broken)
            return [first]

    history = await told_by(Worker)
    assert [record["data"] for record in history[1:-1]] == [
        {"call": "call-1", "tool": "slow", "arguments": {"a": 1}},
        {"call": "call-1", "tool": "slow", "ok": True, "result": {"n": 1}, "duration_ms": 1250},
        {"call": "call-2", "tool": "broken", "arguments": {}},
        {"call": "call-2", "tool": "broken", "ok": False, "result": {"error": "KeyError"}, "duration_ms": 500},
    ]
    assert history[-1]["data"] == {"result": [{"n": 1}], "duration_ms": 1750}


async def test_a_tool_cut_by_the_agents_own_scope_is_closed_before_what_follows() -> None:
    """S6. Red if the call stays open: the page shows it spinning, and the run cannot complete."""

    class Hurried(Agent):
        async def run(self, message: Message) -> str:
            with trio.move_on_after(2):
                await self.tool("slow", {}, trio.sleep_forever)
            await self.emit("agent_delta", {"text": "never mind"})
            with trio.move_on_after(3):
                await self.tool("slow", {}, trio.sleep_forever)
            return "done"

    history = await told_by(Hurried)
    assert types_of(history) == [
        "agent_started",
        *("tool_executing", "tool_completed", "agent_delta"),
        *("tool_executing", "tool_completed", "agent_completed"),
    ]
    cut = {"tool": "slow", "ok": False, "result": {"error": "Cancelled"}}
    assert history[2]["data"] == {"call": "call-1", **cut, "duration_ms": 2000}
    assert history[5]["data"] == {"call": "call-2", **cut, "duration_ms": 3000}


async def test_a_tools_result_that_is_no_json_closes_the_call_and_is_raised() -> None:
    """S6. Red if the call stays open when the agent goes on."""

    class Odd(Agent):
        async def run(self, message: Message) -> str:
            async def bytes_() -> bytes:
                return b"raw"

            with pytest.raises(InvalidEvent):
                await self.tool("raw", {}, bytes_)
            with pytest.raises(InvalidEvent):
                await self.tool("raw", {"argument": object()}, bytes_)
            return "done"

    history = await told_by(Odd)
    assert types_of(history) == ["agent_started", "tool_executing", "tool_completed", "agent_completed"]
    assert history[2]["data"]["result"] == {"error": "InvalidEvent"}


async def test_an_agent_error_closes_open_calls_and_is_read_by_the_user() -> None:
    """S6. Red if the author's words do not arrive, also out of a nursery, or calls stay open."""

    class Sorry(Agent):
        async def run(self, message: Message) -> None:
            await self.emit("tool_executing", {"call": "own", "tool": "mine", "arguments": {}})
            await trio.sleep(2)

            async def fail() -> None:
                raise AgentError("no_luck", "I could not find it.")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)

    history = await told_by(Sorry)
    assert types_of(history) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
    assert history[2]["data"]["duration_ms"] == 2000
    assert history[3]["data"] == {"code": "no_luck", "message": "I could not find it.", "by": "agent"}


def test_a_plain_tool_runs_in_a_thread() -> None:
    """Red if it blocks the loop. On real time: a clock that jumps does not see threads."""

    class Threaded(Agent):
        async def run(self, message: Message) -> list[Any]:
            import threading

            names = [await self.tool("where", {}, lambda: threading.current_thread().name)]

            async def here() -> str:
                return threading.current_thread().name

            # A plain function that gives an awaitable is awaited here.
            names.append(await self.tool("here", {}, lambda: here()))
            return names

    async def main() -> None:
        async with open_world(agents={"it": Threaded}) as world:
            client = await world.connected()
            done = trio.Event()
            client.on_apply = lambda record: done.set() if record["type"] == "agent_completed" else None
            await client.say("go")
            with trio.fail_after(10):
                await done.wait()
            elsewhere, here = client.records[-1]["data"]["result"]
            assert elsewhere != "MainThread"
            assert here == "MainThread"

    trio.run(main)


# -- several tasks, and room ------------------------------------------------------------------------------------------


# S2 S6
@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 3_000), st.sampled_from((0.0, 0.01)), st.integers(0, 2**16))
async def test_tasks_of_one_agent_do_not_mix_up_their_events(
    tasks: int, each: int, window: int, delay: float, seed: int
) -> None:
    """Red if two tasks get one number, a call of one is closed by another, or one overtakes itself while it waits."""
    trio._core._run._r.seed(seed)

    class Crowd(Agent):
        async def run(self, message: Message) -> None:
            async with trio.open_nursery() as nursery:
                for task in range(tasks):
                    nursery.start_soon(self.chat, task)

        async def chat(self, task: int) -> None:
            for index in range(each):
                await self.emit("x.chat", {"task": task, "index": index})
                await self.tool("tool", {"task": task}, trio.lowlevel.checkpoint)

    limits = attrs.evolve(LIMITS, window_bytes=window)
    history = await told_by(Crowd, limits=limits, delay_seconds=delay)
    for task in range(tasks):
        said = [r["data"]["index"] for r in history if r["type"] == "x.chat" and r["data"]["task"] == task]
        assert said == list(range(each))
    assert len(history) == 2 + tasks * each * 3


# S13
@settings(max_examples=30)
@given(st.integers(1, 2_000), st.integers(1, 300))
async def test_emit_waits_while_too_much_is_not_durable(window: int, size: int) -> None:
    """Red if an agent can fill the node's memory while the disk is slow; or if it waits without need."""
    emitted: list[int] = []

    class Talker(Agent):
        async def run(self, message: Message) -> None:
            for n in range(60):
                await self.emit("x.talk", {"text": "t" * size})
                emitted.append(n)

    limits = attrs.evolve(LIMITS, window_bytes=window)
    async with open_world(agents={"it": Talker}, limits=limits) as world:
        client = await world.connected()
        await client.say("go")
        await trio.lowlevel.checkpoint()
        world.journal.delay_seconds = 5.0
        await trio.sleep(1)
        run = client.run_of(1)
        said = Event.make(f"{run}/1", "x.talk", run, {"text": "t" * size}, max_bytes=10**6, max_depth=8)
        room = window // len(said.body) + 1
        waited = len(emitted)
        # Numbers of two digits take one byte more; the bound is passed by one event at most.
        assert min(60, room - 1) <= waited <= min(60, room)


async def test_what_the_store_did_not_take_is_told_to_who_waits() -> None:
    """S3. Red if an agent that awaits its receipt is told of a position that does not exist."""
    heard: list[str] = []

    class Careful(Agent):
        async def run(self, message: Message) -> None:
            with trio.CancelScope(shield=True):
                receipt = await self.emit("agent_delta", {"text": "important"})
                for attempt in (receipt, self.emit("agent_delta", {"text": "more"})):
                    try:
                        await attempt
                    except StoreUnavailable as error:
                        heard.append(type(error).__name__)

    async with open_world(agents={"it": Careful}) as world:
        client = await world.connected()
        world.journal.faults["append", world.journal.counts["append"] + 2] = Fault.FAIL
        await client.say("go")
        await trio.sleep(5)
        assert heard == ["StoreUnavailable", "StoreUnavailable"]
        assert types_of(client.records) == ["agent_started", "agent_error"]
        assert client.records[-1]["data"]["code"] == "session_restarted"


async def test_after_the_end_every_word_is_refused() -> None:
    """S6. Red if an agent that does not stop can add to a run that has ended, or stays for ever."""
    heard: list[str] = []

    class Stubborn(Agent):
        async def run(self, message: Message) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    for _ in range(3):
                        try:
                            receipt: Receipt = await self.emit("agent_delta", {"text": "and another thing"})
                            await receipt
                        except RunEnded:
                            heard.append("RunEnded")
                        await trio.sleep(1)

    async with open_world(agents={"it": Stubborn}) as world:
        client = await world.connected()
        await client.say("go")
        await world.settle()
        await client.command("cancel", {}, client.run_of(1))
        await world.settle()
        assert types_of(client.records) == ["agent_started", "agent_cancelled"]
        await trio.sleep(5)
        assert heard == ["RunEnded"] * 3
        assert world.agents() == []
        assert types_of(await world.history("ada")) == ["agent_started", "agent_cancelled"]


async def test_an_agent_that_says_its_end_and_stays_is_killed_at_its_deadline() -> None:
    """Red if it keeps its task, and its session in memory, for ever."""

    class Lingers(Agent):
        async def run(self, message: Message) -> None:
            await self.emit("agent_completed", {"result": 1, "duration_ms": 0})
            await trio.sleep_forever()

    async with open_world(agents={"it": Lingers}) as world:
        client = await world.connected()
        await client.say("go")
        await world.settle()
        assert types_of(client.records) == ["agent_started", "agent_completed"]
        assert len(world.agents()) == 1
        await trio.sleep(LIMITS.run_seconds + 0.1)
        assert world.agents() == []
        assert types_of(client.records) == ["agent_started", "agent_completed"]
