"""A4: an ask ends exactly once, and with the right one of its outcomes."""

import queue
from typing import Any

import pykka
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.runtime import (
    Actor,
    AskTimeout,
    ChildSpec,
    MailboxFull,
    Ref,
    Refusal,
    Reply,
    Strategy,
    Supervision,
    WouldBlock,
    open_system,
)
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.ask_model import Cancel, Drain, Kill, Model, Operation, Say
from tests.runtime.kit import Collect, Raise, Sleep, Worker, dead_letters, spawn_child

durations = st.integers(1, 40).map(lambda n: n * 100 + 7)
deadlines = st.none() | st.integers(0, 40).map(lambda n: n * 100 + 50)
says = st.builds(
    Say,
    kind=st.sampled_from(["plain", "slow", "slow", "slow", "crash", "slow crash", "refuse"]),
    duration=durations,
    ask=st.booleans(),
    deadline=deadlines,
)
operations = st.lists(
    st.one_of(says, says, says, st.just(Kill()), st.just(Drain()), st.builds(Cancel, st.integers(0, 11))), max_size=12
)


class Told(Exception):
    """What the handlers raise."""


class Asked(Actor):
    """Handles a numbered `Say` as it says."""

    def __init__(self, capacity: int, handled: list[int]) -> None:
        # An instance's own bound shadows the one of the class: the test draws it.
        self.mailbox_capacity = capacity  # type: ignore[misc]
        super().__init__()
        self.handled = handled

    def on_receive(self, message: tuple[int, Say]) -> Any:
        number, said = message
        self.handled.append(number)
        match said.kind:
            case "crash":
                raise Told(number)
            case "refuse":
                raise Refusal(number)
            case "slow" | "slow crash":
                return self._slow(number, said)
        return number

    async def _slow(self, number: int, said: Say) -> int:
        await trio.sleep(said.duration)
        if said.kind == "slow crash":
            raise Told(number)
        return number


async def outcome_of(ref: Ref[Any], number: int, said: Say, scope: trio.CancelScope) -> str | None:
    """Say it, and name how it ended; None for a tell that was taken."""
    outcome: str | None = None
    with scope:
        try:
            if said.ask:
                answer = await ref.ask_async((number, said), timeout_seconds=said.deadline)
                outcome = "answer" if answer == number else f"another's answer: {answer}"
            else:
                ref.tell((number, said))
        except pykka.ActorDeadError:
            outcome = "dead"
        except MailboxFull:
            outcome = "full"
        except AskTimeout:
            outcome = "timeout"
        except Told as error:
            outcome = "raised" if error.args == (number,) else f"another's error: {error}"
        except Refusal as error:
            outcome = "refused" if error.args == (number,) else f"another's refusal: {error}"
    if scope.cancelled_caught:
        outcome = "cancelled"
    return outcome


# A4
@settings(max_examples=300)
@given(operations=operations, capacity=st.integers(1, 4), restarts=st.integers(0, 3), schedule=st.random_module())
async def test_every_ask_ends_as_the_model_says(
    operations: list[Operation], capacity: int, restarts: int, schedule: object
) -> None:
    """Answers, failures, refusals, deaths, full mailboxes, deadlines and cancellations, in one exact model."""
    model = Model(capacity, restarts)
    model.run(operations)

    outcomes: dict[int, list[str]] = {}
    handled: list[int] = []
    scopes: dict[int, trio.CancelScope] = {}
    async with open_system(slice_clock=frozen_clock) as system, trio.open_nursery() as nursery:
        supervision = Supervision(Strategy.DYNAMIC, intensity=restarts, period_seconds=10**9)
        _, ref = await spawn_child(system, supervision, lambda: Asked(capacity, handled))

        async def speak(number: int, said: Say) -> None:
            outcome = await outcome_of(ref, number, said, scopes[number])
            if outcome is not None:
                outcomes.setdefault(number, []).append(outcome)

        for number, operation in enumerate(operations):
            await trio.sleep_until((number + 1) * 1_000)
            match operation:
                case Say():
                    scopes[number] = trio.CancelScope()
                    nursery.start_soon(speak, number, operation)
                case Kill():
                    ref.kill()
                case Drain():
                    ref.stop(block=False)
                case Cancel(other) if other in scopes:
                    scopes[other].cancel()
            await settle(system)
        await trio.sleep(100_000)
        assert outcomes == {number: [outcome] for number, outcome in model.outcomes.items()}
        assert handled == model.handled
        assert {reason.value: n for reason, n in dead_letters(system).items()} == model.letters
        assert ref.is_alive() == model.alive


