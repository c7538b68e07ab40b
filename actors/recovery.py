"""`Recovery`: at the node's start, has the sessions started in which a crash left runs open, so that they get an end.

A session closes what it finds open before it takes a message (law S6); this actor only sees to it that nobody has to
come by for that. It finds them by the journal's own list, and ends when all of them have been started.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pykka
import trio

from ..runtime import Actor, Ref
from .errors import SessionQuarantined, StoreUnavailable
from .ids import SessionKey
from .journal import Journal
from .limits import Limits
from .messages import Locate

__all__ = ["Recovery"]

# Sessions that are started at a time: enough to share commits, few enough that those who come just now find room.
AT_ONCE = 16

# The first pause when the store gives nothing; doubled each time, up to `store_seconds`.
RETRY_SECONDS = 0.5


@attrs.frozen
class _Begin:
    """The note to itself: what takes its time has no place in `on_start`, which the node waits for."""


class Recovery(Actor):
    """Starts every session with an open run once."""

    def __init__(self, journal: Journal, registry: Ref[Any], limits: Limits) -> None:
        super().__init__()
        self._journal = journal
        self._registry = registry
        self._limits = limits

    def on_start(self) -> None:
        """Begin."""
        self.actor_ref.notify(_Begin())

    async def on_receive(self, message: Any) -> None:
        """Start them all, and end."""
        keys = iter(await self._unfinished())
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._start_each, keys)
        self.stop_now()

    async def _unfinished(self) -> Any:
        pause = RETRY_SECONDS
        while True:
            try:
                return await self._journal.unfinished()
            except StoreUnavailable:
                await trio.sleep(pause)
            pause = min(2 * pause, self._limits.store_seconds)

    async def _start_each(self, keys: Iterator[SessionKey]) -> None:
        for key in keys:
            pause = RETRY_SECONDS
            while not await self._start(key):
                await trio.sleep(pause)
                pause = min(2 * pause, self._limits.store_seconds)

    async def _start(self, key: SessionKey) -> bool:
        """Have a session started; False if the store was in the way."""
        try:
            await self._registry.ask_async(Locate(key))
        except StoreUnavailable:
            return False
        except (SessionQuarantined, pykka.ActorDeadError):
            pass  # its author's code fails, and is told wherever it is asked for; or the node stops
        return True
