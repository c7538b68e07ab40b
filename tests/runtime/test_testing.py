"""The test kit itself: what it records, when it fails, and that its faults come when they are ordered."""

import math
from typing import Any

import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import (
    Actor,
    ActorExited,
    AskTimeout,
    ChildSpec,
    DeathReason,
    Strategy,
    Supervision,
    open_system,
)
from callboard.runtime.testing import (
    Crash,
    CrashStart,
    Delay,
    Drop,
    InjectedFault,
    Probe,
    faulty,
    frozen_clock,
    inject,
    run,
    seeded,
    settle,
)
from tests.runtime.kit import Parent, Sleep, Worker, dead_letters, spawn_child


async def test_a_probe_gives_its_messages_in_order() -> None:
    """Of the kind that is expected, or with an error that shows what came instead."""
    async with open_system() as system:
        probe = await Probe.spawn(system)
        probe.ref.tell(1)
        probe.ref.tell("two")
        assert await probe.expect(int) == 1
        with pytest.raises(AssertionError, match="system/probe expected int and got 'two'"):
            await probe.expect(int)
        probe.ref.tell(3)
        with pytest.raises(AssertionError, match="expected int or str for which `where` holds and got 3"):
            await probe.expect((int, str), lambda message: message == 4)
        assert trio.current_time() == 0
        with pytest.raises(AssertionError, match=r"system/probe got no object within 3\.0 s"):
            await probe.expect()
        assert trio.current_time() == 3
        for message in (1, 2, "three"):
            probe.ref.tell(message)
        assert await probe.fish(str) == "three"
        probe.ref.tell(1)
        with pytest.raises(AssertionError, match=r"got no str within 2 s, but \[1\]"):
            await probe.fish(str, within_seconds=2)
        assert trio.current_time() == 5
        assert probe.messages == [1, "two", 3, 1, 2, "three", 1]


async def test_a_probe_waits_for_what_comes_later() -> None:
    """In the moment in which it comes; and it fails in the moment in which what was not expected comes."""
    async with open_system() as system:
        probe = await Probe.spawn(system)
        system.timers.call_later(2, lambda: probe.ref.tell("late"))
        assert await probe.expect(str) == "late"
        assert trio.current_time() == 2
        await probe.expect_nothing(10)
        assert trio.current_time() == 12
        system.timers.call_later(2, lambda: probe.ref.tell("late"))
        with pytest.raises(AssertionError, match="expected nothing and got 'late'"):
            await probe.expect_nothing(10)
        assert trio.current_time() == 14


async def test_a_probe_answers_as_it_is_told() -> None:
    """By the test, each ask once; or by itself, with what raises as the refusal."""
    async with open_system() as system:
        probe = await Probe.spawn(system)
        question = probe.ref.ask("question", block=False)
        other = probe.ref.ask("other", block=False)
        assert await probe.expect(str) == "question"
        probe.answer(42)
        assert await question == 42
        with pytest.raises(AssertionError, match="was no ask, or has been answered"):
            probe.answer(43)
        await probe.expect(str)
        probe.refuse(LookupError("no"))
        with pytest.raises(LookupError, match="no"):
            await other
        probe.ref.tell("told")
        await probe.expect(str)
        with pytest.raises(AssertionError, match="was no ask"):
            probe.answer()
        doubling = await Probe.spawn(system, "doubling", answer=lambda message: 2 // message)
        assert await doubling.ref.ask_async(1) == 2
        with pytest.raises(ZeroDivisionError):
            await doubling.ref.ask_async(0)
        assert doubling.messages == [1, 0]


async def test_a_probe_hears_of_a_death() -> None:
    """In order with the messages."""
    async with open_system() as system:
        probe = await Probe.spawn(system)
        ref = await system.spawn(Worker, id="a")
        probe.watch(ref)
        ref.stop(block=False)
        assert (await probe.expect(ActorExited)).ref is ref


@given(
    faults=st.lists(
        st.one_of(
            st.builds(Crash, on=st.integers(1, 6), after=st.booleans()),
            st.builds(Delay, seconds=st.integers(1, 5), on=st.integers(1, 6)),
            st.builds(Drop, on=st.integers(1, 6)),
        ),
        max_size=4,
    ),
    way=st.sampled_from(["factory", "spec", "class"]),
)
async def test_faults_come_when_they_are_ordered(faults: list[Any], way: str) -> None:
    """The n-th message, through restarts; the first fault named has it, and all others are handled as ever."""
    handled: list[int] = []

    class Counting(Actor):
        def on_receive(self, message: int) -> int:
            handled.append(message)
            return message

    expected_handled: list[int] = []
    outcomes: list[str] = []
    now = 0.0
    for number in range(1, 8):
        fault = next((each for each in faults if each.on == number), None)
        match fault:
            case Crash(after=after):
                outcomes.append("fault")
                expected_handled += [number] if after else []
            case Delay(seconds=seconds):
                now += seconds
                outcomes.append(str(number))
                expected_handled.append(number)
            case Drop():
                now += 60
                outcomes.append("timeout")
            case _:
                outcomes.append(str(number))
                expected_handled.append(number)
    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision(Strategy.DYNAMIC, intensity=100)), id="parent")
        spec = ChildSpec("child", Counting)
        if way == "factory":
            spec = ChildSpec("child", faulty(Counting, *faults))
        elif way == "spec":
            spec = faulty(spec, *faults)
        got = []
        with inject(Counting, *faults if way == "class" else ()):
            ref = await parent.ask_async(spec)
            for number in range(1, 8):
                try:
                    got.append(str(await ref.ask_async(number, timeout_seconds=60)))
                except InjectedFault:
                    got.append("fault")
                except AskTimeout:
                    got.append("timeout")
        assert got == outcomes
        assert handled == expected_handled
        assert trio.current_time() == now
        letters = dead_letters(system)
        assert letters.get(DeathReason.CRASHED, 0) == outcomes.count("fault")
        assert letters.get(DeathReason.DROPPED, 0) == outcomes.count("timeout")
    assert Counting.on_receive.__qualname__.endswith("Counting.on_receive")


