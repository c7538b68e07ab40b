"""The app that callboard serves here: an agent that says what it is told to, and a session that can fall."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import trio

from callboard import Agent, App, Session

from ..delivery.payload import TYPE, WORDS
from .pacing import Order, Pacemaker

__all__ = ["board"]

pacemaker = Pacemaker()


class Sayer(Agent):
    """Told ``pace …`` it says events at their moments, ``say N`` N events at once, ``flood S`` as many as fit."""

    async def run(self, message: Any) -> None:
        """Say it."""
        match message.text.split()[0]:
            case "pace":
                async for moment in pacemaker.moments(Order(message.text)):
                    await self._speak(message.user, f"{moment:.6f}")
            case "say":
                for _ in range(int(message.text.split()[1])):
                    await self._speak(message.user, "-")
            case "flood":
                until = time.perf_counter() + float(message.text.split()[1])
                while time.perf_counter() < until:
                    await self._speak(message.user, "-")
                    await trio.lowlevel.checkpoint()

    async def _speak(self, user: str, moment: str) -> None:
        await self.emit(TYPE, {"text": f"{user} {moment} {WORDS}"})


class Fragile(Session):
    """A session that falls when it is told to."""

    ops: ClassVar[frozenset[str]] = frozenset({"fall"})

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        """Fall."""
        raise RuntimeError("told to fall")


board = App(agents={"sayer": Sayer}, session=Fragile)
