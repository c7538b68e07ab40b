"""Actors whose handlers run on asyncio: asked, told, watched, supervised, restarted and stopped as any other.

Nothing here sleeps: handlers wait for events, and tests for answers.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pykka
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.runtime import (
    ActorExited,
    AskCycle,
    AskTimeout,
    AsyncioActor,
    ChildSpec,
    CutShort,
    Killed,
    NotRunning,
    Ref,
    Refusal,
    Strategy,
    Supervision,
    WouldBlock,
    in_trio,
    open_system,
)
from tests.integration.boards import until
from tests.runtime.kit import Collect, Worker

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Doing(AsyncioActor):
    """Does what it is told, a function of itself that may be ``async def``; anything else is given back."""

    def __init__(self, log: list[Any] | None = None) -> None:
        super().__init__()
        self.log: list[Any] = [] if log is None else log

    async def on_receive(self, message: Any) -> Any:
        if not callable(message):
            await asyncio.sleep(0)
            return message
        result = message(self)
        return await result if asyncio.iscoroutine(result) else result


@attrs.define
class Steps:
    """How far a handler has come, seen from the trio loop."""

    begun: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    how: str = ""


def waiting(steps: Steps, *, tidy: Callable[[], Any] | None = None) -> Callable[[AsyncioActor], Any]:
    """A handler that waits for ever, says so, and says how it ends."""

    async def handler(actor: AsyncioActor) -> None:
        actor.system.run_soon(steps.begun.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if tidy is not None:
                await tidy()
            steps.how = "cancelled"
            raise
        finally:
            actor.system.run_soon(steps.ended.set)

    return handler


async def forever(_: Worker) -> None:
    """A handler that never ends."""
    await trio.sleep_forever()


def threads() -> set[str]:
    """The threads that run."""
    return {thread.name for thread in threading.enumerate()}


async def test_an_asyncio_actor_answers_on_its_loop_in_the_senders_context() -> None:
    """Red if its handler runs on trio, or for somebody else; one thread serves all, and ends with the system."""

    async def where(actor: Doing) -> Any:
        await asyncio.sleep(0)
        return threading.current_thread().name, asyncio.get_running_loop(), user.get()

    descriptors = len(os.listdir("/proc/self/fd"))
    async with open_system("home") as system:
        assert "home: asyncio" not in threads()
        refs = [await system.spawn(Doing, id=str(n)) for n in range(3)]
        seen = []
        for n, ref in enumerate(refs):
            user.set(f"user {n}")
            seen.append(await ref.ask_async(where))
        assert [thread for thread, _, _ in seen] == ["home: asyncio"] * 3
        assert len({loop for _, loop, _ in seen}) == 1
        assert [name for _, _, name in seen] == ["user 0", "user 1", "user 2"]
    assert "home: asyncio" not in threads()
    assert len(os.listdir("/proc/self/fd")) == descriptors


# A1 # A2
@given(messages=st.lists(st.integers(0, 3), max_size=30))
@settings(max_examples=15)
async def test_one_message_at_a_time_in_order(messages: list[int]) -> None:
    """Handlers that wait so many rounds of their loop, against a list."""
    log: list[Any] = []

    class Rounds(AsyncioActor):
        async def on_receive(self, message: tuple[int, int]) -> None:
            log.append(("begin", message[0]))
            for _ in range(message[1]):
                await asyncio.sleep(0)
            log.append(("end", message[0]))

    async with open_system() as system:
        ref = await system.spawn(Rounds, id="rounds")
        for n, rounds in enumerate(messages):
            ref.tell((n, rounds))
        await ref.stop(block=False)
    assert log == [(what, n) for n in range(len(messages)) for what in ("begin", "end")]


async def test_it_asks_tells_and_sends_to_trio_actors_and_back() -> None:
    """Red if a ref is worth less on asyncio than on trio."""
    log: list[Any] = []
    async with open_system() as system:
        collect = await system.spawn(lambda: Collect(log), id="collect")
        worker = await system.spawn(Worker, id="worker")
        other = await system.spawn(Doing, id="other")

        async def work(actor: Doing) -> Any:
            collect.tell("told")
            await collect.send("sent")
            reply = await collect.submit("submitted")
            assert await reply == 3
            with pytest.raises(WouldBlock):
                collect.ask("blocks")
            with pytest.raises(AskTimeout):
                await worker.ask_async(forever, timeout_seconds=0.01)
            return await asyncio.gather(*[ref.ask_async("hello") for ref in (worker, other)])

        asyncio_actor = await system.spawn(Doing, id="asyncio")
        assert await asyncio_actor.ask_async(work) == ["hello", "hello"]
        assert await asyncio_actor.proxy().log == []
    assert log == ["told", "sent", "submitted"]


async def test_failures_and_refusals_are_what_they_are_elsewhere() -> None:
    """A6, A7. The ref stays; a refusal is an answer; the failing message goes to dead letters; hooks run over there."""
    log: list[Any] = []

    class Hooked(Doing):
        async def on_start(self) -> None:  # type: ignore[override]
            log.append(("start", asyncio.get_running_loop().is_running()))

        def on_stop(self) -> None:
            log.append(("stop", asyncio.get_running_loop().is_running()))

        def on_failure(self, *args: Any) -> None:
            log.append(("failure", args[0]))

    async def fail(_: Doing) -> None:
        raise LookupError("wrong")

    async def refuse(_: Doing) -> None:
        raise Refusal("no")

    async with open_system() as system:
        ref = await system.spawn(Hooked, id="hooked")
        with pytest.raises(Refusal, match="no"):
            await ref.ask_async(refuse)
        with pytest.raises(LookupError, match="wrong"):
            await ref.ask_async(fail)
        assert await ref.ask_async(lambda actor: actor.restarts) == 1
        assert system.statistics().dead_letters["crashed"] == 1
        await ref.stop(block=False)
        assert log == [("start", True), ("failure", LookupError), ("start", True), ("stop", True)]

        class Failing(Doing):
            async def on_start(self) -> None:  # type: ignore[override]
                raise LookupError("not today")

        with pytest.raises(LookupError, match="not today"):
            await system.spawn(Failing, id="failing")


@pytest.mark.parametrize("way", ["cancelled", "deadline", "killed"])
async def test_the_end_of_a_wait_cancels_the_coroutine(way: str) -> None:
    """A5. It may await something while it cleans up; but for the kill it is no failure, and the actor is free again."""
    steps, tidied = Steps(), []

    async def tidy() -> None:
        await asyncio.sleep(0)
        tidied.append(await collect.ask_async("tidied"))

    async with open_system() as system:
        collect = await system.spawn(lambda: Collect([]), id="collect")
        ref = await system.spawn(Doing, id="doing")
        handler = waiting(steps, tidy=tidy)
        if way == "killed":
            answer = ref.ask(handler, block=False)
            await steps.begun.wait()
            ref.kill()
            with pytest.raises(pykka.ActorDeadError, match="killed while it worked"):
                await answer
        elif way == "deadline":
            with pytest.raises(AskTimeout):
                await ref.ask_async(handler, timeout_seconds=0.05)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask_async, handler)
                await steps.begun.wait()
                nursery.cancel_scope.cancel()
        assert await ref.ask_async("free") == "free"
        if steps.begun.is_set():  # else the deadline passed before its turn
            assert steps.how == "cancelled"
            assert tidied == [1]
        assert await ref.ask_async(lambda actor: actor.restarts) == (way == "killed")
        assert system.abandoned == system.refused == 0


async def test_a_coroutine_that_does_not_end_is_left_behind() -> None:
    """A8. Red if it holds its actor for ever, or is heard after its end. Its ref, and what waits, stay."""
    release = threading.Event()
    told: list[Any] = []
    late: list[type[BaseException]] = []
    log: list[Any] = []

    class Stubborn(Doing):
        cancel_seconds = 0.01

    async def stubborn(actor: Doing) -> str:
        actor.system.run_soon(steps.begun.set)
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                told.append("cancelled")
        for say in (collect.send, collect.ask_async, collect.tell, lambda _: in_trio(trio.sleep, 0)):
            try:
                await say("late")  # type: ignore[misc]
            except (pykka.ActorDeadError, NotRunning) as error:
                late.append(type(error))
        return "late"

    steps = Steps()
    async with open_system() as system:
        collect = await system.spawn(lambda: Collect(log), id="collect")
        ref = await system.spawn(Stubborn, id="stubborn")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask_async, stubborn)
            await steps.begun.wait()
            nursery.cancel_scope.cancel()
        assert await ref.ask_async(lambda actor: actor.restarts) == 1
        assert system.statistics().dead_letters["crashed"] == 1
        assert system.abandoned == 1
        release.set()
        await until(lambda: not system.abandoned)
        assert told == ["cancelled"]
        assert late == [pykka.ActorDeadError] * 4
        assert system.refused == 4  # three sayings and its answer
    assert log == []


async def test_a_coroutine_that_cancels_itself_has_failed() -> None:
    """Red if its asker waits for ever, or is told that it has been cancelled itself."""

    async def cancel(_: Doing) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with open_system() as system:
        ref = await system.spawn(Doing, id="doing")
        with pytest.raises(CutShort, match="the coroutine of system/doing cancelled itself"):
            await ref.ask_async(cancel)
        assert await ref.ask_async(lambda actor: actor.restarts) == 1


@pytest.mark.parametrize("where", ["handler", "task"])
async def test_a_system_exit_ends_the_system_in_order(where: str) -> None:
    """As one of any other actor does; one in a task that is left running ends asyncio's loop, and so the system."""
    stopped: list[str] = []

    class Last(Worker):
        def on_stop(self) -> None:
            stopped.append("last")

    async def leave() -> None:
        raise SystemExit(3)

    async def handler(_: Doing) -> None:
        if where == "handler":
            await leave()
        task = asyncio.create_task(leave())
        try:
            await asyncio.sleep(3600)
        finally:
            task.exception()  # asyncio prints those that nobody has looked at

    async def run() -> None:
        async with open_system() as system:
            await system.spawn(Last, id="last")
            ref = await system.spawn(Doing, id="doing")
            await ref.ask_async(handler)

    with pytest.raises(SystemExit):
        await run()
    assert stopped == ["last"]


