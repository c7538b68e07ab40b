"""The answer to an ask: a pykka future that tasks of trio and asyncio await, and threads wait for.

Theory of operation. A reply ends exactly once, on any thread: it is answered, or its asker gives it up. Whoever waits
is in `_waiters`, tasks and threads alike; joining, leaving and ending happen under one lock, so that no wake-up goes
astray. A task is woken on its own loop.

When the last one that waits goes away, nobody wants the answer any more and the reply is *abandoned*: the handler that
works for it is told through `on_abandon`, an ask still in the queue is never run, and a late answer is dropped (law
A5).
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pykka
import trio

from .errors import AskCycle, AskTimeout, WouldBlock
from .waits import What, waiting

if TYPE_CHECKING:
    from .cell import Cell

__all__ = ["Reply", "ReplyAddress", "loop_of_this_thread"]

T = TypeVar("T")

# One for all: it is held for a few assignments only, and a lock in each reply would be paid for by each ask. It can be
# taken again, because a collection of garbage may run anybody's finalizer in between, and that may answer a reply.
_lock = threading.RLock()


def loop_of_this_thread() -> str | None:
    """The loop that a blocking call would stop here, ``trio`` or ``asyncio``; None where blocking is all right."""
    if trio.lowlevel.in_trio_task():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"


class ReplyAddress(Protocol):
    """Where an answer goes to: a `Reply`, or something lighter that an asker brings along (`Ref.post`).

    A tenth of what a `Reply` costs matters where there is one for each of many messages and hardly any is awaited.
    """

    @property
    def abandoned(self) -> bool:
        """Whether nobody wants the answer any more."""

    def offer(self, value: Any) -> bool:
        """Take the answer unless there is one; whether it was taken. Plain, on the actor's thread, and never raises."""

    def offer_exception(self, error: BaseException) -> bool:
        """Take an exception as the answer."""


