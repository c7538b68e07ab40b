"""Actors that tests of the kernel are made of, and what they write down."""

from collections.abc import Callable
from typing import Any

import attrs
import trio

from callboard.runtime import Actor, ActorExited, ActorSystem, ChildSpec, DeathReason, Ref, Restart, Supervision

Log = list[tuple[Any, ...]]


class Collect(Actor):
    """Writes down each message; answers with how many there were."""

    mailbox_capacity = 10_000

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def on_receive(self, message: Any) -> int:
        self.log.append(message)
        return len(self.log)


@attrs.frozen
class Sleep:
    """Sleep so many seconds in an async handler, then give `value`."""

    seconds: float
    value: Any = None


@attrs.frozen
class Raise:
    """Raise this in the handler."""

    error: BaseException


class Worker(Actor):
    """Sleeps, raises or answers, as it is told; writes down what it begins, ends and is cancelled in."""

    mailbox_capacity = 10_000

    def __init__(self, log: Log | None = None) -> None:
        super().__init__()
        self.log: Log = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        match message:
            case Sleep(seconds, value):
                return self._sleep(seconds, value)
            case Raise(error):
                self.log.append(("raise", error))
                raise error
            case _ if callable(message):
                return message(self)
            case _:
                self.log.append(("handle", message))
                return message

    async def _sleep(self, seconds: float, value: Any) -> Any:
        self.log.append(("begin", value, trio.current_time()))
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.log.append(("cancelled", value, trio.current_time()))
            raise
        self.log.append(("end", value, trio.current_time()))
        return value


class Parent(Actor):
    """Starts children when told a specification; writes down the deaths it hears of and the children given up."""

    def __init__(self, supervision: Supervision, log: Log | None = None) -> None:
        super().__init__()
        # An instance's own policy shadows the one of the class: tests draw it.
        self.supervision = supervision  # type: ignore[misc]
        self.log: Log = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        match message:
            case ChildSpec():
                return self.start_child(message)
            case ActorExited(ref, reason):
                self.log.append(("exited", ref, reason))
            case _ if callable(message):
                return message(self)
        return None

    def on_child_given_up(self, id: str, error: BaseException) -> None:
        self.log.append(("given up", id, error))


async def spawn_child(
    system: ActorSystem,
    supervision: Supervision,
    factory: Callable[[], Actor],
    restart: Restart = Restart.PERMANENT,
    log: Log | None = None,
) -> tuple[Ref[Any], Ref[Any]]:
    """A supervisor with one child; gives both refs."""
    parent = await system.spawn(lambda: Parent(supervision, log), id="parent")
    child: Ref[Any] = await parent.ask_async(ChildSpec("child", factory, restart))
    return parent, child


def dead_letters(system: ActorSystem) -> dict[DeathReason, int]:
    """The counts that are not zero."""
    counts = system.statistics().dead_letters
    return {reason: counts[reason.value] for reason in DeathReason if counts[reason.value]}


async def nap(seconds: float, value: Any = None) -> Any:
    """For handlers that are plain functions and give a coroutine now and then."""
    await trio.sleep(seconds)
    return value
