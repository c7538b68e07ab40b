"""The system: one dispatcher, its timers, its tasks and the root of the tree, inside one trio run.

Theory of operation. Ready cells stand in one run queue; the dispatcher takes each in turn and lets it handle a stretch of
messages, and checkpoints after half a millisecond or 256 messages, whichever is first, so that sockets and timers are
served in time under any load. The dispatcher, the timers and the tasks of handlers live in a trio system task: out of
reach of the caller's cancel scopes and of KeyboardInterrupt (which trio gives to the main task then), because a handler
interrupted half-way would leave its actor deaf for ever. When the body of `open_system` ends, for whatever reason, the
tree is stopped in order within its deadlines, and only then are these tasks ended.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pykka
import trio

from .actor import Actor, start_and_wait
from .cell import Cell, State, no_cycle
from .deadletters import DeadLetters
from .family import Family
from .ref import Ref
from .supervision import ChildSpec, Restart
from .timers import Timers

__all__ = ["ActorStatistics", "ActorSystem", "SystemStatistics", "open_system"]

logger = logging.getLogger("callboard")

# 64 actors with 1,000 messages each between two checkpoints held other tasks up for 134 ms (measured); half a
# millisecond is below what a person or a TCP peer notices, and 256 messages are about 64 µs of plain handlers.
SLICE_SECONDS = 0.0005
SLICE_MESSAGES = 256
# One actor's share of a slice, so that a busy one does not keep the others waiting for a whole slice.
TURN_MESSAGES = 64


@attrs.frozen
class ActorStatistics:
    """One actor at one moment. `mailbox` counts waiting messages, `handled` those done since its first start."""

    path: str
    kind: str
    state: str
    mailbox: int
    capacity: int
    handled: int
    restarts: int
    current: str | None
    last_error: str | None


@attrs.frozen
class SystemStatistics:
    """A system at one moment: its actors in order of start, and what was not delivered, by reason."""

    actors: tuple[ActorStatistics, ...]
    dead_letters: Mapping[str, int]
    tasks: int
    timers: int


class _Root(Actor):
    """The top of the tree. What its children cannot mend ends the system."""


class ActorSystem:
    """All actors of one trio run; made by `open_system`."""

    def __init__(self, name: str, slice_clock: Callable[[], float]) -> None:
        self.name = name
        self.slice_clock = slice_clock
        self.thread_id = threading.get_ident()
        self.open = True
        self.cells: dict[Cell, None] = {}
        self.dead_letters = DeadLetters()
        self.timers = Timers()
        self._token = trio.lowlevel.current_trio_token()
        self._run_queue: deque[Cell] = deque()
        self._parked: trio.lowlevel.Task | None = None
        self._handlers: dict[trio.lowlevel.Task, Cell] = {}
        self._nursery: trio.Nursery | None = None
        self._body = trio.CancelScope()
        self._failure: BaseException | None = None
        self._closing = trio.Event()
        self._closed = trio.Event()
        self._root = Cell(self, None, name, _Root, supervised=False)
        self._root.family = Family(self._root, _Root.supervision)

    # -- for users --------------------------------------------------------------------------------------------------

    async def spawn(
        self,
        factory: Callable[[], pykka.Actor],
        *,
        id: str,
        restart: Restart = Restart.PERMANENT,
        stop_seconds: float = 5.0,
    ) -> Ref[Any]:
        """Start an actor at the top of the tree, supervised one-for-one; returns after its `on_start`.

        Raises:
            ValueError: there is one of this id.
            Exception: whatever the factory or `on_start` raised.
        """
        assert self._root.family is not None
        return await start_and_wait(self._root.family, ChildSpec(id, factory, restart, stop_seconds))

    def statistics(self) -> SystemStatistics:
        """A snapshot of all actors and counters."""
        return SystemStatistics(
            actors=tuple(_statistics(cell) for cell in self.cells),
            dead_letters=self.dead_letters.counts(),
            tasks=len(self._handlers),
            timers=len(self.timers),
        )

    def run_soon(self, function: Callable[[], Any]) -> None:
        """Call `function` on the trio thread: now if this is it, else soon. Nothing when the run has ended."""
        if threading.get_ident() == self.thread_id:
            function()
            return
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return  # every actor of it is gone, and whoever waits for one finds `open` false

    def from_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call `function` soon on the trio thread, in order per calling thread.

        Raises:
            pykka.ActorDeadError: the run has ended, and every actor with it.
        """
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            raise pykka.ActorDeadError(f"the system {self.name!r} has ended") from None

    def abort(self, error: BaseException) -> None:
        """End the system because of `error`: an ordered stop, then `error` is raised from `open_system`."""
        if self._failure is None:
            self._failure = error
        self._body.cancel()

    # -- for cells --------------------------------------------------------------------------------------------------

    def enqueue(self, cell: Cell) -> None:
        """Give a cell a turn."""
        self._run_queue.append(cell)
        if self._parked is not None:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    def start_task(
        self,
        cell: Cell,
        coroutine: Coroutine[Any, Any, Any],
        scope: trio.CancelScope,
        then: Callable[[Any, BaseException | None, bool], None],
    ) -> None:
        """Run a coroutine of a cell's actor in a task of its own."""
        assert self._nursery is not None
        self._nursery.start_soon(self._run_task, cell, coroutine, scope, then, name=cell.path)

    @trio.lowlevel.enable_ki_protection
    async def _run_task(
        self,
        cell: Cell,
        coroutine: Coroutine[Any, Any, Any],
        scope: trio.CancelScope,
        then: Callable[[Any, BaseException | None, bool], None],
    ) -> None:
        task = trio.lowlevel.current_task()
        self._handlers[task] = cell
        result: Any = None
        error: BaseException | None = None
        try:
            with scope:
                try:
                    result = await coroutine
                except trio.Cancelled:
                    raise
                except Exception as raised:
                    error = raised
        except BaseException as raised:
            # Not an Exception: SystemExit, a KeyboardInterrupt raised by the handler's own code, or a group of them.
            error = raised
            self.abort(raised)
        finally:
            del self._handlers[task]
        then(result, error, scope.cancelled_caught)

    def begin_wait(self, target: Cell) -> object | None:
        """Note that the actor of the current task, if it is one, waits for `target`; raises AskCycle (law A10)."""
        asker = self._current_cell()
        if asker is None:
            return None
        no_cycle(asker, target)
        edge = object()
        if asker.waiting_for is None:
            asker.waiting_for = {}
        asker.waiting_for[edge] = target
        return (asker, edge)

    def end_wait(self, edge: Any) -> None:
        """Take the note of `begin_wait` back."""
        if edge is not None:
            asker, key = edge
            del asker.waiting_for[key]

    def _current_cell(self) -> Cell | None:
        if not self._handlers or threading.get_ident() != self.thread_id:
            return None
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None:
            cell = self._handlers.get(task)
            if cell is not None:
                return cell
            # A handler's own nurseries: their tasks wait on its behalf.
            nursery = task.parent_nursery
            task = nursery.parent_task if nursery is not None else None
        return None

    def report(self, cell: Cell, error: BaseException) -> None:
        """Log the failure of an actor. The traceback goes out at debug level: it can quote what users wrote."""
        logger.warning("actor %s failed: %s", cell.path, type(error).__name__)
        logger.debug("actor %s failed", cell.path, exc_info=error)

    def cell_gone(self) -> None:
        """A cell is gone for good."""
        if not self.cells:
            self._closed.set()

    # -- the run ----------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _dispatch(self) -> None:
        queue = self._run_queue
        clock = self.slice_clock
        while True:
            deadline = clock() + SLICE_SECONDS
            budget = SLICE_MESSAGES
            while queue and budget > 0:
                budget -= queue.popleft().turn(min(budget, TURN_MESSAGES), deadline) or 1
                if clock() > deadline:
                    break
            if queue:
                await trio.lowlevel.checkpoint()
            else:
                self._parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._unpark)

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    async def _host(self, ready: trio.Event) -> None:
        # trio cancels system tasks when the main task ends; `open_system` has waited for this one before.
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._dispatch, name=f"{self.name}: dispatcher")
            nursery.start_soon(self.timers.run, name=f"{self.name}: timers")
            self._root.start()
            ready.set()
            await self._closing.wait()
            self._root.control(self._root.begin_stop)
            await self._closed.wait()
            nursery.cancel_scope.cancel()
        self.open = False

    def _close(self) -> None:
        self._closing.set()


