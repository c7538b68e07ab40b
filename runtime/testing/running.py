"""Running a test of actors: on virtual time, and so that one seed gives one run (law A12).

Trio takes the tasks that are ready in an order of chance, so that nobody comes to rely on one. It has a switch, made
for its own property tests, that draws the order from a generator which can be seeded; the names are private, and this
is the only file that uses them.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import trio
import trio._core._run as scheduler
import trio.testing

__all__ = ["frozen_clock", "run", "seeded"]

T = TypeVar("T")

# Longer than anything an actor waits for in earnest. When nothing is due any more, virtual time jumps right to it.
LIMIT_SECONDS = 7 * 24 * 3600.0


def frozen_clock() -> float:
    """A `slice_clock` for `open_system` that stands still: only the number of messages ends a slice, so runs repeat."""
    return 0.0


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Have trio runs inside take their tasks in an order drawn from `seed`; gives a generator for everything else.

    For one run per seed the actors have to take their chance from there too, and the system its time slices from
    `frozen_clock`. Threads are outside of it.
    """
    allowed = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    state = scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    try:
        yield random.Random(seed)
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc]
        scheduler._r.setstate(state)


def run(
    async_fn: Callable[..., Awaitable[T]], *args: Any, seed: int | None = None, limit_seconds: float = LIMIT_SECONDS
) -> T:
    """Run a test on virtual time: the clock jumps to the next deadline whenever every task waits.

    With a `seed` trio's scheduler repeats itself too. A test that hangs ends at once, because nothing else is due.

    Raises:
        TimeoutError: it took longer than `limit_seconds` of virtual time; most often a deadlock.
    """

    async def main() -> T:
        with trio.move_on_after(limit_seconds):
            return await async_fn(*args)
        raise TimeoutError(f"{limit_seconds} s of virtual time passed, or nothing was left that could happen")

    with nullcontext() if seed is None else seeded(seed):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
