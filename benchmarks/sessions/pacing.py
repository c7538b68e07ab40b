"""Waking at times that were fixed beforehand: what an open-loop load is made of, the same for callboard and its peer.

An event's latency counts from the time at which it was meant to be said, also where its sayer came to it late. Times
are seconds of the machine's monotonic clock, which server and load generator share.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import trio

__all__ = ["Order", "Pacemaker"]

# Sayers have their moments on a grid of so many seconds: those of one moment are woken together.
GRID_SECONDS = 0.001


class Order:
    """What a sayer is told: ``pace RATE COUNT START INDEX``, `rate` a second, the first one soon after `start`."""

    def __init__(self, text: str) -> None:
        _, rate, count, start, index = text.split()
        self.rate, self.count, self.start, self.index = float(rate), int(count), float(start), int(index)

    def moments(self) -> list[float]:
        """When each is to be said. Sayers are spread over the first interval by their index."""
        slots = max(1, int(1 / self.rate / GRID_SECONDS))
        first = self.start + self.index % slots * GRID_SECONDS
        return [first + number / self.rate for number in range(self.count)]


class Pacemaker:
    """Wakes any number of tasks with one timer, so that waiting costs the measured server little."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, trio.lowlevel.Task]] = []
        self._order = itertools.count()
        self._sleeper = trio.CancelScope()
        self._began = False

    async def moments(self, order: Order) -> AsyncIterator[float]:
        """Give each moment of an order when it has come, or at once where it has passed."""
        for moment in order.moments():
            await self._until(moment)
            yield moment

    async def _until(self, moment: float) -> None:
        if time.perf_counter() >= moment:
            await trio.lowlevel.checkpoint()
            return
        if not self._began:
            self._began = True
            trio.lowlevel.spawn_system_task(self._wake)
        entry = (moment, next(self._order), trio.lowlevel.current_task())
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._sleeper.deadline = min(self._sleeper.deadline, _on_trios_clock(moment))

        def cancelled(_: Any) -> trio.lowlevel.Abort:
            self._heap.remove(entry)
            heapq.heapify(self._heap)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(cancelled)

    async def _wake(self) -> None:
        while True:
            deadline = _on_trios_clock(self._heap[0][0]) if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleeper:
                await trio.sleep_forever()
            now = time.perf_counter()
            while self._heap and self._heap[0][0] <= now:
                trio.lowlevel.reschedule(heapq.heappop(self._heap)[2])


def _on_trios_clock(moment: float) -> float:
    return trio.current_time() + moment - time.perf_counter()
