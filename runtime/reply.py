"""The answer to an ask: a pykka future that trio tasks await and threads wait for.

Theory of operation. A reply is set once, on any thread. Two kinds of waiters exist: trio tasks, parked with
`wait_task_rescheduled`, and threads, parked on a `threading.Event`. No lock is needed: a waiter first registers and then
looks whether the value is there, a setter first stores the value and then looks for waiters, and the interpreter runs
these steps in one order for all threads. So at least one of the two sees the other.

An asker that no longer wants the answer *abandons* the reply. The handler working for it is told through `on_abandon`,
an ask still in the queue is never run, and a late answer is dropped (law A5).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pykka
import trio

from .errors import WouldBlock

__all__ = ["Reply"]

T = TypeVar("T")


class Reply(pykka.Future[T]):
    """The future answer of one ask.

    Await it inside trio, or call `get()` on any other thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiters: list[_Waiter] | None = None
        self._event: threading.Event | None = None
        self.abandoned = False
        self.on_abandon: Callable[[], None] | None = None
        self.on_done: Callable[[Reply[Any]], None] | None = None

    @property
    def done(self) -> bool:
        """Whether the answer, or its exception, is here."""
        return self._done

    @property
    def error(self) -> BaseException | None:
        """The exception that `get()` would raise; None while there is no answer."""
        return self._error

    def set(self, value: T | None = None) -> None:
        """Give the answer. Raises RuntimeError if there is one already."""
        if self._done or self._get_hook is not None:
            raise RuntimeError(f"{self!r} is answered already")
        self._value = value
        self._finish()

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an exception: an exception, pykka's three-tuple, or the one being handled."""
        if self._done or self._get_hook is not None:
            raise RuntimeError(f"{self!r} is answered already")
        if exc_info is None:
            exc_info = sys.exc_info()
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        if not isinstance(error, BaseException):
            raise TypeError(f"an exception or an exc_info triple is needed, not {exc_info!r}")
        self._error = error
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self.on_abandon = None
        if self._waiters is not None:
            for waiter in self._waiters:
                waiter.wake()
        if self._event is not None:
            self._event.set()
        if self.on_done is not None:
            self.on_done(self)

    def abandon(self) -> None:
        """Say that nobody waits any more. `on_abandon` has to bear being called on any thread."""
        if self._done or self.abandoned:
            return
        self.abandoned = True
        if self.on_abandon is not None:
            self.on_abandon()

    def result(self) -> T:
        """The value, or its exception raised; only once `done`."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the answer on a thread that is not trio's.

        Raises:
            WouldBlock: on the trio thread while there is no answer; await the future there.
            pykka.Timeout: after `timeout` seconds.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._done:
            if trio.lowlevel.in_trio_task():
                raise WouldBlock("future.get() would block the trio thread; use `await future` there")
            if self._event is None:
                self._event = threading.Event()
            if not self._done and not self._event.wait(timeout):
                raise pykka.Timeout(f"no answer within {timeout} seconds")
        return self.result()

    def __await__(self) -> Generator[Any, Any, T]:
        return self.wait().__await__()

    async def wait(self) -> T:
        """Wait for the answer inside trio; when cancelled, the reply is abandoned."""
        if self._get_hook is not None:
            # A mapped, filtered or joined future computes in its own get(), which may block: a thread may.
            return await trio.to_thread.run_sync(self.get)
        if self._done:
            await trio.lowlevel.checkpoint()
            return self.result()
        waiter = _Waiter(trio.lowlevel.current_task(), trio.lowlevel.current_trio_token())
        if self._waiters is None:
            self._waiters = []
        waiters = self._waiters
        waiters.append(waiter)
        if self._done:
            # Set by another thread between the first look and the registration; it may or may not have seen us.
            await trio.lowlevel.checkpoint()
            return self.result()

        def abort(_: object) -> trio.lowlevel.Abort:
            waiter.parked = False
            waiters.remove(waiter)
            if not waiters:
                self.abandon()
            return trio.lowlevel.Abort.SUCCEEDED

        waiter.parked = True
        await trio.lowlevel.wait_task_rescheduled(abort)
        return self.result()


class _Waiter:
    """One task that waits. `parked` is touched on the task's own loop only, so no wake-up goes astray."""

    __slots__ = ("parked", "task", "thread_id", "token")

    def __init__(self, task: trio.lowlevel.Task, token: trio.lowlevel.TrioToken) -> None:
        self.task = task
        self.token = token
        self.thread_id = threading.get_ident()
        self.parked = False

    def wake(self) -> None:
        if threading.get_ident() == self.thread_id:
            self._reschedule()
            return
        try:
            self.token.run_sync_soon(self._reschedule)
        except trio.RunFinishedError:
            return  # its loop has ended, so nobody waits

    def _reschedule(self) -> None:
        if self.parked:
            self.parked = False
            trio.lowlevel.reschedule(self.task)
