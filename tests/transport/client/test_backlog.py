"""What waits for the consumer: taken once, in order, and never more than was allowed."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.client.backlog import Backlog
from callboard.transport.protocol import Gap
from tests.transport.protocol.samples import record


def backlog(items: int = 4, size: int = 1_000) -> tuple[Backlog, list[str]]:
    """One, and what it told."""
    told: list[str] = []
    return Backlog(items, size, lambda: told.append("room")), told


async def test_items_are_taken_in_order_with_the_position_behind_them() -> None:
    """A gap has a position too: its end."""
    waiting, _ = backlog()
    waiting.put(record(1), ("e", 1), 10)
    waiting.put(Gap(from_seq=2, to_seq=5, reason="retention"), ("e", 5), 10)
    assert waiting.given is None
    assert await waiting.take() == record(1)
    assert waiting.given == ("e", 1)
    await waiting.take()
    assert waiting.given == ("e", 5)


async def test_taking_lets_others_run_and_takes_nothing_when_it_is_cancelled() -> None:
    """Also when something is there at once: a consumer behind a large backlog holds nobody up, and loses no item."""
    waiting, _ = backlog()
    waiting.put(record(1), ("e", 1), 10)
    with trio.CancelScope() as scope:
        scope.cancel()
        await waiting.take()
    assert scope.cancelled_caught
    assert waiting.given is None
    assert await waiting.take() == record(1)


async def test_full_means_full_until_half_is_taken() -> None:
    """So that a reader is not stopped and started for each record."""
    waiting, told = backlog(items=4)
    for seq in range(1, 5):
        assert not waiting.full
        waiting.put(record(seq), ("e", seq), 1)
    assert waiting.full
    await waiting.take()
    assert waiting.full
    assert told == []
    await waiting.take()
    assert not waiting.full
    assert told == ["room"]


async def test_a_few_large_ones_fill_it_too() -> None:
    """The bound is one of memory."""
    waiting, told = backlog(items=100, size=1_000)
    waiting.put(record(1), ("e", 1), 900)
    assert not waiting.full
    waiting.put(record(2), ("e", 2), 100)
    assert waiting.full
    await waiting.take()
    assert not waiting.full
    assert told == ["room"]


async def test_clearing_makes_room_and_moves_nobody() -> None:
    """What was not taken was not seen, so the consumer's position stays."""
    waiting, told = backlog(items=2)
    waiting.put(record(1), ("e", 1), 1)
    await waiting.take()
    for seq in (2, 3):
        waiting.put(record(seq), ("e", seq), 1)
    waiting.clear()
    assert (len(waiting), waiting.full, waiting.given, told) == (0, False, ("e", 1), ["room"])


async def test_what_is_there_can_be_taken_after_the_end() -> None:
    """Then it is the end, each time."""
    waiting, _ = backlog()
    waiting.put(record(1), ("e", 1), 1)
    waiting.close()
    assert await waiting.take() == record(1)
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await waiting.take()


async def test_the_end_reaches_all_that_wait() -> None:
    """However many tasks iterate."""
    waiting, _ = backlog()
    ended = []

    async def consume() -> None:
        with pytest.raises(trio.EndOfChannel):
            await waiting.take()
        ended.append(True)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        waiting.close()
    assert ended == [True] * 3


async def test_an_item_that_comes_as_its_taker_is_cancelled_is_seen_or_stays() -> None:
    """There is nothing between: no wait follows the taking."""
    for cancelled_first in (True, False):
        waiting, _ = backlog()
        seen: list[object] = []
        scope = trio.CancelScope()

        async def consume(
            waiting: Backlog = waiting, seen: list[object] = seen, scope: trio.CancelScope = scope
        ) -> None:
            with scope:
                seen.append(await waiting.take())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await trio.testing.wait_all_tasks_blocked()
            if cancelled_first:
                scope.cancel()
            waiting.put(record(1), ("e", 1), 1)
            scope.cancel()
        assert len(seen) + len(waiting) == 1
        assert waiting.given == (("e", 1) if seen else None)


@given(
    puts=st.lists(st.integers(min_value=0, max_value=4), max_size=30),
    patience=st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5]), min_size=1, max_size=8),
)
async def test_a_cancelled_wait_takes_nothing(puts: list[int], patience: list[float]) -> None:
    """Whenever consumers lose patience: each item is seen once, in order."""
    waiting, seen = Backlog(10_000, 10**9, lambda: None), []

    async def produce() -> None:
        seq = 0
        for count in puts:
            await trio.sleep(0.5)
            for _ in range(count):
                seq += 1
                waiting.put(record(seq), ("e", seq), 1)
        waiting.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        turn = 0
        while True:
            turn += 1
            with trio.move_on_after(patience[turn % len(patience)]):
                try:
                    item = await waiting.take()
                except trio.EndOfChannel:
                    break
                assert not isinstance(item, Gap)
                seen.append(item)
    assert seen == [record(seq) for seq in range(1, sum(puts) + 1)]
