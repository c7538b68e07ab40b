"""Timers of one system: a heap and a single task, so that ten thousand deadlines cost no ten thousand tasks.

Callbacks run on the trio thread in the timers' task, never inside a handler; they must neither block nor raise (most
`notify` an actor).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import trio

__all__ = ["Timer", "Timers"]


class Timer:
    """A callback to be called once at `when`, in the loop's seconds."""

    __slots__ = ("_owner", "callback", "when")

    def __init__(self, when: float, callback: Callable[[], None], owner: Timers) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback
        self._owner = owner

    def cancel(self) -> None:
        """Never call it; harmless when it was called already."""
        if self.callback is not None:
            self.callback = None
            self._owner._cancelled()


class Timers:
    """All timers of one system. `call` runs a callback, and sees to what it raises."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._heap: list[tuple[float, int, Timer]] = []
        # Equal times fire in the order in which they were set, which one seed must repeat (law A12).
        self._order = itertools.count()
        self._dead = 0
        self._sleeper: trio.CancelScope | None = None

    @trio.lowlevel.enable_ki_protection
    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `seconds` from now, unless the timer is cancelled before."""
        timer = Timer(trio.current_time() + seconds, callback, self)
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))
        if self._heap[0][2] is timer and self._sleeper is not None:
            self._sleeper.cancel()
        return timer

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def _cancelled(self) -> None:
        self._dead += 1
        # Cancelled timers stay in the heap until their time; more dead than living ones are swept out.
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Call the timers as they fall due, for ever."""
        while True:
            now = trio.current_time()
            # A callback that sets a timer of zero seconds gets its turn in the next round, after a checkpoint.
            newest = next(self._order)
            while self._heap and self._heap[0][0] <= now and self._heap[0][1] < newest:
                timer = heapq.heappop(self._heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._dead -= 1
                else:
                    self._call(callback)
            with trio.CancelScope() as self._sleeper:
                await trio.sleep_until(self._heap[0][0] if self._heap else float("inf"))
            self._sleeper = None
