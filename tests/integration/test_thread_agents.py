"""Stock pykka actors as agents at a real node: their events, tools and ends are those of any other agent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
import trio

from callboard import AgentError, BlockingMessage
from callboard.actors import GrammarError, InvalidEvent, RunEnded
from callboard.runtime import WouldBlock, cancelled
from tests.integration.boards import open_board, until, visitors

PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A test leaves no thread of an agent behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("Trio thread"):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), thread


class Steps(pykka.ThreadingActor):
    """Speaks, calls tools and waits for durability, all of it on its own thread."""

    hooks: list[str] = []  # noqa: RUF012 - what all of them write down

    def on_start(self) -> None:
        self.hooks.append("start")

    def on_stop(self) -> None:
        self.hooks.append("stop")

    def on_receive(self, message: BlockingMessage) -> Any:
        me = threading.current_thread()
        message.emit("agent_thinking", {"text": me.name})
        on = message.tool("where", {"of": "tools"}, lambda: threading.current_thread().name) == me.name
        doubled = message.tool("double", {"n": 2}, lambda: 4)
        receipts = [message.emit("agent_delta", {"text": str(n)}) for n in range(3)]
        positions = [receipt.get(timeout=PATIENCE_SECONDS).seq for receipt in receipts]
        for wrong in (("agent_cancelled", {"by": "agent", "reason": "mine"}), ("agent_delta", {"text": float("nan")})):
            with pytest.raises((GrammarError, InvalidEvent)):
                message.emit(*wrong)
        assert not message.cancelled
        return {"on": on, "doubled": doubled, "positions": positions, "text": message.text, "user": message.user}


class Waits(pykka.ThreadingActor):
    """Works until it is told to end, in the way that the message names; notes what it meets then."""

    stop_seconds = 0.2
    begun = threading.Event()
    may_end = threading.Event()
    seen: list[Any] = []  # noqa: RUF012 - what all of them write down

    def on_receive(self, message: BlockingMessage) -> Any:
        return getattr(self, message.text)(message)

    def flag(self, message: BlockingMessage) -> None:
        message.emit("agent_thinking", {"text": "until the flag"})
        pause = threading.Event()
        while not message.cancelled:
            pause.wait(0.001)
        self.seen.append(("flag", cancelled()))
        self.speak(message)

    def tool(self, message: BlockingMessage) -> None:
        message.tool("stuck", {}, lambda: self.stuck(message))

    def stuck(self, message: BlockingMessage) -> None:
        self.begun.set()
        assert self.may_end.wait(PATIENCE_SECONDS)
        self.speak(message)

    def full(self, message: BlockingMessage) -> None:
        while True:
            message.emit("agent_delta", {"text": "x" * 1000})

    def speak(self, message: BlockingMessage) -> None:
        try:
            message.emit("agent_thinking", {"text": "too late"})
        except RunEnded as error:
            self.seen.append(str(error).partition(" ")[0])
            raise

    def on_stop(self) -> None:
        self.seen.append("stop")


class Fails(pykka.ThreadingActor):
    """Fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def on_receive(self, message: BlockingMessage) -> Any:
        match message.text:
            case "own":
                raise AgentError("nothing_found", "there is nothing")
            case "tool":
                message.tool("broken", {}, self.broken)
            case "value":
                return {1, 2}
        raise LookupError(message.text)

    def broken(self) -> None:
        raise ConnectionError("no route")


class Unlucky(pykka.ThreadingActor):
    """Does not start."""

    def on_start(self) -> None:
        raise OSError("no such device")


AGENTS = {"steps": Steps, "waits": Waits, "fails": Fails, "unlucky": Unlucky}


async def test_a_stock_actor_works_like_any_other_agent() -> None:
    """Red if its events are missing, doubled or out of order, or its hooks do not run."""
    Steps.hooks.clear()
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("go", "steps")
        end = await peer.end_of(run)
        assert peer.of_run(run) == [
            "agent_started",
            "agent_thinking",
            *["tool_executing", "tool_completed"] * 2,
            *["agent_delta"] * 3,
            "agent_completed",
        ]
        result = end["data"]["result"]
        assert result == {"on": True, "doubled": 4, "positions": [7, 8, 9], "text": "go", "user": "ann"}
        thinking = await peer.until_record("agent_thinking")
        assert thinking["data"]["text"].startswith("Steps-")
        await until(lambda: Steps.hooks == ["start", "stop"])
        assert board.system.abandoned == 0


