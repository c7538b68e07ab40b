"""A way into a trio loop for programs that run elsewhere: a call there is a task here, and a future for whoever waits.

The future is a `Reply`: threads `get()` it, asyncio and trio tasks await it, and who gives it up cancels the task. A
`Gate` bounds how many calls are on their way; whoever comes then waits in its own thread or task.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from .errors import NotRunning
from .reply import Reply

__all__ = ["Gate", "Portal", "answer"]

T = TypeVar("T")


async def answer(
    reply: Reply[T], run_soon: Callable[[Callable[[], Any]], Any], function: Callable[..., Awaitable[T]], *args: Any
) -> None:
    """Call an async function and end `reply` with what it gives; cancel it when the reply is given up.

    `run_soon` calls a function on this loop, from any thread. A cancelling from outside goes through and ends nothing.
    """
    scope = trio.CancelScope()
    reply.on_abandon = lambda: run_soon(scope.cancel)
    if reply.abandoned:
        return
    try:
        with scope:
            reply.offer(await function(*args))
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
        reply.offer_exception(error)


class Portal:
    """Takes calls from other threads while it is open, ``async with Portal() as portal``, and cancels what is left."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None
        self._unanswered: set[Reply[Any]] = set()

    async def __aenter__(self) -> Portal:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        assert self._nursery is not None
        nursery, self._nursery = self._nursery, None
        nursery.cancel_scope.cancel()
        try:
            return await self._manager.__aexit__(*exc_info)
        finally:
            for reply in tuple(self._unanswered):
                reply.offer_exception(self._closed())

    def submit(self, reply: Reply[T], function: Callable[..., Awaitable[T]], *args: Any) -> None:
        """Have an async function called in the caller's context. On any thread; `reply` ends with what comes of it."""
        try:
            self._token.run_sync_soon(self._begin, reply, function, args, contextvars.copy_context())
        except trio.RunFinishedError:
            reply.offer_exception(self._closed())

    def run_soon(self, function: Callable[[], Any]) -> None:
        """Call a plain function on the loop, if there still is one. On any thread."""
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return

    def _begin(
        self,
        reply: Reply[Any],
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        if self._nursery is None:
            reply.offer_exception(self._closed())
        else:
            self._unanswered.add(reply)
            context.run(self._nursery.start_soon, self._call, reply, function, args)

    async def _call(self, reply: Reply[Any], function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        await answer(reply, self.run_soon, function, *args)
        self._unanswered.discard(reply)

    @staticmethod
    def _closed() -> NotRunning:
        return NotRunning("what runs behind this portal has ended")


class Gate:
    """Lets `places` through at a time, on any thread and loop; whoever comes then waits in line."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._line: deque[Reply[None]] = deque()
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Take a place, waiting for one on a thread without a loop."""
        place = self._stand()
        if place is not None:
            try:
                place.get()
            except BaseException:
                self._give_up(place)
                raise

    async def enter_async(self) -> None:
        """Take a place, waiting for one on any loop."""
        place = self._stand()
        if place is not None:
            try:
                await place.wait()
            except BaseException:
                self._give_up(place)
                raise

    def leave(self) -> None:
        """Give a place back: to the first in line."""
        with self._lock:
            while self._line:
                if self._line.popleft().offer(None):
                    return
            self._free += 1

    def _stand(self) -> Reply[None] | None:
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            place: Reply[None] = Reply()
            self._line.append(place)
            return place

    def _give_up(self, place: Reply[None]) -> None:
        place.abandon()
        if not place.abandoned:
            self.leave()  # it had come in this very moment