async def test_faults_choose_their_messages_and_errors() -> None:
    """Only those for which `where` holds are counted; async handlers are waited for; a hang ends with the asker."""
    log: list[Any] = []
    faults = (
        Crash(2, where=lambda message: message == "x", error=lambda: LookupError("chosen")),
        Crash(1, where=lambda message: isinstance(message, Sleep), after=True),
        Delay(math.inf, where=lambda message: message == "y"),
    )
    async with open_system() as system:
        _, ref = await spawn_child(system, Supervision(), faulty(lambda: Worker(log), *faults))
        assert [await ref.ask_async(message) for message in ("x", "z")] == ["x", "z"]
        with pytest.raises(LookupError, match="chosen"):
            await ref.ask_async("x")
        with pytest.raises(InjectedFault):
            await ref.ask_async(Sleep(2, "slept"))
        assert log[-1] == ("end", "slept", 2)
        with pytest.raises(AskTimeout):
            await ref.ask_async("y", timeout_seconds=5)
        assert await ref.ask_async("y") == "y"


async def test_a_start_fails_when_it_is_ordered() -> None:
    """The second one is the first restart; the first one is raised at whoever spawns."""
    async with open_system() as system:
        _, ref = await spawn_child(system, Supervision(), faulty(Worker, CrashStart(), CrashStart(3)))
        ref.kill()
        await settle(system)
        assert [a.restarts for a in system.statistics().actors if a.path == ref.path] == [3]
        with inject(Parent, CrashStart(1)), pytest.raises(InjectedFault):
            await system.spawn(lambda: Parent(Supervision()), id="parent 2")
        assert "on_start" not in vars(Parent)
        await system.spawn(lambda: Parent(Supervision()), id="parent 2")


async def test_faults_are_for_actors_of_this_kernel() -> None:
    """A thread cannot be delayed by a coroutine; the message names what was made."""
    with pytest.raises(TypeError, match=r"faults are for actors of callboard, not for 3"):
        faulty(lambda: 3, Crash())()  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="'on' must be >= 1: 0"):
        Crash(0)


def test_a_run_on_virtual_time_that_hangs_ends() -> None:
    """At once, as nothing else is due; what it returns and raises comes through."""

    async def double(number: int) -> int:
        await trio.sleep(3600)
        return 2 * number

    assert run(double, 4) == 8
    with pytest.raises(TimeoutError, match=r"60\.0 s of virtual time passed"):
        run(trio.sleep_forever, limit_seconds=60.0)


def test_one_seed_gives_one_run() -> None:
    """The order in which trio takes ready tasks; other seeds give others, and nothing of it is left behind."""

    async def order() -> list[int]:
        taken: list[int] = []

        async def take(number: int) -> None:
            taken.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(take, number)
        return taken

    runs = [[run(order, seed=seed) for seed in range(20)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len({tuple(each) for each in runs[0]}) > 10
    with seeded(5) as rng:
        first = (trio.run(order), rng.random())
    with seeded(5) as rng:
        assert (trio.run(order), rng.random()) == first


def test_the_frozen_clock_stands_still() -> None:
    """Or time slices would end by the machine's speed."""
    assert frozen_clock() == frozen_clock()


def test_a_dropped_ask_ends_with_the_actor() -> None:
    """Also one without a deadline: law A4 holds for what is lost, too."""

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(faulty(Worker, Drop()), id="a")
            question = ref.ask("lost", block=False)
            await settle(system)
            ref.stop(block=False)
            with pytest.raises(pykka.ActorDeadError):
                await question

    run(main)
