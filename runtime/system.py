"""The system: one dispatcher, its timers, its tasks and the root of the tree, inside one trio run.

Theory of operation. Ready cells stand in one run queue; the dispatcher takes each in turn and lets it handle a stretch
of messages, and checkpoints after half a millisecond or 256 messages, whichever is first, so that sockets and timers
are served in time under any load. The dispatcher, the timers and the tasks of handlers live in a trio system task: out
of reach of the caller's cancel scopes and of KeyboardInterrupt (which trio gives to the main task then), because a
handler interrupted half-way would leave its actor deaf for ever. When the body of `open_system` ends, for whatever
reason, the tree is stopped in order within its deadlines, and only then are these tasks ended.

What raises outside of a handler (a callback of `when_gone`, of a timer) has no supervisor: it ends the system in order
and is raised from `open_system`.
"""

from __future__ import annotations

import contextvars
import logging
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar, cast

import pykka
import trio

from .actor import Actor, start_and_wait
from .cell import Cell
from .deadletters import DeadLetters
from .errors import Killed, NotRunning
from .family import Family
from .inspection import ActorStatistics, SystemStatistics, dump, statistics
from .lookout import Lookout
from .mailbox import Mailbox
from .ref import Ref
from .reply import Reply
from .started import HOST, here
from .supervision import ChildSpec, Restart
from .tasks import Tasks
from .threads import ThreadBridge
from .timers import Timers
from .tracebacks import log_traceback
from .waits import Waits

__all__ = ["ActorStatistics", "ActorSystem", "SystemStatistics", "open_system"]

logger = logging.getLogger("callboard")

# 64 actors with 1,000 messages each between two checkpoints held other tasks up for 134 ms (measured); half a
# millisecond is below what a person or a TCP peer notices, and 256 messages are about 64 µs of plain handlers.
SLICE_SECONDS = 0.0005
SLICE_MESSAGES = 256
# What the actors of a loop get where other tasks are busy, as a part of what those take. With as much as they a hundred
# agents that speak all the time had a turn of their session for every third event, and a turn costs more than to speak.
SHARE = 0.25
# How far a slice may grow there, so that the others are not served much later than they are by each other.
LONGEST_SLICE_SECONDS = 0.01
# One actor's share of a slice, so that a busy one does not keep the others waiting for a whole slice.
TURN_MESSAGES = 64


class Service(Protocol):
    """Something that actors of one system share."""

    async def aclose(self) -> None:
        """End it; the last actor is gone."""


S = TypeVar("S", bound=Service)


class _Root(Actor):
    """The top of the tree. What its children cannot mend ends the system."""


