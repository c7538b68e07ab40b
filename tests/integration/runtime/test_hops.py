"""A5 and A10 for real: what travels over many hops, through tasks, asyncio coroutines, threads and processes.

Nothing here sleeps but what is there to be cut short: the hops wait for events, and tests for what the hops write down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pykka
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.runtime import (
    Actor,
    AskCycle,
    AskTimeout,
    AsyncioActor,
    ChildSpec,
    ProcessActor,
    Ref,
    Supervision,
    cancelled,
    open_system,
)
from tests.integration.boards import until
from tests.runtime.kit import Collect, Parent, dead_letters

KINDS = ("trio", "asyncio", "thread")

Log = list[tuple[int, str]]


@attrs.frozen
class Hops:
    """The refs of a chain, and what its members write down; `start` says that the last one is at work."""

    refs: list[Ref[Any]] = attrs.field(factory=list)
    log: Log = attrs.field(factory=list)

    def next(self, step: int) -> Ref[Any] | None:
        """Whom the one at `step` asks."""
        return self.refs[step + 1] if step + 1 < len(self.refs) else None


class OnTrio(Actor):
    """Asks the next; is cancelled."""

    def __init__(self, hops: Hops, step: int, last: Callable[[], Any]) -> None:
        super().__init__()
        self.hops, self.step, self.last = hops, step, last

    async def on_receive(self, message: Any) -> Any:
        following = self.hops.next(self.step)
        try:
            if following is None:
                self.last()
                await trio.sleep_forever()
            else:
                return await following.ask_async(message)
        except trio.Cancelled:
            self.hops.log.append((self.step, "trio"))
            raise


class OnAsyncio(AsyncioActor):
    """Asks the next, in a task of its own; is cancelled."""

    def __init__(self, hops: Hops, step: int, last: Callable[[], Any]) -> None:
        super().__init__()
        self.hops, self.step, self.last = hops, step, last

    async def on_receive(self, message: Any) -> Any:
        following = self.hops.next(self.step)
        try:
            if following is None:
                self.last()
                await asyncio.Event().wait()
            else:
                (answer,) = await asyncio.gather(following.ask_async(message))
                return answer
        except asyncio.CancelledError:
            self.hops.log.append((self.step, "asyncio"))
            raise


class OnThread(pykka.ThreadingActor):
    """Asks the next; sees the flag."""

    def __init__(self, hops: Hops, step: int, last: Callable[[], Any]) -> None:
        super().__init__()
        self.hops, self.step, self.last = hops, step, last

    def on_receive(self, message: Any) -> Any:
        following = self.hops.next(self.step)
        if following is None:
            self.last()
            while not cancelled():
                time.sleep(0.001)
        else:
            try:
                return following.ask(message)
            except pykka.Timeout:
                assert cancelled()
        self.hops.log.append((self.step, "thread"))
        return "late"


CLASSES: dict[str, Callable[..., Any]] = {"trio": OnTrio, "asyncio": OnAsyncio, "thread": OnThread}


def spin(path: str) -> None:
    """Keep a process busy for ever."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


async def chain(parent: Ref[Any], hops: Hops, kinds: list[str], last: Callable[[], Any]) -> None:
    """Start the members of a chain."""
    for step, kind in enumerate(kinds):
        spec = ChildSpec(str(step), partial(CLASSES[kind], hops, step, last))
        hops.refs.append(await parent.ask_async(lambda actor, spec=spec: actor.spawn(spec)))


# A5
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), way=st.sampled_from(["cancel", "deadline", "kill"])
)
@settings(max_examples=25)
async def test_the_end_of_an_asker_travels_over_all_hops(kinds: list[str], way: str) -> None:
    """Every member is told in its own way; none has failed but one that is killed; late answers are dropped."""
    hops = Hops()
    async with open_system() as system:
        begun = trio.Event()
        parent = await system.spawn(lambda: Parent(Supervision(intensity=10)), id="all")
        await chain(parent, hops, kinds, lambda: system.run_soon(begun.set))
        asked = partial(hops.refs[0].ask_async, "go", timeout_seconds=0.05 if way == "deadline" else None)
        if way == "deadline":
            with pytest.raises(AskTimeout):
                await asked()
        elif way == "kill":
            answer = hops.refs[0].ask("go", block=False)
            await begun.wait()
            hops.refs[0].kill()
            with pytest.raises(pykka.ActorDeadError):
                await answer
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(asked)
                await begun.wait()
                nursery.cancel_scope.cancel()
        # A deadline may pass before the question has come to the end; whom it had come to, is told.
        if begun.is_set():
            await until(lambda: len(hops.log) == len(kinds))
        else:
            await until(lambda: not system.tasks)
        assert set(hops.log) <= set(enumerate(kinds))
        # All of them are free again, and none but the killed one has failed.
        hops.refs.clear()
        expected = [way == "kill" and step == 0 for step in range(len(kinds))]

        def settled() -> bool:
            members = [actor for actor in system.statistics().actors if actor.path.startswith("system/all/")]
            return [actor.restarts for actor in members] == expected and not system.tasks

        await until(settled)
        assert system.abandoned <= (way == "kill")


