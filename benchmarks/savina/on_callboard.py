"""Savina's programs on callboard: children of one actor, with the defaults of its classes but for their mailboxes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from callboard.runtime import Actor, ChildSpec, Ref, open_system

from ..samples import Sample, Stopwatch
from .programs import PROGRAMS, Behaviour

__all__ = ["run"]


class Account(Behaviour):
    balance = 0.0

    async def on_receive(self, message: Any) -> None:
        if len(message) == 1:
            self.balance += message[0]
            return
        amount, other, teller = message
        self.balance -= amount
        await other.ask_async((amount,))
        teller.tell(None)


KINDS: dict[type[Behaviour], Callable[..., Actor]] = {}


def kind(behaviour: type[Behaviour]) -> Callable[..., Actor]:
    if behaviour not in KINDS:
        KINDS[behaviour] = type(behaviour.__name__, (behaviour, Actor), {})
    return KINDS[behaviour]


class Stage(Actor):
    """Starts all actors of a program as its children."""

    account = Account

    def __init__(self, finish: Callable[[int], None]) -> None:
        super().__init__()
        self.finish = finish
        self.ids = itertools.count()

    def on_receive(self, message: tuple[str, int]) -> None:
        name, size = message
        PROGRAMS[name](self, size)

    # `Actor.spawn` waits, and programs are plain functions.
    def spawn(self, behaviour: type[Behaviour], *args: Any) -> Ref[Any]:  # type: ignore[override]
        return self.start_child(ChildSpec(str(next(self.ids)), partial(kind(behaviour), *args)))


def run(name: str, size: int) -> Sample:
    async def main() -> Sample:
        ended, counts = trio.Event(), []

        def finish(count: int) -> None:
            counts.append(count)
            ended.set()

        async with open_system("savina") as system:
            stage = await system.spawn(lambda: Stage(finish), id="stage")
            watch = Stopwatch()
            stage.tell((name, size))
            await ended.wait()
            sample = watch.sample(counts[0])
            stage.kill()
        return sample

    return trio.run(main)
