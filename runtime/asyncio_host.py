"""The host of asyncio code: one asyncio loop in a thread of its own, for all of a system.

It is started on first use and ends after the last actor. A handler on the trio loop hands it a coroutine function and
waits; whoever is cancelled on one side cancels the other, and context variables go along.

Theory of operation. Each call is a `Turn`: the coroutine's context carries it, so that its waits for other actors are
noted in its actor's name (law A10), and it holds a nursery inside the waiting handler, in which the coroutine may have
something done on the trio loop (`in_trio`). When the handler is cancelled, the asyncio task is, and the handler waits
for its end: one message at a time (law A1). A task that does not end within its time is *abandoned*: the handler fails,
so its actor goes, and what the task still says is refused and counted (law A8). The same happens while something
blocks the loop, which holds up all coroutines of the system; blocking code belongs to threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
import trio

from .errors import CutShort, NotRunning
from .portal import answer
from .reply import Reply
from .waits import Turn

if TYPE_CHECKING:
    from .actor import Actor
    from .cell import Cell
    from .system import ActorSystem

__all__ = ["AsyncioHost", "in_trio"]

logger = logging.getLogger("callboard")

T = TypeVar("T")

# What an asyncio task gets to clean up in, once it is cancelled; what OTP gives workers to stop in.
CANCEL_SECONDS = 5.0


class AsyncioHost:
    """The asyncio loop of one system; ``system.service(AsyncioHost)`` gives it."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ended = trio.Event()
        self._calls: dict[_Call, None] = {}
        self._thread = threading.Thread(target=self._main, name=f"{system.name}: asyncio", daemon=True)
        self._thread.start()

    async def run(
        self,
        actor: Actor,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> T:
        """Call `function` on the asyncio loop, in the name of an actor, and give what it gives.

        Await it in that actor's handler. When that is cancelled, the coroutine gets a `CancelledError`, and
        `cancel_seconds` to end.

        Raises:
            CutShort: the coroutine was cancelled by its own code, or abandoned; or the loop has ended.
            Exception: whatever it raised.
        """
        if self._ended.is_set():
            raise CutShort(f"the asyncio loop of {self._system.name} has ended")
        assert self._thread.ident is not None
        call = _Call(actor._cell, self._system, self._thread.ident)
        self._calls[call] = None
        try:
            async with trio.open_nursery() as nursery:
                call.nursery = nursery
                self._post(call.start, function, args)
                try:
                    await call.ended.wait()
                except trio.Cancelled:
                    # Not raised from within the nursery, which would wrap what else there is to tell.
                    await self._cancel(call, cancel_seconds)
                call.ends()
                nursery.cancel_scope.cancel()
        finally:
            del self._calls[call]
            call.answer_the_rest()
        if call.error is not None:
            raise call.error
        await trio.lowlevel.checkpoint_if_cancelled()
        value: T = call.value
        return value

    async def _cancel(self, call: _Call, seconds: float) -> None:
        call.cancelled = True
        self._post(call.cancel)
        with trio.CancelScope(shield=True), trio.move_on_after(seconds):
            await call.ended.wait()
        if not call.ended.is_set():
            self._system.abandoned += 1
            call.abandoned = True
            call.error = CutShort(f"the coroutine of {call.cell.path} did not end within {seconds} s of its cancelling")

    async def aclose(self) -> None:
        """End the loop: what is left on it is cancelled, and has some seconds to end."""
        self._post(self._stop.set)
        with trio.CancelScope(shield=True), trio.move_on_after(CANCEL_SECONDS):
            await self._ended.wait()
            self._thread.join()
        if not self._ended.is_set():
            logger.warning("the asyncio loop of %s does not end; its thread is left behind", self._system.name)

    def _post(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # it is closed, and `_over` is on its way

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._stop.wait())
        except BaseException as raised:  # noqa: BLE001 - SystemExit of a task ends an asyncio loop: as from any actor
            error = raised
        self._system.run_soon(self._over, error)

    def _over(self, error: BaseException | None) -> None:
        self._ended.set()
        for call in self._calls:
            call.over_with(CutShort(f"the asyncio loop of {self._system.name} has ended"))
        if error is not None:
            self._system.abort(error)


class _Call(Turn):
    """One coroutine at work for an actor."""

    nursery: trio.Nursery

    def __init__(self, cell: Cell, system: ActorSystem, thread_id: int) -> None:
        super().__init__(cell, system.waits, thread_id)
        self.system = system
        self.ended = trio.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self._context = contextvars.copy_context()
        self.enter(self._context)
        self._task: asyncio.Task[None] | None = None
        # What was asked of the trio loop and cancelled with the handler.
        self._unanswered: list[Reply[Any]] = []

    # On the asyncio loop.

    def start(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        """Make the task, unless it was cancelled before."""
        if self.cancelled:
            self.system.run_soon(self.over_with, None)
        else:
            work = self._work(function, args)
            self._task = asyncio.get_running_loop().create_task(work, context=self._context)

    def cancel(self) -> None:
        """Cancel it."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            value = await function(*args)
        except asyncio.CancelledError:
            self.system.run_soon(self._was_cancelled)
            raise
        except BaseException as error:  # noqa: BLE001 - the cell's rules apply; SystemExit would end asyncio's loop
            self.system.run_soon(self.over_with, error)
        else:
            self.system.run_soon(self._done, value)

    # On the trio loop.

    def _done(self, value: Any) -> None:
        self.value = value
        self.over_with(None)

    def _was_cancelled(self) -> None:
        by_itself = not self.cancelled
        self.over_with(CutShort(f"the coroutine of {self.cell.path} cancelled itself") if by_itself else None)

    def over_with(self, error: BaseException | None) -> None:
        """The coroutine has ended."""
        if self.abandoned:
            self.system.abandoned -= 1
            self.system.count_refused()
        elif not self.ended.is_set():
            self.error = error
            self.ended.set()

    def answer_the_rest(self) -> None:
        """Tell those tasks that are left running after the handler, and wait for something of the trio loop."""
        for reply in self._unanswered:
            reply.offer_exception(asyncio.CancelledError("the handler has ended"))

    def serve(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        reply: Reply[Any],
        context: contextvars.Context,
    ) -> None:
        """Call an async function for the coroutine; the reply ends with what it gives."""
        if self.cancelled or self.over:
            reply.offer_exception(asyncio.CancelledError("the handler has been cancelled"))
        else:
            context.run(self.nursery.start_soon, self._serve, function, args, reply)

    async def _serve(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], reply: Reply[Any]) -> None:
        try:
            await answer(reply, self.system.run_soon, function, *args)
        except trio.Cancelled:
            # With the handler: the coroutine is cancelled too, and must not hear of it twice. What it leaves running is
            # told at its end.
            self._unanswered.append(reply)
            raise


async def in_trio(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call an async function on the trio loop, from a coroutine that an actor runs on its asyncio loop.

    It runs as a part of the actor's handler: it is cancelled with it, and its waits are the actor's. When the asyncio
    task that awaits this is cancelled, so is the function.

    Raises:
        NotRunning: this is no coroutine of an actor at work.
        pykka.ActorDeadError: its actor has left it behind.
        asyncio.CancelledError: the handler was cancelled before.
        Exception: whatever the function raised.
    """
    turn = Turn.here()
    if Turn.is_abandoned():
        raise pykka.ActorDeadError(f"the actor of this coroutine is gone; {function.__qualname__} is refused")
    if not isinstance(turn, _Call):
        raise NotRunning(f"{function.__qualname__} is for coroutines that an actor runs on its asyncio loop")
    reply: Reply[T] = Reply()
    turn.system.from_thread(turn.serve, function, args, reply, contextvars.copy_context())
    return await reply.park()