# A4
@given(
    deferred=st.lists(st.sampled_from(["answer", "raise", "twice", "gone", "never"]), max_size=8),
    end=st.sampled_from(["drain", "kill", "crash", "stay"]),
    schedule=st.random_module(),
)
async def test_a_deferred_reply_ends_once(deferred: list[str], end: str, schedule: object) -> None:
    """Answered later, given up by the asker, or dropped with the incarnation that promised it."""
    held: dict[int, Reply[Any]] = {}
    ends: dict[int, str] = {}

    def promise(number: int) -> Any:
        def handler(worker: Worker) -> None:
            held[number] = worker.defer_reply()

        return handler

    async with open_system(slice_clock=frozen_clock) as system, trio.open_nursery() as nursery:
        ref = await system.spawn(Worker, id="a")
        scopes: dict[int, trio.CancelScope] = {}

        async def ask(number: int) -> None:
            with trio.CancelScope() as scopes[number]:
                try:
                    ends[number] = f"answer {await ref.ask_async(promise(number))}"
                except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
                    ends[number] = type(error).__name__
            ends.setdefault(number, "cancelled")

        for number in range(len(deferred)):
            nursery.start_soon(ask, number)
        await settle(system)
        assert ends == {}
        expected: dict[int, str] = {}
        for number, what in enumerate(deferred):
            reply = held[number]
            if what in ("answer", "twice"):
                reply.set(number)
                expected[number] = f"answer {number}"
            if what == "twice":
                with pytest.raises(queue.Full, match="answered already"):
                    reply.set("again")
            if what == "raise":
                reply.set_exception(Told(number))
                expected[number] = "Told"
            if what == "gone":
                scopes[number].cancel()
                await settle(system)
                assert reply.abandoned
                reply.set("too late")  # dropped
                expected[number] = "cancelled"
        await settle(system)
        assert ends == expected
        if end == "drain":
            ref.stop(block=False)
        elif end == "kill":
            ref.kill()
        elif end == "crash":
            ref.tell(Raise(Told("crash")))
        await settle(system)
        reason = {"drain": "ActorDeadError", "kill": "Killed", "crash": "Told"}.get(end)
        if reason is not None:
            expected |= {number: reason for number, what in enumerate(deferred) if what == "never"}
        assert ends == expected
        nursery.cancel_scope.cancel()


async def test_an_ask_of_a_dead_actor_fails_at_once() -> None:
    """No time passes; awaited, as a future, and by `submit`."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        assert await ref.stop(block=False) is True
        assert await ref.stop(block=False) is False
        for ask in (lambda: ref.ask_async("x"), lambda: ref.submit("x"), lambda: ref.ask("x", block=False)):
            with pytest.raises(pykka.ActorDeadError, match="not found"):
                await ask()
        assert trio.current_time() == 0


async def test_an_ask_waits_through_restarts_and_ends_when_the_supervisor_gives_up() -> None:
    """While the actor may come back its asks wait; given up, they all fail in that moment."""

    class Slow(Worker):
        tries = 0

        async def on_start(self) -> None:  # type: ignore[override]
            Slow.tries += 1
            await trio.sleep(1)
            if Slow.tries > 1:
                raise ValueError(f"start {Slow.tries}")

    ended: list[tuple[str, float]] = []
    async with open_system() as system, trio.open_nursery() as nursery:
        log: list[Any] = []
        supervision = Supervision(Strategy.DYNAMIC, intensity=2, period_seconds=60)
        _, ref = await spawn_child(system, supervision, Slow, log=log)

        async def ask() -> None:
            try:
                await ref.ask_async("question")
            except pykka.ActorDeadError as error:
                ended.append((str(error), trio.current_time()))

        await trio.sleep(2)
        ref.tell(Raise(ValueError("crash")))
        nursery.start_soon(ask)
    assert ended == [("Slow (system/parent/child) stopped before it handled the message", 4.0)]
    assert [entry[:2] for entry in log] == [("given up", "child")]


async def test_blocking_calls_raise_on_the_trio_thread() -> None:
    """`ask(block=True)`, `stop(block=True)` and `future.get()` name what to use instead, and nothing was sent."""
    async with open_system() as system:
        log: list[Any] = []
        ref = await system.spawn(lambda: Worker(log), id="a")
        with pytest.raises(WouldBlock, match=r"use `await ref\.ask_async"):
            ref.ask("x")
        with pytest.raises(WouldBlock, match="await stop\\(block=False\\)"):
            ref.stop()
        future = ref.ask(Sleep(1, "late"), block=False)
        with pytest.raises(WouldBlock, match="use `await future`"):
            future.get()
        assert await future == "late"
        assert future.get() == "late"  # it is there now
        assert log == [("begin", "late", 0), ("end", "late", 1)]


async def test_futures_are_awaited_and_asked_again() -> None:
    """A future of `ask(block=False)` gives its value, or raises its exception, each time; several may wait."""
    got: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        future = ref.ask(Sleep(1, "value"), block=False)

        async def wait() -> None:
            got.append(await future)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
        assert got == [await future, future.get()] == ["value", "value"]
        failed = ref.ask(Raise(Told("no")), block=False)
        for _ in range(2):
            with pytest.raises(Told):
                await failed


async def test_giving_up_is_for_all_who_wait() -> None:
    """One of two waiters leaving changes nothing; the last one leaving ends the ask, also for whoever comes later."""
    async with open_system() as system, trio.open_nursery() as nursery:
        log: list[Any] = []
        ref = await system.spawn(lambda: Worker(log), id="a")
        future = ref.ask(Sleep(10, "work"), block=False)

        async def wait(seconds: float) -> None:
            with trio.move_on_after(seconds):
                await future

        nursery.start_soon(wait, 1)
        nursery.start_soon(wait, 2)
        await trio.sleep(1.5)
        assert not future.done
        await trio.sleep(1)
        assert log == [("begin", "work", 0), ("cancelled", "work", 2)]
        with pytest.raises(AskTimeout, match="gave up waiting"):
            await future


async def test_what_an_asker_sets_itself_does_not_break_the_actor() -> None:
    """Pykka's futures can be set by anyone; the actor's answer then comes too late, and the actor goes on."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        future = ref.ask("question", block=False)
        future.set("my own")
        await settle(system)
        assert await future == "my own"
        assert await ref.ask_async("next") == "next"
        assert dead_letters(system) == {}


