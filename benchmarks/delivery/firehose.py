"""The app that callboard serves in this benchmark: one agent that says as much as it is told to.

Told ``events burst clients`` it waits until so many of its kind have begun, and then says `events` events, `burst` of
them at a time: between two bursts it lets go of the loop, as one that waits for its model's next words does.
"""

from __future__ import annotations

from typing import Any

import trio

from callboard import Agent, App

from .payload import TYPE, text_of

__all__ = ["board"]


class Gate:
    """Holds agents back until all have come, so that all of them work at the same time."""

    def __init__(self) -> None:
        self._waiting = 0
        self._open = trio.Event()

    async def wait_for(self, number: int) -> None:
        """Wait until this was called `number` times."""
        self._waiting += 1
        if self._waiting < number:
            await self._open.wait()
        else:
            self._open.set()


gate = Gate()


class Firehose(Agent):
    """Says what it is told to, as fast as it may."""

    async def run(self, message: Any) -> None:
        """Say it."""
        events, burst, clients = map(int, message.text.split())
        await gate.wait_for(clients)
        data = {"text": text_of(message.user)}
        for _ in range(events // burst):
            for _ in range(burst):
                await self.emit(TYPE, data)
            await trio.lowlevel.checkpoint()


board = App(agents={"firehose": Firehose})
