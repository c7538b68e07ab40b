"""Timers against a model with a sorted list, in virtual time."""

from functools import partial

import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Timer, open_system
from callboard.runtime.testing import settle

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("sleep"), st.integers(0, 10)),
    ),
    max_size=40,
)


@given(steps=steps)
async def test_timers_fire_once_in_order_unless_cancelled(steps: list[tuple[str, int]]) -> None:
    """By time, equal times in the order they were set; the count is of those to come."""
    fired: list[tuple[float, int]] = []
    pending: dict[int, float] = {}
    timers: list[Timer] = []
    expected: list[tuple[float, int]] = []

    def fire(name: int) -> None:
        fired.append((trio.current_time(), name))

    async with open_system() as system:
        await settle(system)
        for step, number in steps:
            if step == "set":
                name = len(timers)
                timers.append(system.timers.call_later(number, partial(fire, name)))
                pending[name] = trio.current_time() + number
            elif step == "cancel" and number < len(timers):
                timers[number].cancel()
                pending.pop(number, None)
            elif step == "sleep":
                await trio.sleep(number)
            await settle(system)
            due = sorted((when, name) for name, when in pending.items() if when <= trio.current_time())
            expected += due
            for _, name in due:
                del pending[name]
            assert len(system.timers) == len(pending)
            assert fired == expected
    await trio.sleep(100)
    assert fired == expected  # none fires after the end


async def test_a_timer_of_no_seconds_that_sets_itself_again_lets_others_run() -> None:
    """Each round has its checkpoint: the loop goes on, and the system can be closed."""
    rounds: list[float] = []
    async with open_system() as system:

        def again() -> None:
            rounds.append(trio.current_time())
            system.timers.call_later(0, again)

        again()
        for _ in range(20):
            await trio.lowlevel.checkpoint()
    assert 5 < len(rounds) < 100
    assert set(rounds) == {0}


async def test_cancelled_timers_are_swept_out() -> None:
    """Ten thousand deadlines that were all met do not stay in memory until their time."""
    async with open_system() as system:
        for _ in range(10_000):
            system.timers.call_later(3_600, lambda: None).cancel()
        assert len(system.timers) == 0
        assert len(system.timers._heap) < 200


async def test_a_nearer_timer_wakes_the_sleeper() -> None:
    """One that is set while another is slept for fires at its own time."""
    fired: list[float] = []
    async with open_system() as system:
        system.timers.call_later(100, lambda: fired.append(trio.current_time()))
        await trio.sleep(1)
        system.timers.call_later(2, lambda: fired.append(trio.current_time()))
        await trio.sleep(200)
    assert fired == [3, 100]