async def test_the_end_of_an_asker_kills_a_process_five_hops_away(tmp_path: Path) -> None:
    """A5. A task, a coroutine, a thread and another task are told, and the process is gone."""
    hops, path = Hops(), tmp_path / "pid"
    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision()), id="all")
        await chain(parent, hops, ["trio", "asyncio", "thread", "trio"], lambda: None)
        hops.refs.append(await system.spawn(lambda: ProcessActor(spin), id="process"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hops.refs[0].ask_async, str(path))
            await until(lambda: path.exists() and path.read_text() != "")
            nursery.cancel_scope.cancel()
        pid = int(path.read_text())
        await until(lambda: len(hops.log) == 4 and not Path(f"/proc/{pid}").exists())
        assert sorted(hops.log) == [(0, "trio"), (1, "asyncio"), (2, "thread"), (3, "trio")]
        assert all(actor.restarts == 0 for actor in system.statistics().actors)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# A10
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), closed=st.booleans())
@settings(max_examples=25)
async def test_a_circle_through_all_kinds_is_named(kinds: list[str], closed: bool) -> None:
    """A ring of actors, each of which asks the next; only a closed one is refused, and it is told who asked what."""
    refs: list[Ref[Any]] = []

    def following(way: tuple[int, ...]) -> tuple[Ref[Any], tuple[int, ...]] | None:
        step = (way[-1] + 1) % len(refs)
        return None if step == 0 and not closed else (refs[step], (*way, step))

    class Trio(Actor):
        async def on_receive(self, way: tuple[int, ...]) -> Any:
            step = following(way)
            return way if step is None else await step[0].ask_async(step[1])

    class Asyncio(AsyncioActor):
        async def on_receive(self, way: tuple[int, ...]) -> Any:
            step = following(way)
            if step is None:
                return way
            (answer,) = await asyncio.gather(step[0].ask_async(step[1]))  # in a task of its own
            return answer

    class Thread(pykka.ThreadingActor):
        def on_receive(self, way: tuple[int, ...]) -> Any:
            step = following(way)
            return way if step is None else step[0].ask(step[1], block=False).get()

    factories: dict[str, Callable[[], Any]] = {"trio": Trio, "asyncio": Asyncio, "thread": Thread}
    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision(intensity=10_000)), id="all")
        for n, kind in enumerate(kinds):
            spec = ChildSpec(str(n), factories[kind])
            refs.append(await parent.ask_async(lambda actor, spec=spec: actor.spawn(spec)))
        if closed:
            with pytest.raises(AskCycle) as caught:
                await refs[0].ask_async((0,))
            # A question from another thread may be worked on before its wait is noted: then that one comes last.
            names = [f"system/all/{n}" for n in range(len(kinds))]
            turned = [[*names[n:], *names[: n + 1]] for n in range(len(kinds))]
            circles = [f"actors would wait for each other: {' -[tuple]-> '.join(way)}" for way in turned]
            assert str(caught.value) in circles
            if set(kinds) == {"trio"}:
                assert str(caught.value) == circles[-1]
        else:
            assert await refs[0].ask_async((0,)) == tuple(range(len(kinds)))
        await until(lambda: not system.waits._targets)


async def test_a_thread_that_waits_for_room_closes_a_circle_too() -> None:
    """Red if only its asks are noted: it tells an actor with a full mailbox, which asks it."""

    class Narrow(Actor):
        mailbox_capacity = 1

        async def on_receive(self, message: Any) -> Any:
            if message == "ask back":
                await full.wait()
                return await thread.ask_async("back")
            return None

    class Telling(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            if message == "tell":
                narrow.tell("fills it")
                system.run_soon(full.set)
                try:
                    narrow.tell("waits")
                except AskCycle as circle:
                    said.append(str(circle))
            return message

    said: list[str] = []
    async with open_system() as system:
        full = trio.Event()
        narrow = await system.spawn(Narrow, id="narrow")
        thread = await system.spawn(Telling, id="thread")
        answer = narrow.ask("ask back", block=False)
        thread.tell("tell")
        try:
            await answer
        except AskCycle as circle:
            said.append(str(circle))
        # Whichever of them comes second is told, and the other goes on.
        assert [circle.partition(": ")[2] for circle in said] in (
            ["system/narrow -[str]-> system/thread -[room for str]-> system/narrow"],
            ["system/thread -[room for str]-> system/narrow -[str]-> system/thread"],
        )


async def test_a_late_answer_of_a_thread_is_dropped() -> None:
    """A5. Red if it reaches somebody who asked something else."""
    log: list[Any] = []
    hops = Hops()
    async with open_system() as system:
        collect = await system.spawn(lambda: Collect(log), id="collect")
        parent = await system.spawn(lambda: Parent(Supervision()), id="all")
        await chain(parent, hops, ["thread"], lambda: collect.tell("begun"))
        asked = hops.refs[0].ask("go", block=False)
        await until(lambda: log == ["begun"])
        asked.abandon()
        await until(lambda: hops.log == [(0, "thread")])
        with pytest.raises(AskTimeout):
            await asked
        assert dead_letters(system) == {}