async def test_submit_waits_for_room_and_gives_the_future() -> None:
    """The answer may be awaited later; the question was in the mailbox when `submit` returned."""

    class Narrow(Worker):
        mailbox_capacity = 1

    async with open_system() as system:
        ref = await system.spawn(Narrow, id="a")
        ref.tell(Sleep(3))
        await settle(system)
        first = await ref.submit("first")
        assert trio.current_time() == 0
        second = await ref.submit("second")
        assert trio.current_time() == 3
        assert [await second, await first] == ["second", "first"]


async def test_a_refusal_is_an_answer() -> None:
    """The asker gets it, the actor lives on; any other exception is a failure for the supervisor and an answer too."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        with pytest.raises(Refusal, match="not today"):
            await ref.ask_async(Raise(Refusal("not today")))
        with pytest.raises(Told):
            await ref.ask_async(Raise(Told("broken")))
        await settle(system)  # the asker may be told before the supervisor has decided
        assert [a.restarts for a in system.statistics().actors] == [0, 1]


async def test_an_actor_is_asked_through_a_chain_of_children() -> None:
    """An actor asks its own child from a handler while the child crashes on another message: the ask waits it out."""
    async with open_system() as system:
        parent = await system.spawn(Worker, id="parent")

        async def ask_child(worker: Worker) -> Any:
            child = worker.start_child(ChildSpec("child", Worker))
            child.tell(Raise(ValueError("crash")))
            return await child.ask_async("question")

        assert await parent.ask_async(ask_child) == "question"
        assert trio.current_time() == 0


async def test_what_an_ask_sets_going_goes_on_after_it() -> None:
    """An ask does a slice of the dispatcher's work itself; what is left over then is not forgotten."""
    async with open_system(slice_clock=frozen_clock) as system:
        log: list[Any] = []
        collect = await system.spawn(lambda: Collect(log), id="collect")
        worker = await system.spawn(Worker, id="worker")
        await settle(system)

        def tell_many(_: Worker) -> str:
            for number in range(1_000):
                collect.tell(number)
            return "told"

        assert await worker.ask_async(tell_many) == "told"
        assert 0 < len(log) < 1_000
        await settle(system)
        assert log == list(range(1_000))


async def test_an_ask_that_finds_no_room_leaves_everything_at_work() -> None:
    """It raises, and the next message to anybody is handled as ever."""

    class Narrow(Worker):
        mailbox_capacity = 1

    async with open_system() as system:
        narrow = await system.spawn(Narrow, id="narrow")
        log: list[Any] = []
        collect = await system.spawn(lambda: Collect(log), id="collect")
        narrow.tell(Sleep(1))
        await settle(system)
        narrow.tell("waits")
        with pytest.raises(MailboxFull):
            await narrow.ask_async("no room")
        collect.tell("next")
        await settle(system)
        assert log == ["next"]
