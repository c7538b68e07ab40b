"""A1: one message at a time, whatever the handlers are and however messages come."""

import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from callboard.runtime import Actor, AskTimeout, ChildSpec, Ref, Refusal, Supervision, open_system
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Collect, Parent, Sleep, Worker, dead_letters


class Narrow(Actor):
    """Notes entering and leaving each handler; tells itself and others from within."""

    mailbox_capacity = 1_000

    def __init__(self, log: list[tuple[str, str, int]], name: str, peers: list[Ref[Any]]) -> None:
        super().__init__()
        self.log, self.name, self.peers = log, name, peers

    def on_receive(self, message: tuple[int, bool, float, list[int]]) -> Any:
        number, is_async, seconds, tells = message
        self.log.append((self.name, "enter", number))
        if is_async:
            return self._slow(number, seconds, tells)
        self._tell(number, tells)
        self.log.append((self.name, "leave", number))
        return number

    async def _slow(self, number: int, seconds: float, tells: list[int]) -> int:
        await trio.sleep(seconds)
        self._tell(number, tells)
        await trio.sleep(seconds)
        self.log.append((self.name, "leave", number))
        return number

    def _tell(self, number: int, tells: list[int]) -> None:
        for peer in tells:
            self.peers[peer % len(self.peers)].tell((number + 1_000, False, 0.0, []))


messages = st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0]), st.lists(st.integers(0, 2), max_size=2))
deliveries = st.tuples(st.integers(0, 2), st.sampled_from(["tell", "send", "ask", "notify"]), messages)


# A1
@given(program=st.lists(st.lists(deliveries, max_size=6), min_size=1, max_size=4), schedule=st.random_module())
async def test_handlers_of_an_actor_never_overlap(program: list[list[Any]], schedule: object) -> None:
    """Between the enter and the leave of a handler there is nothing else of the same actor, nested or interleaved."""
    log: list[tuple[str, str, int]] = []
    peers: list[Ref[Any]] = []
    async with open_system(slice_clock=frozen_clock) as system:
        for name in "abc":
            peers.append(await system.spawn(partial(Narrow, log, name, peers), id=name))

        async def sender(number: int, deliveries: list[Any]) -> None:
            for offset, (target, how, message) in enumerate(deliveries):
                ref, item = peers[target], (number * 100 + offset, *message)
                if how == "tell":
                    ref.tell(item)
                elif how == "send":
                    await ref.send(item)
                elif how == "ask":
                    assert await ref.ask_async(item) == item[0]
                else:
                    ref.notify(item)

        async with trio.open_nursery() as nursery:
            for number, share in enumerate(program):
                nursery.start_soon(sender, number, share)
        await trio.sleep(100)  # longer than all handlers together
        await settle(system)

    sent = sum(1 + len(message[2]) for share in program for _, _, message in share)
    assert len(log) == 2 * sent
    for name in "abc":
        own = [(event, number) for who, event, number in log if who == name]
        for enter, leave in zip(own[::2], own[1::2], strict=True):
            assert (enter[0], leave[0]) == ("enter", "leave")
            assert enter[1] == leave[1]


async def test_a_plain_handler_that_tells_itself_is_not_called_from_within() -> None:
    """The message comes after the handler has ended, in order."""
    log: list[Any] = []

    def twice(worker: Worker) -> None:
        worker.actor_ref.tell("second")
        log.append("first")

    async with open_system() as system:
        ref = await system.spawn(lambda: Worker(log), id="a")
        ref.tell(twice)
        await settle(system)
    assert log == ["first", ("handle", "second")]


