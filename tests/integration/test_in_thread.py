"""A board in a thread of its own: the same board for asyncio and plain programs, and its end is as orderly."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

import callboard
from callboard import Agent, Message, Session
from callboard.actors import EventRefused, PublishAlone
from callboard.runtime import NotRunning, RestartsExhausted, WouldBlock
from callboard.transport import BoardInThread, EventStream
from tests.integration.boards import KEY

LIMITS = callboard.Limits(drain_seconds=1.0, close_seconds=1.0)


class Echo(Agent):
    """Gives back what it was asked."""

    async def run(self, message: Message) -> str:
        return message.text


class Asked(Session):
    """A session with something of its own to ask for."""

    def on_receive(self, message: Any) -> Any:
        match message:
            case "who":
                return self.key.user
            case "wait":
                return self._wait()
            case "fail":
                raise LookupError("wrong")
        return super().on_receive(message)

    async def _wait(self) -> None:
        waits.append("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            waits.append("cancelled")
            raise


waits: list[str] = []


async def until(true: Callable[[], bool]) -> None:
    """Wait until something of the other thread's is so."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - it is looked at from outside
            await asyncio.sleep(0)


def in_thread(**options: Any) -> BoardInThread:
    """A board with an agent and sessions of ours."""
    return callboard.open_in_thread(agents={"echo": Echo}, session=Asked, limits=LIMITS, **options)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Threads and descriptors are as they were."""
    waits.clear()
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    yield
    assert "callboard" not in {thread.name for thread in threading.enumerate()}
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_plain_program_uses_it_from_any_thread() -> None:
    """Every method waits for its answer, and errors are raised where they belong."""
    with in_thread(port=0, key=KEY) as board:
        assert board.url == f"http://127.0.0.1:{board.port}"
        assert board.publish("ann", "x.note", {"n": 1}).seq == 1
        with pytest.raises(EventRefused):
            board.publish("ann", "agent_thinking", {"text": "mine"})
        with pytest.raises(ValueError, match="user"):
            board.publish("", "x.note", {})
        assert board.ask("ann", "who") == "ann"
        board.tell("ann", PublishAlone("x.note", {"n": 2}))
        ref = board.session("ann")
        assert ref.ask("who") == "ann"
        with pytest.raises(LookupError, match="wrong"):
            ref.ask("fail")
        with ThreadPoolExecutor(8) as pool:
            places = list(pool.map(lambda n: board.publish("ann", "x.note", {"n": n}).seq, range(40)))
        assert sorted(places) == list(range(3, 43))
        assert len(board.ticket("ann")) > 20
        assert board.close_user("ann").tickets == 1
        assert board.release("ann") is False
        assert board.report()["sessions"] == 1
        assert "board/registry" in {actor.path for actor in board.statistics().actors}
        assert board.drain(0).connections == 0
        board.wait_closed()
    with pytest.raises(NotRunning, match="has ended"):
        board.publish("ann", "x.note", {})


def test_an_asyncio_program_uses_it_too() -> None:
    """The same methods, awaited; the refs are awaited there, and threads of the program have their own view."""

    async def main() -> None:
        async with in_thread(port=0, key=KEY) as board:
            places = await asyncio.gather(*[board.publish("ann", "x.note", {"n": n}) for n in range(40)])
            assert sorted(place.seq for place in places) == list(range(1, 41))
            with pytest.raises(EventRefused):
                await board.publish("ann", "agent_thinking", {"text": "mine"})
            ref = await board.session("ann")
            assert await ref.ask_async("who") == await board.ask("ann", "who") == "ann"
            await board.tell("ann", PublishAlone("x.note", {}))
            assert (await asyncio.to_thread(board.threads.publish, "ann", "x.note", {})).seq == 42
            with pytest.raises(WouldBlock, match="asyncio loop"):
                board.threads.publish("ann", "x.note", {})
            assert (await board.close_user("ann")).connections == 0
            assert len(await board.ticket("ann")) > 20
            assert await board.release("ann") is False
            assert (await board.report())["tickets"] == 1
            assert (await board.statistics()).tasks >= 0
            assert (await board.drain(0)).runs_cut == 0
            await board.wait_closed()

    asyncio.run(main())


def test_a_cancelled_task_gives_up_its_ask() -> None:
    """A5. Red if the handler works on for a task that is gone, or a place among the calls is lost with it."""

    async def main() -> None:
        async with in_thread() as board:
            for _ in range(LIMITS.thread_calls + 10):
                waits.clear()
                task = asyncio.create_task(board.ask("ann", "wait"))
                await until(lambda: "begun" in waits)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await until(lambda: "cancelled" in waits)
            assert await board.ask("ann", "who") == "ann"

    asyncio.run(main())


def test_calls_beyond_the_bound_wait_at_their_callers() -> None:
    """S13. Red if the board's thread takes on whatever an asyncio program throws at it."""

    async def main() -> None:
        limits = callboard.Limits(thread_calls=3, close_seconds=1.0)
        async with callboard.open_in_thread(agents={"echo": Echo}, session=Asked, limits=limits) as board:
            tasks = [asyncio.create_task(board.ask(f"user-{n}", "wait")) for n in range(10)]
            await until(lambda: len(waits) == 3)
            who = asyncio.create_task(board.ask("ann", "who"))
            await until(lambda: len(board._thread._gate._line) == 8)
            assert waits == ["begun"] * 3
            assert not who.done()
            tasks[5].cancel()  # one that waits in line
            for task in tasks:
                task.cancel()
            assert await who == "ann"
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["thread", "asyncio"])
def test_a_stream_keeps_its_order_and_waits_for_room(loop: str) -> None:
    """Five hundred events, none lost, none out of place; a refused one is told."""

    async def on_asyncio() -> Any:
        async with in_thread() as board:
            async with board.stream("ann") as stream:
                for n in range(500):
                    await stream.send_async("x.n", {"n": n})
            last = await board.publish("ann", "x.end", {})
            refused = board.stream("ann")
            with pytest.raises(EventRefused):
                await refuse(refused)
            return last.seq, await board.ask("ann", "who")

    async def refuse(stream: EventStream) -> None:
        async with stream:
            await stream.send_async("agent_delta", {"text": "not mine to say"})

    def on_a_thread() -> Any:
        with in_thread() as board:
            with board.stream("ann") as stream:
                for n in range(500):
                    stream.send("x.n", {"n": n})
            last = board.publish("ann", "x.end", {})
            with pytest.raises(EventRefused), board.stream("ann") as stream:
                stream.send("agent_delta", {"text": "not mine to say"})
            return last.seq, board.ask("ann", "who")

    assert (asyncio.run(on_asyncio()) if loop == "asyncio" else on_a_thread()) == (501, "ann")


