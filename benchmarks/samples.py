"""One timed stretch of work: how much, and how long it took on both clocks.

A workload starts a `Stopwatch` when its actors stand, and takes the sample when the last message has been handled, so
that what waits in a queue is never counted as done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["Sample", "Stopwatch", "resident_kib"]


@attrs.frozen
class Sample:
    """What one measurement saw.

    `count` units of work took `wall_seconds`, in which the process (all its threads) used `cpu_seconds`. A measurement
    that is no rate, such as memory, gives its own `value`.
    """

    count: int
    wall_seconds: float
    cpu_seconds: float
    value: float | None = None
    details: Mapping[str, float] = attrs.field(factory=dict)
    """What else was seen and stands beside the figure, such as how much a message held."""


class Stopwatch:
    """Runs from its creation on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def sample(self, count: int, value: float | None = None) -> Sample:
        """The time since the start, for `count` units of work."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return Sample(count, wall, cpu, value)


def resident_kib() -> float:
    """This process's resident memory in KiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