async def test_what_is_left_running_is_cancelled_with_the_system() -> None:
    """A8. Red if a task outlives the system, or its last await hangs."""
    how: list[str] = []

    async def background(ref: Ref[Any]) -> None:
        try:
            await ref.ask_async(forever)
        except pykka.ActorDeadError:
            how.append("dead")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            how.append("cancelled")
            raise

    async def start(actor: Doing) -> None:
        actor.log.append(asyncio.create_task(background(worker)))

    async with open_system() as system:
        ref = await system.spawn(Doing, id="doing")
        worker = await system.spawn(Worker, id="worker", stop_seconds=0)
        await ref.ask_async(start)
    assert how == ["dead", "cancelled"]


async def test_it_supervises_and_watches() -> None:
    """Red if what an author's handler does with its own actor is done on the wrong thread."""
    heard: list[Any] = []

    class Boss(Doing):
        supervision = Supervision(Strategy.DYNAMIC, intensity=0)

        async def on_receive(self, message: Any) -> Any:
            if isinstance(message, ActorExited):
                heard.append((message.ref.path, type(message.reason)))
                return None
            return await super().on_receive(message)

        def on_child_given_up(self, id: str, error: BaseException) -> None:
            heard.append((id, type(error.__cause__)))
            self.start_child(ChildSpec("another", Worker))

    async def hire(boss: Boss) -> Any:
        with pytest.raises(WouldBlock, match=r"await self\.spawn"):
            boss.start_child(ChildSpec("worker", Worker))
        with pytest.raises(ValueError, match="must be"):
            await boss.spawn(ChildSpec("broken", Broken))
        ref = await boss.spawn(ChildSpec("worker", Worker))
        boss.watch(ref)
        return ref

    class Broken(Worker):
        def __init__(self) -> None:
            raise ValueError("it must be otherwise")

    async with open_system() as system:
        boss = await system.spawn(Boss, id="boss")
        ref = await boss.ask_async(hire)
        ref.kill()
        await ref.wait_gone()
        names = list(await boss.ask_async(lambda boss: boss.children()))
        assert names == ["another"]
        assert ("worker", Killed) in heard
        assert len(heard) == 2
        await boss.ask_async(lambda boss: boss.stop_child("another"))
        await boss.ask_async(lambda boss: boss.stop_now())
        await boss.wait_gone()


