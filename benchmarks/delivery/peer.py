"""What all servers of this benchmark that are Python share: their task, the start together, the collector's tuning."""

from __future__ import annotations

import asyncio
import gc
import sys

import attrs

from ..worker import TUNED_THRESHOLDS

__all__ = ["Gate", "Task", "arguments", "serving"]


@attrs.frozen
class Task:
    """What a server is to do: so many events to each of so many clients, `burst` of them between two pauses."""

    events: int
    clients: int
    burst: int


def arguments() -> Task:
    """The server's task, from its command line."""
    return Task(*map(int, sys.argv[1:4]))


def serving(port: int) -> None:
    """Say where this serves, and tune the collector as `callboard serve` does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*TUNED_THRESHOLDS)
    print(f"port {port}", flush=True)


class Gate:
    """Holds handlers back until all have come, so that all of them work at the same time. For asyncio."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self._open = asyncio.Event()

    async def wait(self) -> None:
        """Wait until all have called this."""
        self._missing -= 1
        if self._missing <= 0:
            self._open.set()
        await self._open.wait()
