"""Savina's programs on stock pykka: a thread each."""

from __future__ import annotations

import threading
from typing import Any

import pykka

from ..samples import Sample, Stopwatch
from .programs import PROGRAMS, Behaviour

__all__ = ["run"]


class Account(Behaviour):
    balance = 0.0

    def on_receive(self, message: Any) -> None:
        if len(message) == 1:
            self.balance += message[0]
            return
        amount, other, teller = message
        self.balance -= amount
        other.ask((amount,))
        teller.tell(None)


KINDS: dict[type[Behaviour], Any] = {}


def kind(behaviour: type[Behaviour]) -> Any:
    if behaviour not in KINDS:
        KINDS[behaviour] = type(behaviour.__name__, (behaviour, pykka.ThreadingActor), {})
    return KINDS[behaviour]


class Stage:
    account = Account

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.count = 0

    def spawn(self, behaviour: type[Behaviour], *args: Any) -> Any:
        return kind(behaviour).start(*args)

    def finish(self, count: int) -> None:
        self.count = count
        self.ended.set()


def run(name: str, size: int) -> Sample:
    stage = Stage()
    watch = Stopwatch()
    PROGRAMS[name](stage, size)
    stage.ended.wait()
    sample = watch.sample(stage.count)
    pykka.ActorRegistry.stop_all()
    return sample