async def test_a_handler_runs_in_the_context_of_the_tell() -> None:
    """One user's context variables do not show in the next one's handler, plain or async, nor in the teller."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    def plain(worker: Worker) -> None:
        seen.append(user.get())
        user.set("handler")

    async def slow(worker: Worker) -> None:
        await trio.sleep(1)
        seen.append(user.get())
        user.set("handler")

    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")

        async def speak(name: str) -> None:
            user.set(name)
            await ref.send(plain)
            await ref.send(slow)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, "ann")
            nursery.start_soon(speak, "bob")
        ref.tell(plain)
        await trio.sleep(10)
    assert sorted(seen[:-1]) == ["ann", "ann", "bob", "bob"]
    assert seen[-1] == user.get() == "nobody"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["none", "ann", "bob"]),  # what the teller has set
            st.sampled_from(["plain", "async", "refuse", "fail", "leave"]),  # how its handler goes
            st.booleans(),  # whether all that waits is handled before the next is told
        ),
        max_size=12,
    )
)
def test_what_a_handler_sets_is_seen_by_no_other(told: list[tuple[str, str, bool]]) -> None:
    """Not even when both came without any variable, and share a context as long as none is set in it."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    seen: list[str] = []

    class Setter(Actor):
        def on_receive(self, message: str) -> Any:
            seen.append(user.get("none"))
            if message == "leave":
                user.reset(user.set("handler"))  # and leaves it as it was
                return None
            user.set("handler")
            if message == "refuse":
                raise Refusal("no")
            if message == "fail":
                raise ValueError("broken")
            return self._later() if message == "async" else None

        async def _later(self) -> None:
            assert user.get() == "handler"
            await trio.sleep(1)

    async def main() -> None:
        async with open_system() as system:
            parent = await system.spawn(lambda: Parent(Supervision(intensity=100)), id="parent")
            ref = await parent.ask_async(ChildSpec("child", Setter))
            for name, message, rest in told:
                context = contextvars.copy_context()
                if name != "none":
                    context.run(user.set, name)
                context.run(ref.tell, message)
                if rest:
                    await trio.sleep(5)
            await trio.sleep(100)
            assert user.get("none") == "none"

    in_an_empty_context(main)
    assert seen == [name for name, _, _ in told]


async def test_plain_handlers_cost_no_task() -> None:
    """A thousand actors at work add no task; an async handler adds one, which is kept for the next one's."""
    async with open_system() as system:
        log: list[Any] = []
        refs = [await system.spawn(lambda: Collect(log), id=str(n)) for n in range(1_000)]
        worker = await system.spawn(Worker, id="worker")
        before = trio.lowlevel.current_statistics().tasks_living
        for ref in refs:
            ref.tell("work")
        worker.tell(Sleep(5))
        await settle(system)
        assert len(log) == 1_000
        assert trio.lowlevel.current_statistics().tasks_living == before + 1
        assert system.statistics().tasks == 1
        await trio.sleep(6)
        assert system.statistics().tasks == 0
        await worker.ask_async(Sleep(5))
        assert trio.lowlevel.current_statistics().tasks_living == before + 1


async def test_a_task_takes_nothing_over_from_one_handler_to_the_next() -> None:
    """Not its context, its cancelling, its name or its place among those who wait: it is another actor's now."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    tasks: list[trio.lowlevel.Task] = []

    class Thing:
        pass

    thing: contextvars.ContextVar[Thing] = contextvars.ContextVar("thing")
    things: list[weakref.ref[Thing]] = []

    async def hang(worker: Worker) -> None:
        user.set("first")
        thing.set(Thing())
        things.append(weakref.ref(thing.get()))
        tasks.append(trio.lowlevel.current_task())
        await trio.sleep_forever()

    async def look(worker: Worker) -> tuple[str, str, float]:
        tasks.append(trio.lowlevel.current_task())
        await trio.sleep(1)
        return user.get(), tasks[-1].name, trio.current_effective_deadline()

    async def fail(worker: Worker) -> None:
        await trio.sleep(1)
        raise ValueError("broken")

    async with open_system() as system:
        first, second = [await system.spawn(Worker, id=id) for id in ("first", "second")]
        with pytest.raises(AskTimeout):
            await first.ask_async(hang, timeout_seconds=5)
        await settle(system)
        gc.collect()  # the exception of the ask that was given up refers to itself
        assert things[0]() is None
        assert await second.ask_async(look) == ("nobody", "system/second", float("inf"))
        assert tasks[0] is tasks[1]
        with pytest.raises(ValueError, match="broken"):
            await second.ask_async(fail)
        assert await first.ask_async(look) == ("nobody", "system/first", float("inf"))
        assert tasks[2] is not tasks[0]  # a coroutine that raised may have left a scope open


async def test_tasks_that_are_kept_are_bounded() -> None:
    """What a rush has needed goes when it is over, but for 64."""
    async with open_system() as system:
        refs = [await system.spawn(Worker, id=str(n)) for n in range(100)]
        before = trio.lowlevel.current_statistics().tasks_living
        for ref in refs:
            ref.tell(Sleep(5))
        await settle(system)
        assert trio.lowlevel.current_statistics().tasks_living == before + 100
        await trio.sleep(10)
        assert trio.lowlevel.current_statistics().tasks_living == before + 64


def in_an_empty_context(main: Callable[[], Awaitable[None]]) -> None:
    """Run as programs do; `trio.testing` and pytest-trio set variables in the context of the tests."""
    contextvars.Context().run(lambda: trio.run(main, clock=MockClock(autojump_threshold=0)))


def test_what_is_told_arrives_as_it_is() -> None:
    """Tuples too, which is what the mailbox's own envelopes are, and what proxies tell."""
    heard: list[Any] = []
    messages = [None, (), (1, None, None), ("m", None, contextvars.Context()), [1], "m"]

    class Note(Actor):
        def on_receive(self, message: Any) -> None:
            heard.append(message)

        def note(self, word: str) -> None:
            heard.append(word)

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Note, id="a")
            for message in messages:
                ref.tell(message)
            ref.proxy().note.defer("called")
            await settle(system)

    in_an_empty_context(main)
    assert heard == [*messages, "called"]