# S6, A5
async def test_cancel_raises_the_flag_and_the_thread_ends_in_order() -> None:
    """One terminal, by the user, at once; the thread hears of it, is heard no more, and its `on_stop` runs."""
    Waits.seen.clear()
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("flag", "waits")
        await peer.until_record("agent_thinking")
        await peer.command("cancel", run=run)
        await peer.end_of(run)
        await until(lambda: "stop" in Waits.seen)
        assert Waits.seen == [("flag", True), "run", "stop"]
        assert peer.of_run(run) == ["agent_started", "agent_thinking", "agent_cancelled"]
        assert board.system.abandoned == 0
        assert board.system.refused == 1


# S6, A8
async def test_a_thread_that_overruns_its_deadline_is_left_behind() -> None:
    """The run has its one end at its deadline; what the thread says later is refused and counted, and it ends."""
    Waits.seen.clear()
    Waits.begun.clear()
    Waits.may_end.clear()
    async with open_board(AGENTS, run_seconds=0.2) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("tool", "waits")
        end = await peer.end_of(run)
        assert (end["type"], end["data"]["code"]) == ("agent_error", "deadline")
        assert Waits.begun.is_set()
        await until(lambda: board.system.abandoned == 1)
        Waits.may_end.set()
        await until(lambda: board.system.abandoned == 0)
        assert Waits.seen == ["run"]  # no `stop`: it was left behind
        assert board.system.refused == 2  # what it said, and its late answer
        assert peer.of_run(run) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]


# S13
async def test_threads_are_bounded_those_left_behind_included() -> None:
    """Red if users who cancel runs of an agent that does not look at its flag can have any number of threads."""
    Waits.begun.clear()
    Waits.may_end.clear()
    async with open_board(AGENTS, threads=1) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("tool", "waits")
        await until(Waits.begun.is_set)
        await peer.command("cancel", run=run)
        await until(lambda: board.system.abandoned == 1)
        refused = await peer.end_of(await peer.ask("go", "steps"))
        assert (refused["data"]["code"], refused["data"]["by"]) == ("busy", "agent")
        Waits.may_end.set()
        await until(lambda: board.system.abandoned == board.system.threads == 0)
        assert (await peer.end_of(await peer.ask("go", "steps")))["type"] == "agent_completed"


# S13
async def test_back_pressure_blocks_the_thread_until_the_run_ends() -> None:
    """`emit` waits for room on the thread; when the run is cancelled meanwhile, it raises there."""
    Waits.seen.clear()
    async with open_board(AGENTS, window_bytes=2_000) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("full", "waits")
        for _ in range(5):
            await peer.receive()
        await peer.command("cancel", run=run)
        await peer.end_of(run)
        await until(lambda: Waits.seen == ["stop"])
        assert board.system.abandoned == 0


@pytest.mark.parametrize(
    "agent, text, code, types",
    [
        ("fails", "own", "nothing_found", ["agent_started", "agent_error"]),
        ("fails", "other", "agent_failed", ["agent_started", "agent_error"]),
        ("fails", "value", "agent_failed", ["agent_started", "agent_error"]),
        ("fails", "tool", "agent_failed", ["agent_started", "tool_executing", "tool_completed", "agent_error"]),
        ("unlucky", "go", "agent_failed", ["agent_started", "agent_error"]),
    ],
)
async def test_its_failures_end_the_run(agent: str, text: str, code: str, types: list[str]) -> None:
    """Its own word reaches the user, of other exceptions the type only."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask(text, agent)
        end = await peer.end_of(run)
        assert end["data"]["code"] == code
        assert peer.of_run(run) == types


async def test_at_a_boards_end_the_thread_is_told() -> None:
    """A run that is open when the node stops ends with it, and its thread sees the flag."""
    Waits.seen.clear()
    async with open_board(AGENTS, drain_seconds=0.1) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        await peer.ask("flag", "waits")
        await peer.until_record("agent_thinking")
    await until(lambda: len(Waits.seen) > 1)
    assert Waits.seen[0][0] == "flag"


async def test_blocking_calls_are_refused_on_a_loop() -> None:
    """The message's methods would block the trio thread: they say so."""
    messages: list[BlockingMessage] = []

    class Hands(pykka.ThreadingActor):
        def on_receive(self, message: BlockingMessage) -> None:
            messages.append(message)

    async with open_board({"hands": Hands}) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        await peer.end_of(await peer.ask("go"))
        (message,) = messages
        assert message.cancelled  # it is over
        with pytest.raises(WouldBlock, match="trio loop; use an Agent"):
            message.emit("agent_thinking", {"text": "x"})
        with pytest.raises(RunEnded):
            await trio.to_thread.run_sync(message.emit, "agent_thinking", {"text": "x"})
