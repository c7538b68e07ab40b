"""Savina's programs with a task and a memory channel each, as in the kernel's scenario."""

from __future__ import annotations

from typing import Any

import trio

from ..kernel.on_trio import Answer
from ..samples import Sample, Stopwatch
from .programs import PROGRAMS, Behaviour

__all__ = ["run"]


class ChannelActor:
    """A task that takes messages out of a channel as large as the behaviour's mailbox."""

    mailbox_capacity: int

    def start(self, nursery: trio.Nursery) -> None:
        self._into, self._out_of = trio.open_memory_channel[Any](self.mailbox_capacity)
        nursery.start_soon(self._run)

    @property
    def actor_ref(self) -> Any:
        return self

    async def _run(self) -> None:
        async for message in self._out_of:
            self.on_receive(message)
        self.on_stop()

    def on_receive(self, message: Any) -> Any:
        raise NotImplementedError

    def on_stop(self) -> None:
        """Nothing to clean up."""

    def tell(self, message: Any) -> None:
        self._into.send_nowait(message)

    def stop(self) -> None:
        self._into.close()


class Account(Behaviour):
    balance = 0.0

    async def on_receive(self, message: Any) -> None:
        if isinstance(message[1], Answer):
            self.balance += message[0]
            message[1].set(None)
            return
        amount, other, teller = message
        self.balance -= amount
        answer = Answer()
        other.tell((amount, answer))
        await answer.wait()
        teller.tell(None)

    async def _run(self) -> None:
        async for message in self._out_of:  # type: ignore[attr-defined]
            await self.on_receive(message)


KINDS: dict[type[Behaviour], Any] = {}


def kind(behaviour: type[Behaviour]) -> Any:
    if behaviour not in KINDS:
        own = {"actor_ref": ChannelActor.actor_ref}
        KINDS[behaviour] = type(behaviour.__name__, (behaviour, ChannelActor), own)
    return KINDS[behaviour]


class Stage:
    account = Account

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.ended = trio.Event()
        self.count = 0

    def spawn(self, behaviour: type[Behaviour], *args: Any) -> Any:
        actor = kind(behaviour)(*args)
        actor.start(self.nursery)
        return actor

    def finish(self, count: int) -> None:
        self.count = count
        self.ended.set()


def run(name: str, size: int) -> Sample:
    async def main() -> Sample:
        async with trio.open_nursery() as nursery:
            stage = Stage(nursery)
            watch = Stopwatch()
            PROGRAMS[name](stage, size)
            await stage.ended.wait()
            sample = watch.sample(stage.count)
            nursery.cancel_scope.cancel()
        return sample

    return trio.run(main)