def test_hooks_run_in_the_context_of_whoever_opened_the_system() -> None:
    """Not in that of a message, nor of a task that asks, although its task may take the actor's turn."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[tuple[str, str]] = []

    class Noting(Actor):
        def on_receive(self, message: str) -> None:
            seen.append((message, user.get()))
            self.want_turn_end()
            user.set("handler")
            if message == "fail":
                raise ValueError(message)

        def on_turn_end(self) -> None:
            seen.append(("turn end", user.get()))

        def on_failure(self, *_: object) -> None:
            seen.append(("failure", user.get()))

        def on_stop(self) -> None:
            seen.append(("stop", user.get()))

    async def speak(ref: Ref[Any], name: str) -> None:
        user.set(name)
        await ref.ask_async("ask")
        await ref.ask_async("ask")
        with pytest.raises(ValueError, match="fail"):
            await ref.ask_async("fail")

    async def main() -> None:
        user.set("opener")
        async with open_system() as system:
            ref = await system.spawn(Noting, id="a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speak, ref, "ann")

    in_an_empty_context(main)
    turn = [("ask", "ann"), ("turn end", "opener")]
    assert seen == [*turn, *turn, ("fail", "ann"), ("failure", "opener"), ("stop", "opener")]


async def test_others_run_while_an_actor_has_thousands_of_messages() -> None:
    """The dispatcher lets tasks and other actors in after 256 messages: nobody waits for a whole mailbox."""
    log: list[Any] = []
    noted: list[int] = []
    seen: list[int] = []
    async with open_system(slice_clock=frozen_clock) as system:
        busy = await system.spawn(lambda: Collect(log), id="busy")
        other = await system.spawn(lambda: Worker(), id="other")
        for n in range(5_000):
            busy.tell(n)

        def note(_: Worker) -> None:
            noted.append(len(log))

        other.tell(note)
        while len(log) < 5_000:
            seen.append(len(log))
            await trio.lowlevel.checkpoint()
    assert noted == [64]  # the other actor: after one turn
    assert set(seen) <= {0, *range(255, 5_000, 256)}  # a task: between two slices
    assert len(set(seen)) > 5_000 / 256 / 2  # trio shuffles: it may miss one slice, never two in a row


async def test_a_slice_ends_after_half_a_millisecond() -> None:
    """Slow plain handlers keep other tasks waiting for a slice of time, not for 256 of them."""
    now = [0.0]
    log: list[Any] = []

    def slow(worker: Worker) -> None:
        now[0] += 0.0003
        log.append(None)

    seen = []
    async with open_system(slice_clock=lambda: now[0]) as system:
        refs = [await system.spawn(Worker, id=str(n)) for n in range(100)]
        for ref in refs:
            ref.tell(slow)
        while len(log) < 100:
            seen.append(len(log))
            await trio.lowlevel.checkpoint()
    assert set(seen) <= set(range(0, 100, 2))
    assert len(set(seen)) >= 100 / 2 / 2  # trio shuffles: it may miss one slice, never two in a row


async def slices(*, others_take: float) -> list[int]:
    """How many messages of 0.3 ms actors handle between two turns of a task that takes so many seconds."""
    now = [0.0]
    log: list[float] = []

    def slow(worker: Worker) -> None:
        now[0] += 0.0003
        log.append(now[0])

    async with open_system(slice_clock=lambda: now[0]) as system:
        refs = [await system.spawn(Worker, id=str(n)) for n in range(300)]
        for ref in refs:
            ref.tell(slow)
        while len(log) < 300:
            now[0] += others_take
            await trio.lowlevel.checkpoint()
    ends = [index for index, (one, two) in enumerate(pairwise(log), 1) if two - one > others_take]
    return [end - begin for begin, end in pairwise([0, *ends, 300])]


async def test_actors_get_a_share_of_what_all_other_tasks_take() -> None:
    """Red if a thousand busy tasks leave the actors one short slice for each turn of theirs, and mailboxes fill."""
    first, *others, _ = await slices(others_take=0.008)
    assert first in (2, 4)  # half a millisecond, as nothing is known yet; trio shuffles, so there may be two in a row
    assert all(number >= 7 for number in others)  # two milliseconds


async def test_a_pass_of_the_loop_is_no_longer_than_a_slice_if_the_others_leave_room() -> None:
    """Red if actors take their half millisecond although others took most of it."""
    _, *others, _ = await slices(others_take=0.00035)
    assert others.count(1) > len(others) / 2  # trio shuffles: else the dispatcher had two turns in a row


async def test_a_slice_has_an_end_however_busy_the_others_are() -> None:
    """Red if the actors answer a pause of a second with one of their own."""
    assert max(await slices(others_take=1.0)) in range(34, 40)  # 10 ms, and perhaps a short slice right behind


async def test_on_turn_end_runs_once_for_many_messages() -> None:
    """Ten messages that wait together, each wanting the end of the turn, give one call, after the last."""
    log: list[Any] = []

    class Batch(Actor):
        def on_receive(self, message: Any) -> None:
            log.append(message)
            self.want_turn_end()

        def on_turn_end(self) -> None:
            log.append("end")

    async with open_system(slice_clock=frozen_clock) as system:
        ref = await system.spawn(Batch, id="a")
        for n in range(10):
            ref.tell(n)
        await settle(system)
        ref.tell("alone")
        await settle(system)
    assert log == [*range(10), "end", "alone", "end"]


async def test_on_turn_end_that_raises_is_a_failure() -> None:
    """It is a hook of the actor like any other: the supervisor restarts the actor."""
    ends: list[int] = []

    class Batch(Actor):
        def on_receive(self, message: Any) -> None:
            self.want_turn_end()

        def on_turn_end(self) -> None:
            ends.append(1)
            if len(ends) == 1:
                raise ValueError("first end")

    async with open_system() as system:
        ref = await system.spawn(Batch, id="a")
        ref.tell("one")
        await settle(system)
        ref.tell("two")
        await settle(system)
        assert [(a.restarts, a.last_error) for a in system.statistics().actors[1:]] == [(1, "ValueError")]
        assert dead_letters(system) == {}
    assert len(ends) == 2


@pytest.mark.parametrize("broken", ["when_gone", "dead letter", "timer", "stop_child"])
async def test_a_callback_that_raises_ends_the_system_in_order(broken: str) -> None:
    """It is nobody's handler, so it is raised from `open_system` after the ordered stop, not from trio's own run."""
    stopped: list[str] = []

    def bad(*_: object) -> None:
        raise LookupError(broken)

    class Last(Worker):
        def on_stop(self) -> None:
            stopped.append("last")

    def stop_child(worker: Worker) -> None:
        worker.start_child(ChildSpec("x", Worker))
        worker.stop_child("x", bad)

    async def run() -> None:
        async with open_system() as system:
            await system.spawn(Last, id="last")
            ref = await system.spawn(Worker, id="a")
            if broken == "when_gone":
                ref.when_gone(bad)
                ref.stop(block=False)
            elif broken == "dead letter":
                system.dead_letters.listen(bad)
                ref.stop(block=False)
                ref.tell("late")
            elif broken == "timer":
                system.timers.call_later(1, bad)
            else:
                ref.tell(stop_child)
            await trio.sleep_forever()

    with pytest.raises(LookupError, match=broken):
        await run()
    assert stopped == ["last"]