@pytest.mark.parametrize("loop", ["thread", "asyncio"])
def test_an_exception_ends_the_board_and_is_raised(loop: str) -> None:
    """Also one while it starts."""

    async def on_asyncio() -> None:
        async with in_thread() as board:
            await board.publish("ann", "x.note", {})
            raise LookupError("mine")

    def on_a_thread() -> None:
        with in_thread() as board:
            board.publish("ann", "x.note", {})
            raise LookupError("mine")

    async def start_badly() -> None:
        async with in_thread(port=99_999, key=KEY):
            raise AssertionError("it has started")

    with pytest.raises(LookupError, match="mine"):
        asyncio.run(on_asyncio()) if loop == "asyncio" else on_a_thread()
    with pytest.raises(callboard.ConfigError, match="99999"):
        asyncio.run(start_badly()) if loop == "asyncio" else in_thread(port=99_999, key=KEY).__enter__()


def test_a_board_that_fails_is_told_at_the_end() -> None:
    """Its callers are told at once, whoever leaves the block is told why."""

    def run() -> None:
        with in_thread() as board:
            thread = board._thread
            waiting = ThreadPoolExecutor(1).submit(board.wait_closed)
            while not waiting.done():
                thread.board.node.registry.kill()
            with pytest.raises(NotRunning):
                waiting.result(60)

    with pytest.raises(RestartsExhausted):
        run()