def _statistics(cell: Cell) -> ActorStatistics:
    message = cell.message
    return ActorStatistics(
        path=cell.path,
        kind=cell.ref.actor_class.__name__,
        state="busy" if cell.scope is not None and cell.state is State.RUNNING else cell.state.value,
        mailbox=len(cell.queue) + len(cell.lane or ()),
        capacity=cell.capacity,
        handled=cell.handled,
        restarts=cell.restarts,
        current=None if message is None else type(message).__name__,
        last_error=None if cell.last_error is None else type(cell.last_error).__name__,
    )


@asynccontextmanager
async def open_system(
    name: str = "system", *, slice_clock: Callable[[], float] = time.perf_counter
) -> AsyncIterator[ActorSystem]:
    """Open an actor system for the body of an ``async with``; at its end the tree is stopped in order.

    Args:
        name: the first part of every actor's path.
        slice_clock: seconds, read to end the dispatcher's time slices. A constant makes one seed give one run (law
            A12): then only the count of messages ends a slice.

    Raises:
        RestartsExhausted: a top-level actor failed more often than is tolerated.
        BaseException: whatever the body raised; and what an actor raised that is no Exception, after the ordered stop.
    """
    system = ActorSystem(name, slice_clock)
    ready = trio.Event()
    done = trio.Event()

    async def host() -> None:
        try:
            await system._host(ready)
        finally:
            done.set()

    trio.lowlevel.spawn_system_task(host, name=f"{name}: system", context=contextvars.copy_context())
    try:
        with system._body:
            await ready.wait()
            yield system
    finally:
        system._close()
        with trio.CancelScope(shield=True):
            await done.wait()
    if system._failure is not None:
        raise system._failure
