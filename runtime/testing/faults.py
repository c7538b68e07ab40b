"""Faults on order: an actor crashes, delays or loses its n-th message, without a line of its code being changed.

A fault counts the messages that reach `on_receive`, through restarts too; those of proxies do not. `faulty` puts faults
before the actors of one specification or factory, `inject` before all actors of a class, also those that the program
under test starts itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import Any, overload

import attrs
import trio

from ..actor import Actor
from ..deadletters import DeathReason
from ..supervision import ChildSpec

__all__ = ["Crash", "CrashStart", "Delay", "Drop", "InjectedFault", "faulty", "inject"]

Handler = Callable[[Any], Any]


class InjectedFault(Exception):
    """What a fault raises unless it was told something else."""


def _any(message: Any) -> bool:
    return True


_on = attrs.field(default=1, validator=attrs.validators.ge(1))


@attrs.frozen
class Crash:
    """Raise `error` instead of handling the `on`-th message for which `where` holds; with `after`, after it."""

    on: int = _on
    where: Callable[[Any], bool] = attrs.field(default=_any, kw_only=True)
    error: Callable[[], BaseException] = attrs.field(default=InjectedFault, kw_only=True)
    after: bool = attrs.field(default=False, kw_only=True)

    def handle(self, actor: Actor, handler: Handler, message: Any) -> Any:
        """Crash."""
        if not self.after:
            raise self.error()
        result = handler(message)
        if isinstance(result, CoroutineType):
            return self._after(result)
        raise self.error()

    async def _after(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        await coroutine
        raise self.error()


@attrs.frozen
class Delay:
    """Handle the `on`-th message for which `where` holds so many seconds late; with `math.inf` its handler hangs."""

    seconds: float
    on: int = _on
    where: Callable[[Any], bool] = attrs.field(default=_any, kw_only=True)

    async def handle(self, actor: Actor, handler: Handler, message: Any) -> Any:
        """Sleep, then handle it."""
        await trio.sleep(self.seconds)
        result = handler(message)
        return await result if isinstance(result, CoroutineType) else result


@attrs.frozen
class Drop:
    """Lose the `on`-th message for which `where` holds: it goes to dead letters, and an ask of it is not answered."""

    on: int = _on
    where: Callable[[Any], bool] = attrs.field(default=_any, kw_only=True)

    def handle(self, actor: Actor, handler: Handler, message: Any) -> None:
        """Lose it."""
        actor.defer_reply()  # kept by nobody: it ends with the actor, or with the patience of the asker
        actor._cell.bury(message, DeathReason.DROPPED)


@attrs.frozen
class CrashStart:
    """Raise `error` instead of the `on`-th start."""

    on: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    error: Callable[[], BaseException] = attrs.field(default=InjectedFault, kw_only=True)


Fault = Crash | Delay | Drop | CrashStart


class _Faults:
    """Faults, and how many messages and starts each has seen."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._of_messages = [fault for fault in faults if not isinstance(fault, CrashStart)]
        self._seen = [0] * len(self._of_messages)
        self._of_starts = [fault for fault in faults if isinstance(fault, CrashStart)]
        self._starts = 0

    def receive(self, actor: Actor, handler: Handler, message: Any) -> Any:
        hits = []
        for number, fault in enumerate(self._of_messages):
            if fault.where(message):
                self._seen[number] += 1
                if self._seen[number] == fault.on:
                    hits.append(fault)
        # Two faults on one message: the first that was named has it.
        return hits[0].handle(actor, handler, message) if hits else handler(message)

    def start(self, hook: Callable[[], Any]) -> Any:
        self._starts += 1
        for fault in self._of_starts:
            if fault.on == self._starts:
                raise fault.error()
        return hook()


@overload
def faulty(target: ChildSpec, *faults: Fault) -> ChildSpec: ...
@overload
def faulty(target: Callable[[], Actor], *faults: Fault) -> Callable[[], Actor]: ...
def faulty(target: Any, *faults: Fault) -> Any:
    """The same specification, or factory, whose actors have these faults; counted over all that it makes."""
    if isinstance(target, ChildSpec):
        return attrs.evolve(target, factory=_faulty(target.factory, _Faults(faults)))
    return _faulty(target, _Faults(faults))


def _faulty(factory: Callable[[], Any], faults: _Faults) -> Callable[[], Any]:
    def make() -> Any:
        actor = factory()
        if not isinstance(actor, Actor):
            raise TypeError(f"faults are for actors of callboard, not for {actor!r}")
        handler, hook = actor.on_receive, actor.on_start
        actor.on_receive = lambda message: faults.receive(actor, handler, message)  # type: ignore[method-assign]
        actor.on_start = lambda: faults.start(hook)  # type: ignore[method-assign]
        return actor

    return make


@contextmanager
def inject(actor_class: type[Actor], *faults: Fault) -> Iterator[None]:
    """Give these faults to all actors of a class that are made inside; counted over all of them.

    Subclasses have them too where they leave `on_receive` and `on_start` to the class.
    """
    counted = _Faults(faults)
    handler, hook = actor_class.on_receive, actor_class.on_start
    own = {name: vars(actor_class)[name] for name in ("on_receive", "on_start") if name in vars(actor_class)}

    def on_receive(self: Actor, message: Any) -> Any:
        return counted.receive(self, lambda message: handler(self, message), message)

    def on_start(self: Actor) -> Any:
        return counted.start(lambda: hook(self))

    actor_class.on_receive = on_receive  # type: ignore[method-assign, assignment]
    actor_class.on_start = on_start  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name in ("on_receive", "on_start"):
            if name in own:
                setattr(actor_class, name, own[name])
            else:
                delattr(actor_class, name)