class Reply(pykka.Future[T]):
    """The future answer of one ask.

    Await it inside trio or asyncio, or call `get()` on any other thread. `target` is the cell that is to answer: an
    actor that awaits the reply waits for that one (law A10), and `what` says what for.
    """

    # What an instance does not say is as it stands here: each ask pays for what its reply is given at the start.
    done = False
    """Whether it has ended: the answer or its exception is here, or nobody waits for one."""
    abandoned = False
    """Whether nobody waits any more; an answer is dropped then."""
    on_abandon: Callable[[], None] | None = None
    """Called once if the reply is abandoned, on any thread."""
    on_done: Callable[[Reply[Any]], None] | None = None
    """Called once when the reply has ended, either way, on any thread."""
    _value: Any = None
    _error: BaseException | None = None
    _waiters: tuple[_Waiter, ...] = ()
    # What a mapped, filtered, reduced or joined future is made of; pykka computes it in `get`.
    _sources: tuple[pykka.Future[Any], ...] = ()
    _get_hook: Any = None

    def __init__(self, target: Cell | None = None, what: What = "an answer") -> None:
        # Pykka's own part of it, which is for hooks, is set up in `set_get_hook`.
        self.target = target
        self.what = what

    @property
    def error(self) -> BaseException | None:
        """The exception that `get()` would raise; None while there is no answer."""
        return self._error

    # -- for whoever answers ----------------------------------------------------------------------------------------

    def set(self, value: T | None = None) -> None:
        """Give the answer; dropped when nobody waits any more.

        Raises:
            queue.Full: there is an answer already, as in pykka.
        """
        if not self.offer(value) and not self.abandoned:
            raise queue.Full(f"{self!r} is answered already")

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an exception: an exception, pykka's three-tuple, or the one being handled.

        Raises:
            queue.Full: there is an answer already, as in pykka.
        """
        if exc_info is None:
            exc_info = sys.exc_info()
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        if not isinstance(error, BaseException):
            raise TypeError(f"an exception or an exc_info triple is needed, not {exc_info!r}")
        if not self.offer_exception(error) and not self.abandoned:
            raise queue.Full(f"{self!r} is answered already")

    def offer(self, value: T | None) -> bool:
        """Give the answer unless the reply has ended; whether it was taken."""
        return self._end(value, None)

    def offer_exception(self, error: BaseException) -> bool:
        """Answer with `error` unless the reply has ended; whether it was taken."""
        return self._end(None, error)

    def abandon(self) -> None:
        """Say that nobody waits any more. Nothing if the reply has ended."""
        if self._end(None, AskTimeout("whoever asked gave up waiting"), abandoned=True) and self.on_abandon is not None:
            self.on_abandon()

    def refuse(self, error: BaseException) -> None:
        """Tell whoever waits that there will be no answer because of `error`; a question in the queue is not run."""
        if self._end(None, error, abandoned=True) and self.on_abandon is not None:
            self.on_abandon()

    @trio.lowlevel.enable_ki_protection
    def _end(self, value: Any, error: BaseException | None, *, abandoned: bool = False) -> bool:
        with _lock:
            if self.done or self._get_hook is not None:
                return False
            self.done = True
            self.abandoned = abandoned
            self._value = value
            self._error = error
            waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            waiter.wake()
        if self.on_done is not None:
            self.on_done(self)
        return True

    # -- for whoever waits ------------------------------------------------------------------------------------------

    def result(self) -> T:
        """The value, or its exception raised; only once `done`."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the answer on a thread that runs no loop.

        Raises:
            WouldBlock: on the thread of a loop while there is no answer; await the future there.
            pykka.Timeout: after `timeout` seconds; it may be tried again.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self.done:
            if loop := loop_of_this_thread():
                raise WouldBlock(f"future.get() would block this thread's {loop} loop; use `await future` there")
            if self.target is None or threading.get_ident() == self.target.thread_id:
                self._wait_on_thread(timeout)
            else:
                with waiting(self.target, self.what, self.refuse):
                    self._wait_on_thread(timeout)
        return self.result()

    def set_get_hook(self, func: Any) -> None:
        """Pykka's: have `get` call `func` for the answer.

        Raises:
            queue.Full: there is an answer already.
        """
        if self.done:
            raise queue.Full(f"{self!r} is answered already")
        super().__init__()
        super().set_get_hook(func)

    def _wait_on_thread(self, timeout: float | None) -> None:
        waiter = _Thread()
        if self._join(waiter) and not waiter.event.wait(timeout):
            self._leave(waiter)
            if not self.done:
                raise pykka.Timeout(f"no answer within {timeout} seconds")

    def __await__(self) -> Generator[Any, Any, T]:
        return self.wait().__await__()

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> T:
        """Wait for the answer inside trio or asyncio; cancelling the last one that waits abandons the reply.

        Raises:
            AskCycle: the answer is to come from an actor that itself waits for the caller; the reply is abandoned.
            Exception: the answer, if it is one.
        """
        if self._get_hook is not None:
            return await self._wait_for_sources()
        if self.target is None or self.done:
            return await self.park()
        if threading.get_ident() != self.target.thread_id:
            return await self.wait_from_afar()
        waits = self.target.system.waits
        try:
            edge = waits.begin(self.target, self.what, self._refuse_the_only_one)
        except AskCycle:
            if not self._waiters:
                self.abandon()
            raise
        try:
            return await self.park()
        finally:
            waits.end(edge)

    def _refuse_the_only_one(self, error: BaseException) -> None:
        # Another one that waits is in no circle, and may still get its answer.
        if len(self._waiters) == 1:
            self.refuse(error)

    async def wait_from_afar(self) -> T:
        """`wait` on another thread than the target's: the circle is looked for there, and refuses the reply."""
        if self.target is None:
            return await self.park()
        with waiting(self.target, self.what, self.refuse):
            return await self.park()

    async def _wait_for_sources(self) -> T:
        if self._sources and all(isinstance(source, Reply) for source in self._sources):
            for source in self._sources:
                await source
            return self.get()  # all is there: it only computes
        # Of futures that block, or with somebody's own hook: a thread may wait for them.
        if not trio.lowlevel.in_trio_task():
            return await asyncio.to_thread(self.get)
        return await trio.to_thread.run_sync(self.get, abandon_on_cancel=True)

    def map(self, func: Callable[[T], Any]) -> pykka.Future[Any]:
        """Pykka's map."""
        return _made_of(super().map(func), self)

    def filter(self: pykka.Future[Iterable[Any]], func: Callable[[Any], bool]) -> pykka.Future[Iterable[Any]]:
        """Pykka's filter."""
        return _made_of(pykka.Future.filter(self, func), self)

    def reduce(self: pykka.Future[Iterable[Any]], func: Callable[[Any, Any], Any], *args: Any) -> pykka.Future[Any]:
        """Pykka's reduce."""
        return _made_of(pykka.Future.reduce(self, func, *args), self)

    def join(self: pykka.Future[Any], *futures: pykka.Future[Any]) -> pykka.Future[Iterable[Any]]:
        """Pykka's join."""
        return _made_of(pykka.Future.join(self, *futures), self, *futures)

    @trio.lowlevel.enable_ki_protection
    async def park(self) -> T:
        """`wait` for one who has looked after cycles himself."""
        if not trio.lowlevel.in_trio_task():
            return await self._park_on_asyncio()
        if self.done or not self._join(waiter := _Task(self)):
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_task_rescheduled(waiter.abort)
        return self.result()

    async def _park_on_asyncio(self) -> T:
        waiter = _AsyncioTask()
        if self._join(waiter):
            try:
                await waiter.woken
            except BaseException:  # cancelled, or closed with its loop: nobody waits here any more
                if self._leave(waiter):
                    self.abandon()
                raise
        else:
            await asyncio.sleep(0)
        return self.result()

    def _join(self, waiter: _Waiter) -> bool:
        """Wait in the line; False if the reply has ended."""
        with _lock:
            if not self.done:
                self._waiters += (waiter,)
            return not self.done

    def _leave(self, waiter: _Waiter) -> bool:
        """Wait no longer; whether nobody else does."""
        with _lock:
            if self.done:
                return False
            self._waiters = tuple(other for other in self._waiters if other is not waiter)
            return not self._waiters


