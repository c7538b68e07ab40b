"""A probe: an actor that stands in for another one, remembers what it gets and answers as the test says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from ..actor import Actor
from ..ref import Ref
from ..reply import Reply
from ..system import ActorSystem

__all__ = ["Probe"]

# Akka's default; on virtual time it costs nothing to wait.
WITHIN_SECONDS = 3.0

Kind = type[Any] | tuple[type[Any], ...]


class _ProbeActor(Actor):
    mailbox_capacity = 100_000

    def __init__(self, take: Callable[[Any, Reply[Any] | None], None]) -> None:
        super().__init__()
        self._take = take

    def on_receive(self, message: Any) -> None:
        asked = self._cell.reply is not None
        reply = self.defer_reply()
        self._take(message, reply if asked else None)


class Probe:
    """What the test holds of it; made by `Probe.spawn`. `ref` is what actors under test are given.

    Messages wait to be expected, in order. An ask waits for its answer until the test gives one with `answer` or
    `refuse`, unless the probe was spawned with an `answer` of its own.
    """

    def __init__(self, answer: Callable[[Any], Any] | None) -> None:
        self.ref: Ref[Any]
        self.messages: list[Any] = []
        """All that ever came, oldest first."""
        self._answer = answer
        self._unseen: deque[tuple[Any, Reply[Any] | None]] = deque()
        self._reply: Reply[Any] | None = None
        self._news = trio.Event()

    @classmethod
    async def spawn(
        cls, system: ActorSystem, id: str = "probe", *, answer: Callable[[Any], Any] | None = None
    ) -> Probe:
        """Start one at the top of the tree.

        Args:
            system: where.
            id: its id there.
            answer: what gives the answer to each ask at once; what it raises is raised at the asker.
        """
        probe = cls(answer)
        probe.ref = await system.spawn(lambda: _ProbeActor(probe._take), id=id)
        return probe

    def _take(self, message: Any, reply: Reply[Any] | None) -> None:
        self.messages.append(message)
        if reply is not None and self._answer is not None:
            try:
                reply.set(self._answer(message))
            except Exception as error:  # noqa: BLE001 - the answer of the test to whoever asks
                reply.set_exception(error)
        self._unseen.append((message, reply))
        self._news.set()
        self._news = trio.Event()

    def watch(self, ref: Ref[Any]) -> None:
        """Get an `ActorExited`, in order with the messages, when `ref` is gone for good."""
        ref._cell.watch(self.ref._cell, ref)

    async def expect(
        self, kind: Kind = object, where: Callable[[Any], bool] | None = None, *, within_seconds: float = WITHIN_SECONDS
    ) -> Any:
        """The next message, which has to be of this kind, and to be one for which `where` holds.

        Raises:
            AssertionError: another one came, or none within the time.
        """
        message = await self._next(within_seconds, f"no {_named(kind)} within {within_seconds} s")
        if not _fits(message, kind, where):
            wanted = f"{_named(kind)}{'' if where is None else ' for which `where` holds'}"
            raise AssertionError(f"{self.ref.path} expected {wanted} and got {message!r}")
        return message

    async def fish(
        self, kind: Kind = object, where: Callable[[Any], bool] | None = None, *, within_seconds: float = WITHIN_SECONDS
    ) -> Any:
        """The next message that fits; those before it are passed over.

        Raises:
            AssertionError: none came within the time.
        """
        passed: list[Any] = []
        deadline = trio.current_time() + within_seconds
        while True:
            left = max(0.0, deadline - trio.current_time())
            message = await self._next(left, f"no {_named(kind)} within {within_seconds} s, but {passed!r}")
            if _fits(message, kind, where):
                return message
            passed.append(message)

    async def expect_nothing(self, within_seconds: float = WITHIN_SECONDS) -> None:
        """Wait that long, and be sure that no message has come that was not expected before.

        Raises:
            AssertionError: one has.
        """
        with trio.move_on_after(within_seconds):
            while not self._unseen:
                await self._news.wait()
        if self._unseen:
            raise AssertionError(f"{self.ref.path} expected nothing and got {self._unseen[0][0]!r}")

    async def _next(self, within_seconds: float, otherwise: str) -> Any:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within_seconds):
            while not self._unseen:
                await self._news.wait()
        if not self._unseen:
            raise AssertionError(f"{self.ref.path} got {otherwise}")
        message, self._reply = self._unseen.popleft()
        return message

    def answer(self, value: Any = None) -> None:
        """Answer the ask that was expected last."""
        self._take_reply().set(value)

    def refuse(self, error: BaseException) -> None:
        """Answer it with an exception."""
        self._take_reply().set_exception(error)

    def _take_reply(self) -> Reply[Any]:
        reply, self._reply = self._reply, None
        if reply is None:
            raise AssertionError(f"{self.ref.path}: the message expected last was no ask, or has been answered")
        return reply


def _fits(message: Any, kind: Kind, where: Callable[[Any], bool] | None) -> bool:
    return isinstance(message, kind) and (where is None or where(message))


def _named(kind: Kind) -> str:
    return " or ".join(each.__name__ for each in kind) if isinstance(kind, tuple) else kind.__name__