def test_cancelling_the_task_that_holds_it_ends_it_in_order() -> None:
    """Red if a cancelled asyncio program leaves the thread behind, or hangs at its end."""

    async def hold(started: asyncio.Event) -> None:
        async with in_thread() as board:
            assert (await board.publish("ann", "x.note", {})).seq == 1
            started.set()
            await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(hold(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await hold_and_leave()

    async def hold_and_leave() -> None:
        asyncio.create_task(hold(asyncio.Event()))  # noqa: RUF006 - asyncio.run cancels it
        await asyncio.sleep(0)

    asyncio.run(main())


def test_several_boards_exist_at_once() -> None:
    """Red if they share anything."""
    with in_thread(port=0, key=KEY) as one, in_thread(port=0, key=KEY) as two:
        assert one.port != two.port
        assert one.publish("ann", "x.note", {}).seq == 1
        assert two.publish("ann", "x.note", {}).seq == 1


async def test_inside_trio_it_says_what_to_use() -> None:
    """Red if it blocks the loop that it is used on."""
    with pytest.raises(WouldBlock, match=r"async with callboard\.open"):
        in_thread().__enter__()
    with pytest.raises(WouldBlock, match=r"in trio use callboard\.open"):
        await in_thread().__aenter__()


PROGRAM = """
import asyncio, sys, threading
import callboard, trio

class Stop(callboard.Session):
    async def on_stop(self):
        print("stopped", flush=True)
        if "hang" in sys.argv:
            await trio.sleep_forever()

class Echo(callboard.Agent):
    async def run(self, message):
        return message.text

LIMITS = callboard.Limits(drain_seconds=1_000, close_seconds=0.1)
# Without a lookout: on a busy machine it may have something to say on stderr.
opened = callboard.open_in_thread(agents={"echo": Echo}, session=Stop, slow_seconds=None, limits=LIMITS)

def plain():
    with opened as board:
        board.publish("ann", "x.note", {})
        print("ready", flush=True)
        threading.Event().wait()

def forgotten():
    board = opened.__enter__()
    board.publish("ann", "x.note", {})
    print("ready", flush=True)

async def on_asyncio():
    async with opened as board:
        await board.publish("ann", "x.note", {})
        print("ready", flush=True)
        await asyncio.Event().wait()

match sys.argv[1]:
    case "plain": plain()
    case "forgotten": forgotten()
    case "asyncio": asyncio.run(on_asyncio())
"""


@pytest.mark.parametrize("program", ["plain", "asyncio", "forgotten"])
def test_ctrl_c_and_the_end_of_the_program_are_an_ordered_stop(program: str) -> None:
    """Red if a session's `on_stop` is not run, or the program hangs."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            if program != "forgotten":
                process.send_signal(signal.SIGINT)
            # By the same reader: `communicate` would not see what has been read ahead behind the first line.
            out, err = process.stdout.read(), process.stderr.read()
            process.wait(timeout=60)
            assert out == "stopped\n"
            assert err == "" if program == "forgotten" else err.rstrip().endswith("KeyboardInterrupt")
            assert process.returncode == (0 if program == "forgotten" else -signal.SIGINT)
        finally:
            process.kill()


@pytest.mark.parametrize("program", ["plain", "asyncio"])
def test_a_second_ctrl_c_kills_what_still_stops(program: str) -> None:
    """Red if who presses it twice has to wait for a session that hangs: its deadline is longer than this test's."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, program, "hang"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for said in ("ready\n", "stopped\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert process.returncode == -signal.SIGINT
    finally:
        process.kill()
        process.wait()