def _made_of(future: pykka.Future[T], *sources: pykka.Future[Any]) -> pykka.Future[T]:
    assert isinstance(future, Reply)
    future._sources = sources
    return future


class _Thread:
    """A thread that waits."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = threading.Event()

    def wake(self) -> None:
        self.event.set()


class _Task:
    """A trio task that waits. `parked` is touched on the task's own loop only."""

    __slots__ = ("parked", "reply", "task", "thread_id", "token")

    def __init__(self, reply: Reply[Any]) -> None:
        self.reply = reply
        self.task = trio.lowlevel.current_task()
        self.token = trio.lowlevel.current_trio_token()
        self.thread_id = threading.get_ident()
        # It parks before its loop can run anything else, a wake-up from another thread included.
        self.parked = True

    def wake(self) -> None:
        if threading.get_ident() == self.thread_id:
            self._reschedule()
            return
        try:
            self.token.run_sync_soon(self._reschedule)
        except trio.RunFinishedError:
            return  # its loop has ended, so nobody waits

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """The task is cancelled while it is parked."""
        self.parked = False
        if self.reply._leave(self):
            self.reply.abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    def _reschedule(self) -> None:
        if self.parked:
            self.parked = False
            trio.lowlevel.reschedule(self.task)


class _AsyncioTask:
    """An asyncio task that waits."""

    __slots__ = ("loop", "woken")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.woken: asyncio.Future[None] = self.loop.create_future()

    def wake(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._set)
        except RuntimeError:
            return  # its loop is closed, so nobody waits

    def _set(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


_Waiter = _Task | _Thread | _AsyncioTask