async def test_work_on_the_trio_loop_belongs_to_the_handler() -> None:
    """`in_trio`: what it raises comes back, a task's cancelling cancels it, and outside of a handler there is none."""
    how: list[str] = []

    async def forever() -> None:
        begun()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            how.append("cancelled")
            raise

    def begun() -> None:
        steps.begun.set()

    async def fails() -> None:
        raise LookupError("there")

    async def nap(actor: Doing) -> float:
        with pytest.raises(LookupError, match="there"):
            await in_trio(fails)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_trio(forever), 0.01)
        return await in_trio(current_time)

    async def current_time() -> float:
        return trio.current_time()

    async def leave_running(actor: Doing) -> Any:
        actor.log.append(asyncio.create_task(in_trio(forever)))
        await asyncio.sleep(0)

    steps = Steps()
    async with open_system() as system:
        ref = await system.spawn(Doing, id="doing")
        before = trio.current_time()
        assert before <= await ref.ask_async(nap) <= trio.current_time()
        assert how == ["cancelled"]
        # The handler waits for it and is cancelled: once, on both sides.
        steps = Steps()
        with trio.move_on_after(60) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask_async, lambda _: in_trio(forever))
                await steps.begun.wait()
                scope.cancel()
        assert await ref.ask_async("free") == "free"
        assert how == ["cancelled"] * 2
        # A task that outlives its handler is told.
        await ref.ask_async(leave_running)
        (task,) = await ref.ask_async(lambda actor: actor.log)
        await ref.ask_async(lambda _: asyncio.wait([task]))
        assert task.cancelled()
        with pytest.raises(NotRunning, match="for coroutines that an actor runs"):
            await in_trio(forever)


