"""One run at a worker: what was said of it and is not acknowledged yet, which is said again on the next connection.

No I/O: frames go out by a function that it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs
import trio

from ...actors import EventRefused

__all__ = ["Work", "WorkLimits"]


@attrs.frozen
class WorkLimits:
    """What the node said in its welcome: how much may be without an acknowledgement, and what an event may be."""

    window: int
    window_bytes: int
    event_bytes: int
    depth: int


class Work:
    """One attempt at a run.

    Args:
        run: its id.
        attempt: counts from 1.
        limits: the node's.
        put: has a frame sent, if there is a connection.
    """

    def __init__(self, run: str, attempt: int, limits: WorkLimits, put: Callable[[bytes], None]) -> None:
        self.run = run
        self.attempt = attempt
        self.limits = limits
        self.scope = trio.CancelScope()
        self._put = put
        self._n = 0
        self._settled = 0
        self._unsettled: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._refused: dict[int, str] = {}
        self._changed = trio.Event()

    @property
    def frames(self) -> tuple[bytes, ...]:
        """What is to be said again on a new connection, in order."""
        return tuple(self._unsettled.values())

    async def say(self, make: Callable[[int], bytes]) -> int:
        """Say the next thing, which `make` encodes with its number; waits for room only. Gives the number."""
        while len(self._unsettled) >= self.limits.window or self._bytes > self.limits.window_bytes:
            await self._changed.wait()
        self._n += 1
        frame = self._unsettled[self._n] = make(self._n)
        self._bytes += len(frame)
        self._put(frame)
        n = self._n
        await trio.lowlevel.checkpoint()
        return n

    def settle(self, n: int) -> None:
        """The node has all up to the n-th."""
        self._settled = max(self._settled, n)
        while self._unsettled and next(iter(self._unsettled)) <= n:
            self._bytes -= len(self._unsettled.popitem(last=False)[1])
        self._wake()

    def refuse(self, n: int, message: str) -> None:
        """The node did not record the n-th."""
        self._refused[n] = message

    async def wait_settled(self, n: int) -> None:
        """Wait until the n-th is durable. Raises EventRefused if it was not recorded."""
        while self._settled < n:
            await self._changed.wait()
        if n in self._refused:
            raise EventRefused(self._refused[n])

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