class ActorSystem:
    """All actors of one trio run; made by `open_system`."""

    def __init__(self, name: str, slice_clock: Callable[[], float], rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.slice_clock = slice_clock
        self.thread_id = threading.get_ident()
        self.open = True
        self.cells: dict[Cell, None] = {}
        self.dead_letters = DeadLetters(self.call)
        self.timers = Timers(self.call)
        self.waits = Waits.of_this_run()
        self.failure: BaseException | None = None
        # Where the dispatcher's work is done. Handlers of messages without context variables run in a blank context of
        # their own each, which is one and the same as long as none of them sets a variable; so turns are taken in it.
        self.blank_context = contextvars.Context()
        # What is nobody's message (hooks, orders, errands) runs in that of whoever has opened the system.
        self.home = contextvars.copy_context()
        self._token = trio.lowlevel.current_trio_token()
        self._run_queue: deque[Mailbox | _Errand] = deque()
        # The dispatcher while it has nothing to do.
        self._parked: trio.lowlevel.Task | None = None
        self.enqueue: Callable[[Mailbox | _Errand], None] = self._run_queue.append
        """Give a cell a turn. It wakes the dispatcher where that is parked, and is no more than an `append` else."""
        self._clock = trio.lowlevel.current_clock()
        self.tasks: dict[trio.lowlevel.Task, Cell] = {}
        """The coroutines of actors that run, and whose they are."""
        self.handled_by_gone = 0
        self.threads = 0
        """Threads of stock actors that have not ended, those left behind included."""
        self.abandoned = 0
        self.refused = 0
        self.lookout: Lookout | None = None
        self._nursery: trio.Nursery | None = None
        self.coroutines: Tasks
        self._services: dict[object, Service] = {}
        self._body = trio.CancelScope()
        self._closing = trio.Event()
        self._closed = trio.Event()
        self._ended = trio.Event()
        self.root = Cell(self, None, name, _Root, supervised=False)
        self.root.family = Family(self.root, _Root.supervision)

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
        assert self.root.family is not None
        return await start_and_wait(self.root.family, ChildSpec(id, factory, restart, stop_seconds))

    def statistics(self) -> SystemStatistics:
        """A snapshot of all actors and counters."""
        return statistics(self)

    def dump(self) -> str:
        """The whole tree in words: who works on what and where it is just now, who waits, and what other threads do.

        May be called wherever `statistics` may, and by a signal's handler on the trio thread, which the loop need not
        be alive for.
        """
        return dump(self, self._clock.current_time())

    def bridged(self, actor: pykka.Actor) -> pykka.Actor:
        """What stands on this loop for an actor that a factory made: itself, or a bridge to where it lives."""
        if isinstance(actor, pykka.ThreadingActor):
            if isinstance(actor.actor_ref, Ref):
                raise NotRunning(f"a factory has to make a new actor each time, not {actor} again")
            return ThreadBridge(actor)
        return actor

    def close(self) -> None:
        """End the body of `open_system`, and with it the system in order."""
        self._body.cancel()

    def count_refused(self) -> None:
        """An actor that was abandoned has said something: nobody hears it."""
        self.refused += 1

    def service(self, kind: Callable[[ActorSystem], S]) -> S:
        """What there is one of in a system, `AsyncioHost` for one: made on first use, closed after the last actor."""
        service = self._services.get(kind)
        if service is None:
            self._services[kind] = service = kind(self)
        return cast("S", service)

    def abort(self, error: BaseException) -> None:
        """End the system because of `error`: an ordered stop, then `error` is raised from `open_system`."""
        if self.failure is None:
            self.failure = error
        self.close()

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run an async function beside the actors until it ends, or is cancelled after the last of them is gone.

        What it raises ends the system in order. Trio thread only.
        """
        assert self._nursery is not None
        self._nursery.start_soon(self._beside, function, *args)

    async def _beside(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await function(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - nobody above could do better
            self.abort(error)

    def kill_all(self, why: str) -> None:
        """Kill every actor: for one who has asked for an ordered stop and waits no longer. Trio thread only."""
        self.do_soon(lambda: self.root.kill(Killed(f"{self.name}: {why}"), final=True))

    # -- for cells and refs -----------------------------------------------------------------------------------------

    def _enqueue_and_wake(self, cell: Mailbox | _Errand) -> None:
        self._run_queue.append(cell)
        task = self._parked
        assert task is not None
        self._parked, self.enqueue = None, self._run_queue.append
        trio.lowlevel.reschedule(task)

    def has_work(self) -> bool:
        """Whether an actor, or an errand, waits for the dispatcher."""
        return bool(self._run_queue)

    def with_work(self) -> list[Cell]:
        """The actors that have something to do: those that wait for a turn, and those whose coroutine runs."""
        return [*(each for each in self._run_queue if isinstance(each, Cell)), *self.tasks.values()]

    def do_soon(self, order: Callable[[], None]) -> None:
        """Have the dispatcher call `order`, in no actor's turn. Trio thread only."""
        self.enqueue(_Errand(order, self.home))

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call what is not an actor's own code; what it raises ends the system in order instead of the whole run."""
        try:
            function(*args)
        except BaseException as error:  # noqa: BLE001 - nobody above could do better: it would end trio's run at once
            self.abort(error)

    def run_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call `function` on the trio thread: now if this is it, else soon. Nothing when the run has ended."""
        if threading.get_ident() == self.thread_id:
            function(*args)
            return
        try:
            self._token.run_sync_soon(self.call, function, *args)
        except trio.RunFinishedError:
            return  # every actor of it is gone, and so is whoever would be told

    def from_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call `function` soon on the trio thread, in order per calling thread.

        Raises:
            pykka.ActorDeadError: the run has ended, and every actor with it.
        """
        try:
            self._token.run_sync_soon(self.call, function, *args)
        except trio.RunFinishedError:
            raise pykka.ActorDeadError(f"the system {self.name!r} has ended") from None

    def report(self, cell: Cell, error: BaseException) -> None:
        """Log the failure of an actor: by its type, as what an exception says can quote what users wrote."""
        # A kill is somebody's order, a user's cancel most of all, and whoever gave it says so: no news to look into.
        level = logging.DEBUG if isinstance(error, Killed) else logging.WARNING
        logger.log(level, "actor %s failed: %s", cell.path, type(error).__name__)
        log_traceback(error, "actor %s failed", cell.path)

    def cell_gone(self) -> None:
        """A cell is gone for good."""
        if not self.cells:
            self._closed.set()

    # -- the run ----------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _dispatch(self) -> None:
        clock = self.slice_clock
        others = 0.0
        while True:
            # A pass of trio's loop takes no longer than a slice where the others leave room for that. Where they alone
            # take longer, as a thousand tasks do, the mailboxes would fill while the dispatcher has its one turn: all
            # actors together then get a share of the time, small enough that what many tasks say to one actor gathers
            # and is handled in one turn.
            self._run_slice(min(max(SLICE_SECONDS - others, others * SHARE), LONGEST_SLICE_SECONDS))
            if self._run_queue:
                left = clock()
                await trio.lowlevel.checkpoint()
                others = clock() - left
            else:
                others = 0.0
                self._parked, self.enqueue = trio.lowlevel.current_task(), self._enqueue_and_wake
                await trio.lowlevel.wait_task_rescheduled(self._unpark)

    def _run_slice(self, seconds: float) -> None:
        clock = self.slice_clock
        deadline = clock() + seconds
        budget = int(SLICE_MESSAGES * seconds / SLICE_SECONDS)
        while self._run_queue and budget > 0:
            if self.blank_context:
                self.blank_context = contextvars.Context()  # a handler has left something in it
            budget = self.blank_context.run(self._take_turns, budget, deadline)

    def _take_turns(self, budget: int, deadline: float) -> int:
        """Have the ready cells take turns until the time is up or the context is not blank; the budget left."""
        queue = self._run_queue
        clock = self.slice_clock
        blank = self.blank_context
        while queue and budget > 0 and not blank:
            share = TURN_MESSAGES if budget > TURN_MESSAGES else budget
            try:
                budget -= queue.popleft().turn(share, deadline) or 1
            except BaseException as error:  # noqa: BLE001 - a defect of the kernel itself: stop in order and tell
                self.abort(error)
            if clock() > deadline:
                return 0
        return budget

    def put_question(self, cell: Cell, message: Any, reply: Reply[Any]) -> None:
        """Put a question into a mailbox and, if the dispatcher is parked, do its work for one slice right here.

        The task that asks is about to wait anyhow. To wake the dispatcher and be woken by it would cost two passes of
        trio's loop, more than half of an ask. For the actors nothing changes: no turn is on the stack, as the
        dispatcher is parked, and only while it is parked does anybody else run a slice. Called from a task, with
        KeyboardInterrupt held off. Raises what `Mailbox.put` raises.
        """
        dispatcher = self._parked
        # The question of one who has been cancelled, or whose time is up, is not run (law A5).
        if dispatcher is None or trio.current_effective_deadline() <= trio.current_time():
            cell.put(message, reply)
            return
        self._parked, self.enqueue = None, self._run_queue.append
        try:
            cell.put(message, reply)
            self._run_slice(SLICE_SECONDS)
        finally:
            if self._run_queue:
                trio.lowlevel.reschedule(dispatcher)
            else:
                self._parked, self.enqueue = dispatcher, self._enqueue_and_wake

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked, self.enqueue = None, self._run_queue.append
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    async def _host(self, ready: trio.Event) -> None:
        # trio cancels system tasks when the main task ends; `open_system` has waited for this one before.
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.coroutines = Tasks(self, nursery)
                nursery.start_soon(self._dispatch, name=f"{self.name}: dispatcher")
                nursery.start_soon(self.timers.run, name=f"{self.name}: timers")
                self.root.start()
                ready.set()
                await self._closing.wait()
                self.root.control(self.root.begin_stop)
                await self._closed.wait()
                for service in reversed(self._services.values()):
                    await service.aclose()
                nursery.cancel_scope.cancel()
        finally:
            self.open = False
            self._ended.set()

    @trio.lowlevel.enable_ki_protection
    async def _close(self, *, interrupted: bool) -> None:
        """Stop in order; a second KeyboardInterrupt means that the user waits no longer, and kills what is left."""
        self._closing.set()
        with trio.CancelScope(shield=True):
            while not self._ended.is_set():
                try:
                    await self._ended.wait()
                except KeyboardInterrupt as interrupt:
                    if interrupted:
                        self.kill_all("interrupted again")
                    interrupted = True
                    self.abort(interrupt)


class _Errand:
    """An order in the run queue, between the turns of cells."""

    __slots__ = ("home", "order")

    def __init__(self, order: Callable[[], None], home: contextvars.Context) -> None:
        self.order = order
        self.home = home

    def turn(self, budget: int, deadline: float) -> int:
        """Carry it out; it counts as one message."""
        self.home.run(self.order)
        return 1


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_system(
    name: str = "system",
    *,
    slice_clock: Callable[[], float] = time.perf_counter,  # noqa: TID251 - a parameter; it shapes time slices only
    slow_seconds: float | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[ActorSystem]:
    """Open an actor system for the body of an ``async with``; at its end the tree is stopped in order.

    However the body ends, by an exception, a cancellation or Ctrl-C, the ordered stop comes first, and the exception
    after it. A second Ctrl-C kills what is still stopping.

    Args:
        name: the first part of every actor's path.
        slice_clock: seconds, read to end the dispatcher's time slices. A constant makes one seed give one run (law
            A12): then only the count of messages ends a slice.
        slow_seconds: look out, from a thread, for what holds the loop that long, and for how long messages wait; None
            looks out for nothing. See `lookout.py`.
        rng: where the jitter of back-offs comes from; seeded, one seed gives one run (law A12). None takes a new one.

    Raises:
        RestartsExhausted: a top-level actor failed more often than is tolerated.
        BaseException: whatever the body raised; and what an actor raised that is no Exception, after the ordered stop.
    """
    system = ActorSystem(name, slice_clock, random.Random() if rng is None else rng)
    ready = trio.Event()
    trio.lowlevel.spawn_system_task(system._host, ready, name=f"{name}: system", context=contextvars.copy_context())
    interrupted = False
    here.systems.append(system)
    try:
        with system._body:
            await ready.wait()
            if slow_seconds is not None:
                system.lookout = Lookout(system, slow_seconds)
                system.lookout.open()
            yield system
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        await system._close(interrupted=interrupted)
        here.systems.remove(system)
        if system.lookout is not None:
            system.lookout.close()
        if system.failure is not None:
            raise system.failure


HOST.opens = open_system
