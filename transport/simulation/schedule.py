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

__all__ = ["run_seeded"]

T = TypeVar("T")


def run_seeded(seed: int, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `async_fn` in trio: the same seed gives the same order of tasks and the same times. Not for threads."""
    module: Any = trio._core._run
    before = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r.getstate()
    module._ALLOW_DETERMINISTIC_SCHEDULING = True
    module._r.seed(seed)
    try:
        return trio.run(async_fn, *args, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        module._r.setstate(before[1])
