"""One seed gives one run: trio's own choices, drawn from the seed, on a clock that jumps.

Trio runs the tasks that are ready in an order of its own drawing, and can be made to draw from a generator that is
given a seed; the names for it are private, and this is the only file of the product that uses them. Knows nothing of
what is run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio._core._run
import trio.testing

__all__ = ["Spinning", "run_seeded"]

T = TypeVar("T")

# Some hundred times what a run takes that is well; whoever spins without letting time pass would spin for ever.
MOST_STEPS = 500_000


class Spinning(Exception):
    """Tasks ran on and on, and time stood still."""


class _Count(trio.abc.Instrument):
    def __init__(self) -> None:
        self.steps = 0
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == MOST_STEPS:
            self.scope.cancel()


def run_seeded(seed: int, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `async_fn` in trio: the same seed gives the same order of tasks and the same times. Not for threads.

    Raises:
        Spinning: it does not come to an end.
    """
    module: Any = trio._core._run
    before = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r.getstate()
    module._ALLOW_DETERMINISTIC_SCHEDULING = True
    module._r.seed(seed)
    try:
        count = _Count()

        async def bounded() -> T:
            with count.scope:
                return await async_fn(*args)
            raise Spinning(f"{MOST_STEPS:,} steps, and no end")

        return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[count])
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        module._r.setstate(before[1])