async def test_waiting_for_room_on_asyncio_closes_a_circle_too() -> None:
    """Red if only asks are noted there."""

    class Narrow(Worker):
        mailbox_capacity = 1

    said: list[str] = []
    async with open_system() as system:
        doing = await system.spawn(Doing, id="doing")
        narrow = await system.spawn(Narrow, id="narrow")
        asked = trio.Event()

        async def ask_back(_: Worker) -> Any:
            await asked.wait()
            return await doing.ask_async("back")

        async def send(_: Doing) -> None:
            await narrow.send("fills it")
            system.run_soon(asked.set)
            try:
                await narrow.send("waits")
            except AskCycle as circle:
                said.append(str(circle))

        answer = narrow.ask(ask_back, block=False)
        doing.tell(send)
        try:
            await answer
        except AskCycle as circle:
            said.append(str(circle))
        # Whichever of them comes second is told, and the other goes on.
        assert [circle.partition(": ")[2] for circle in said] in (
            ["system/narrow -[str]-> system/doing -[room for str]-> system/narrow"],
            ["system/doing -[room for str]-> system/narrow -[str]-> system/doing"],
        )


async def test_a_task_that_outlives_its_handler_waits_in_nobodys_name() -> None:
    """Red if the actor is taken to wait although its handler has ended: its answer would be refused."""
    async with open_system() as system:
        doing = await system.spawn(Doing, id="doing")
        worker = await system.spawn(Worker, id="worker")
        go = trio.Event()

        async def ask_back(_: Worker) -> Any:
            await go.wait()
            return await doing.ask_async("back")

        async def start(actor: Doing) -> None:
            actor.log.append(asyncio.create_task(worker.ask_async(ask_back)))
            await asyncio.sleep(0)  # it has asked

        await doing.ask_async(start)
        go.set()
        (task,) = await doing.ask_async(lambda actor: actor.log)
        await until(task.done)
        assert task.result() == "back"
