"""The cell: what stays of an actor through its restarts, and the mechanism that runs its handlers.

A cell holds the mailbox, the state and the watchers; the `Actor` in it is replaced at each restart, so refs, queued
messages and watchers outlive a crash (law A6). Everything here runs on the trio thread; other threads come in through
`put_from_thread` only.

Theory of operation. A cell is *idle* (nothing to do), *queued* (in the system's run queue) or *busy* (a coroutine of its
actor runs in a task of its own). Only the dispatcher calls `turn`, and never for a busy cell, so one message is handled at
a time (law A1). There are two lanes: `lane` for what supervisors and watched actors have to say, `queue` for messages; the
first goes first (law A2). A plain handler returns and costs no task; when a handler gives a coroutine, a task is started
for it, and the cell is busy until it ends.

This file decides nothing about restarts: it reports the end of its actor to `family` of the parent.
"""

from __future__ import annotations

import contextvars
import enum
import inspect
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

import attrs
import pykka
import pykka.messages
import trio

from .deadletters import DeadLetter, DeathReason
from .errors import AskCycle, Killed, MailboxFull, NotRunning, Refusal
from .ref import Ref
from .reply import Reply

if TYPE_CHECKING:
    from .actor import Actor
    from .family import Family
    from .system import ActorSystem

__all__ = ["ActorExited", "Cell", "Overflow", "State"]

copy_context = contextvars.copy_context
_ActorStop = pykka.messages._ActorStop
PROXY_MESSAGES = frozenset(
    (pykka.messages.ProxyCall, pykka.messages.ProxyGetAttr, pykka.messages.ProxySetAttr)
)
# How often a turn looks at the clock. Each look costs a fifth of a plain tell; eight short handlers cost microseconds.
CLOCK_EVERY = 8

Envelope = tuple[Any, "Reply[Any] | None", contextvars.Context]


class Overflow(enum.Enum):
    """What a full mailbox does with one more message that nobody waits for."""

    FAIL = "fail"
    """`tell` raises MailboxFull."""
    DROP_NEWEST = "drop_newest"
    """The message goes to dead letters."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message in the mailbox goes to dead letters, this one is taken."""


class State(enum.Enum):
    """The life of a cell."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    """The actor ended abnormally; the supervisor has not decided yet. Messages queue."""
    STOPPING = "stopping"
    DEAD = "dead"


@attrs.frozen(eq=False)
class ActorExited:
    """The death notice: `ref` is gone for good. `reason` is None after a normal end, else the exception."""

    ref: Ref[Any]
    reason: BaseException | None


class _Binding(threading.local):
    """The cell whose factory runs on this thread right now; `Actor.__init__` takes its identity from it."""

    cell: Cell | None = None


binding = _Binding()


class Cell:
    """One actor's place in a system."""

    __slots__ = (
        "actor",
        "capacity",
        "deferred",
        "factory",
        "family",
        "gone",
        "handled",
        "id",
        "idle",
        "killing",
        "lane",
        "last_error",
        "message",
        "overflow",
        "parent",
        "path",
        "queue",
        "reason",
        "receive",
        "ref",
        "reply",
        "restarts",
        "scope",
        "started",
        "state",
        "supervised",
        "system",
        "turn_end_wanted",
        "waiting_for",
        "waiting_senders",
        "watchers",
        "watching",
    )

    def __init__(
        self,
        system: ActorSystem,
        parent: Cell | None,
        id: str,
        factory: Callable[[], pykka.Actor],
        *,
        supervised: bool,
    ) -> None:
        self.system = system
        self.parent = parent
        self.id = id
        self.path = f"{parent.path}/{id}" if parent is not None else id
        self.factory = factory
        self.supervised = supervised
        self.state = State.STARTING
        self.queue: deque[Envelope] = deque()
        self.lane: deque[Any] | None = None
        self.capacity = 0
        self.overflow = Overflow.FAIL
        self.idle = False
        self.killing: BaseException | None = None
        self.scope: trio.CancelScope | None = None
        self.reply: Reply[Any] | None = None
        self.message: Any = None
        self.deferred: dict[Reply[Any], None] | None = None
        self.waiting_senders: deque[_Sender] | None = None
        self.waiting_for: dict[object, Cell] | None = None
        self.watchers: dict[Cell, None] | None = None
        self.watching: dict[Cell, None] | None = None
        self.gone: list[Callable[[BaseException | None], None]] | None = None
        self.reason: BaseException | None = None
        self.family: Family | None = None
        self.turn_end_wanted = False
        self.handled = 0
        self.restarts = 0
        self.last_error: BaseException | None = None
        self.started: Callable[[BaseException | None], None] | None = None
        # The first actor is made at once, so that a factory that raises raises at whoever spawns.
        self._make_actor(first=True)

    # -- life -----------------------------------------------------------------------------------------------------

    def _make_actor(self, *, first: bool) -> None:
        previous, binding.cell = binding.cell, self
        try:
            if first:
                # The ref needs the class, which only the factory knows; `Actor.__init__` calls `bind`.
                self.ref = cast("Ref[Any]", None)
            actor = self.factory()
        finally:
            binding.cell = previous
        if getattr(actor, "_cell", None) is not self:
            raise NotRunning(f"the factory of {self.path} has to make a new callboard actor, not {actor!r}")
        self.actor = cast("Actor", actor)
        self.receive = self.actor.on_receive

    def bind(self, actor: Actor) -> None:
        """Give a new actor its identity; called by `Actor.__init__`."""
        if self.ref is None:
            self.ref = Ref(self, type(actor))
        self.capacity = actor.mailbox_capacity
        self.overflow = actor.mailbox_overflow

    def start(self, started: Callable[[BaseException | None], None] | None = None) -> None:
        """Run `on_start`, then take messages. `started` hears None, or the exception that `on_start` raised."""
        self.state = State.STARTING
        self.started = started
        self.system.cells[self] = None
        self._run_hook(self.actor.on_start, self._after_start)

    def _after_start(self, error: BaseException | None) -> None:
        started, self.started = self.started, None
        if error is None and self.killing is None:
            self.state = State.RUNNING
            self._resume()
            if started is not None:
                started(None)
            return
        error = error if error is not None else self.killing
        assert error is not None
        self.killing = None
        self.last_error = error
        if started is not None:
            # The first start: it is raised to whoever spawned, nothing is restarted.
            self._terminate(error)
            started(error)
        else:
            self._failed(error)

    def restart(self) -> None:
        """Put a fresh actor into the cell and start it; mailbox, ref and watchers stay."""
        assert self.state is State.FAILED, self.state
        self.restarts += 1
        self.state = State.STARTING
        self.turn_end_wanted = False
        try:
            self._make_actor(first=False)
        except Exception as error:
            self.last_error = error
            self._failed(error)
            return
        self._run_hook(self.actor.on_start, self._after_start)

    def _resume(self) -> None:
        if self.lane or self.queue or self.turn_end_wanted:
            self.idle = False
            self.system.enqueue(self)
        else:
            self.idle = True

    def wake(self) -> None:
        """Queue an idle cell for a turn."""
        if self.idle:
            self.idle = False
            self.system.enqueue(self)

    # -- mailbox --------------------------------------------------------------------------------------------------

    def put(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message without waiting. Raises ActorDeadError or MailboxFull. Trio thread only."""
        if self.state is State.DEAD:
            self.refuse_dead(message, reply)
        if len(self.queue) >= self.capacity and not self._make_room(message, reply):
            return
        self.queue.append((message, reply, copy_context()))
        if self.idle:
            self.idle = False
            self.system.enqueue(self)

    def refuse_dead(self, message: Any, reply: Reply[Any] | None) -> None:
        """Raise the error of a message to an actor that is gone."""
        if reply is None:
            self.bury(message, DeathReason.DEAD)
        raise pykka.ActorDeadError(f"{self.ref} is gone")

    def bury(self, message: Any, reason: DeathReason, error: BaseException | None = None) -> None:
        """Send a message to dead letters."""
        self.system.dead_letters.add(DeadLetter(self.path, message, reason, error))

    def _make_room(self, message: Any, reply: Reply[Any] | None) -> bool:
        """Apply the overflow policy; whether the message is to be taken."""
        full = MailboxFull(f"the mailbox of {self.ref} holds {self.capacity} messages, its capacity")
        if self.overflow is Overflow.FAIL or (reply is not None and self.overflow is Overflow.DROP_NEWEST):
            raise full
        if self.overflow is Overflow.DROP_NEWEST:
            self.bury(message, DeathReason.DROPPED)
            return False
        oldest, its_reply, _ = self.queue.popleft()
        self.bury(oldest, DeathReason.DROPPED)
        if its_reply is not None:
            its_reply.set_exception(full)
        return True

    async def put_when_room(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message, waiting for room. When cancelled, the message was not taken."""
        if len(self.queue) < self.capacity and not self.waiting_senders:
            await trio.lowlevel.checkpoint_if_cancelled()
            self.put(message, reply)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self.state is State.DEAD:
            self.refuse_dead(message, reply)
        edge = self.system.begin_wait(self)
        try:
            sender = _Sender((message, reply, copy_context()))
            self.wait_for_room(sender)
            await sender.admitted.wait()
        finally:
            self.system.end_wait(edge)

    def wait_for_room(self, sender: _Sender) -> None:
        """Put a sender into the line; its `admitted` is set once its message is in the mailbox."""
        if self.state is State.DEAD:
            sender.admitted.set_exception(pykka.ActorDeadError(f"{self.ref} is gone"))
            return
        if self.waiting_senders is None:
            self.waiting_senders = deque()
        senders = self.waiting_senders
        senders.append(sender)
        sender.admitted.on_abandon = lambda: senders.remove(sender)
        self._admit()

    def _admit(self) -> None:
        senders = self.waiting_senders
        while senders and len(self.queue) < self.capacity:
            sender = senders.popleft()
            self.queue.append(sender.envelope)
            self.wake()
            sender.admitted.set(None)

    def drain(self, stop: Any, reply: Reply[Any]) -> None:
        """Queue pykka's stop behind the messages that are there, whatever the capacity."""
        self.queue.append((stop, reply, copy_context()))
        self.wake()

    def put_from_thread(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message from another thread, which waits for room (law A3).

        A single sender's messages keep their order: it appends only when nobody waits before it.
        """
        context = copy_context()
        if self.state is not State.DEAD and not self.waiting_senders and len(self.queue) < self.capacity:
            # Appending to a deque is atomic; threads that race for the last place exceed the capacity by their number.
            self.queue.append((message, reply, context))
            self.system.from_thread(self._wake_or_bury)
            return
        sender = _Sender((message, reply, context))
        self.system.from_thread(self.wait_for_room, sender)
        while not sender.admitted.done:
            try:
                sender.admitted.get(timeout=1.0)
            except pykka.Timeout:
                # A loop that ended between our note and its reading never answers.
                if not self.system.open:
                    raise pykka.ActorDeadError(f"{self.ref} is gone, its system has ended") from None
        sender.admitted.result()

    def _wake_or_bury(self) -> None:
        if self.state is State.DEAD:
            self._bury_rest()
        else:
            self.wake()

    def notify(self, message: Any) -> None:
        """Put a fact into the system lane: it overtakes messages and has no bound of its own.

        For supervisors, death notices, timers and answers to what the actor itself asked for, so that their number is
        bounded by what the actor started. Lost when the actor is gone, as such facts are.
        """
        if self.state is State.DEAD:
            return
        self._lane().append((message, None, copy_context()))
        self.wake()

    def control(self, order: Callable[[], None]) -> None:
        """Put an order of a supervisor into the system lane."""
        if self.state is State.DEAD:
            return
        self._lane().append(order)
        self.wake()

    def _lane(self) -> deque[Any]:
        if self.lane is None:
            self.lane = deque()
        return self.lane

    # -- handling -------------------------------------------------------------------------------------------------

    def turn(self, budget: int, deadline: float) -> int:
        """Handle up to `budget` messages, until `deadline` of the slice clock; returns how many were handled."""
        if self.state is not State.RUNNING or self.scope is not None:
            return 0  # killed, or made busy, between being queued and its turn
        done = 0
        queue = self.queue
        while done < budget:
            if self.lane:
                item = self.lane.popleft()
                if item.__class__ is not tuple:
                    done += 1
                    item()
                    if self.state is not State.RUNNING:
                        return done
                    continue
                message, reply, context = item
            elif queue:
                message, reply, context = queue.popleft()
                if self.waiting_senders:
                    self._admit()
            else:
                break
            done += 1
            if not self._handle(message, reply, context):
                return done
            if not done % CLOCK_EVERY and self.system.slice_clock() > deadline:
                break
        if self.turn_end_wanted:
            self.turn_end_wanted = False
            if not self._handle(_TURN_END, None, copy_context()):
                return done
        self._resume()
        return done

    def _handle(self, message: Any, reply: Reply[Any] | None, context: contextvars.Context) -> bool:
        """Handle one message; whether the cell may go on with the next one."""
        if reply is not None and reply.abandoned:
            self.bury(message, DeathReason.EXPIRED)
            return True
        self.reply = reply
        self.message = message
        kind = message.__class__
        try:
            if kind is _ActorStop:
                self.reply = None
                if reply is not None:
                    self.when_gone(lambda _: reply.set(None))
                self.begin_stop()
                return False
            if message is _TURN_END:
                result = context.run(self.actor.on_turn_end)  # type: ignore[func-returns-value]
            elif kind in PROXY_MESSAGES:
                result = context.run(self.actor._handle_receive, message)
            else:
                result = context.run(self.receive, message)
        except Exception as error:
            return self._raised(error, message, self.reply)
        except BaseException as error:
            self._raised(error, message, self.reply)
            self.system.abort(error)
            return False
        if result.__class__ is CoroutineType:
            self._run_coroutine(result, context, self._after_handler)
            return False
        self._answered(result)
        return True

    def _answered(self, result: Any) -> None:
        self.handled += 1
        self.message = None
        reply, self.reply = self.reply, None
        if reply is not None and not reply.abandoned:
            reply.set(result)

    def _raised(self, error: BaseException, message: Any, reply: Reply[Any] | None) -> bool:
        """A handler raised: tell the asker, and fail unless it was an answer. Whether the cell goes on."""
        self.handled += 1
        self.message = None
        self.reply = None
        if reply is not None and not reply.abandoned:
            reply.set_exception(error)
        if isinstance(error, Refusal):
            if reply is None:
                self.bury(message, DeathReason.CRASHED, error)
            return True
        if not self.supervised and reply is not None and isinstance(error, Exception):
            return True  # pykka's rule: raised in an ask, it is the answer
        self.bury(message, DeathReason.CRASHED, error)
        self.fail(error)
        return False

    def _run_coroutine(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        then: Callable[[Any, BaseException | None, bool], None],
    ) -> None:
        """Run a coroutine of the actor in a task; the cell is busy until `then(result, error, cancelled)`."""
        self.idle = False
        self.scope = scope = trio.CancelScope()
        reply = self.reply
        if reply is not None:
            reply.on_abandon = lambda: self.system.run_soon(scope.cancel)
        if self.killing is not None:
            scope.cancel()
        context.run(self.system.start_task, self, coroutine, scope, then)

    def _after_handler(self, result: Any, error: BaseException | None, cancelled: bool) -> None:
        self.scope = None
        if self.killing is not None:
            self.bury(self.message, DeathReason.INTERRUPTED, self.killing)
            reply, self.reply, self.message = self.reply, None, None
            if reply is not None and not reply.abandoned:
                reply.set_exception(pykka.ActorDeadError(f"{self.ref} was killed while it worked on the answer"))
            self._killed()
            return
        if error is not None:
            goes_on = self._raised(error, self.message, self.reply)
        else:
            # A handler that was cancelled because its asker has gone is no failure (law A5); the answer is dropped.
            self._answered(result)
            goes_on = True
        if goes_on:
            self._resume()

    def _run_hook(self, hook: Callable[[], Any], then: Callable[[BaseException | None], None]) -> None:
        """Call a life-cycle hook, plain or async, and say how it ended."""
        self.idle = False
        try:
            result = hook()
        except Exception as error:
            then(error)
            return
        if not inspect.iscoroutine(result):
            then(None)
            return

        def after(_: Any, error: BaseException | None, cancelled: bool) -> None:
            self.scope = None
            then(error if error is not None or not cancelled else (self.killing or Killed("cancelled")))

        self._run_coroutine(result, copy_context(), after)

    # -- the end --------------------------------------------------------------------------------------------------

    def begin_stop(self) -> None:
        """Stop in order: the children in reverse, then `on_stop`, then the end. Runs in a turn of the cell."""
        if self.state in (State.STOPPING, State.DEAD):
            return
        self.state = State.STOPPING
        self.idle = False
        if self.family is not None and self.family.children:
            self.family.stop_all(self._stop_self)
        else:
            self._stop_self()

    def _stop_self(self) -> None:
        if self.killing is not None or self.state is State.DEAD:
            return  # killed while the children stopped; the kill sees to the end
        self._run_hook(self.actor.on_stop, self._after_stop)

    def _after_stop(self, error: BaseException | None) -> None:
        if error is not None:
            self.last_error = error
            self.system.report(self, error)
        self._terminate(error)

    def request_kill(self, error: BaseException) -> None:
        """Kill from anywhere on the trio thread: a coroutine is cancelled at once, else it waits for the next turn."""
        if self.scope is not None:
            self.kill(error, final=False)
        else:
            self.control(lambda: self.kill(error, final=False))

    def kill(self, error: BaseException, *, final: bool) -> None:
        """End abnormally at once: the handler is cancelled, `on_stop` is not called.

        With `final` the supervisor is not asked: the cell is gone as soon as its handler lets go. Must not be called
        from a plain handler of this very cell; `request_kill` may.
        """
        if self.state is State.DEAD:
            return
        if final:
            self.supervised = False
        self.killing = error
        if self.scope is not None:
            self.scope.cancel()
        elif self.state is not State.FAILED or final:
            self._killed()

    def _killed(self) -> None:
        error = self.killing
        assert error is not None
        if self.state is State.STOPPING or self.parent is None or not self.supervised:
            if self.family is not None and self.family.children:
                self.state = State.STOPPING
                self.family.kill_all(lambda: self._terminate(error))
            else:
                self._terminate(error)
        else:
            self.killing = None
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End abnormally; the supervisor decides what follows."""
        self.last_error = error
        self.idle = False
        self.state = State.FAILED
        self.system.report(self, error)
        try:
            self.actor.on_failure(type(error), error, error.__traceback__)
        except Exception as second:
            self.system.report(self, second)
        self._drop_deferred(error)
        if self.family is not None and self.family.children:
            self.family.stop_all(lambda: self._failed(error))
        else:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.state = State.FAILED
        self.idle = False
        parent = self.parent
        orphan = parent is None or parent.family is None or parent.state in (State.FAILED, State.STOPPING)
        if orphan or not self.supervised:
            self._terminate(error)
            if parent is None:
                self.system.abort(error)
            return
        assert parent is not None and parent.family is not None
        family = parent.family
        parent.control(lambda: family.child_failed(self, error))

    def _terminate(self, reason: BaseException | None) -> None:
        """The end for good: whoever waits is told, whoever watches is told once."""
        if self.state is State.DEAD:
            return
        self.state = State.DEAD
        self.idle = False
        self.reason = reason
        self.ref.actor_stopped.set()
        self.lane = None
        dead = pykka.ActorDeadError(f"{self.ref} is gone")
        self._bury_rest(offer=reason is None)
        senders, self.waiting_senders = self.waiting_senders, None
        for sender in senders or ():
            if not sender.admitted.abandoned:
                sender.admitted.set_exception(dead)
        self._drop_deferred(dead)
        for watched in self.watching or ():
            if watched.watchers is not None:
                watched.watchers.pop(self, None)
        watchers, self.watchers, self.watching = self.watchers, None, None
        notice = ActorExited(self.ref, reason)
        for watcher in watchers or ():
            watcher.notify(notice)
        del self.system.cells[self]
        if self.parent is not None and self.parent.family is not None:
            self.parent.family.child_gone(self)
        gone, self.gone = self.gone, None
        for callback in gone or ():
            callback(reason)
        self.system.cell_gone()

    def _bury_rest(self, *, offer: bool = False) -> None:
        while self.queue:
            message, reply, _ = self.queue.popleft()
            if reply is not None and reply.abandoned:
                self.bury(message, DeathReason.EXPIRED)
            elif message.__class__ is _ActorStop:
                if reply is not None:
                    reply.set(None)
            elif offer and self._taken_over(message, reply):
                continue
            else:
                self.bury(message, DeathReason.STOPPED)
                if reply is not None:
                    reply.set_exception(pykka.ActorDeadError(f"{self.ref} stopped before it handled the message"))

    def _taken_over(self, message: Any, reply: Reply[Any] | None) -> bool:
        try:
            return self.actor.on_undelivered(message, reply)
        except Exception as error:
            self.system.report(self, error)
            return False

    def _drop_deferred(self, error: BaseException) -> None:
        deferred, self.deferred = self.deferred, None
        for reply in deferred or ():
            if not reply.done and not reply.abandoned:
                reply.set_exception(error)

    # -- watching -------------------------------------------------------------------------------------------------

    def watch(self, watcher: Cell) -> None:
        """Tell `watcher` once when this cell is gone; at once if it is gone already."""
        if self.state is State.DEAD:
            watcher.notify(ActorExited(self.ref, self.reason))
            return
        if self.watchers is None:
            self.watchers = {}
        self.watchers[watcher] = None
        if watcher.watching is None:
            watcher.watching = {}
        watcher.watching[self] = None

    def unwatch(self, watcher: Cell) -> None:
        """Take a watch back; a notice that is on its way still arrives."""
        if self.watchers is not None:
            self.watchers.pop(watcher, None)
        if watcher.watching is not None:
            watcher.watching.pop(self, None)

    def when_gone(self, callback: Callable[[BaseException | None], None]) -> None:
        """Call `callback(reason)` when the cell is gone; at once if it is."""
        if self.state is State.DEAD:
            callback(self.reason)
            return
        if self.gone is None:
            self.gone = []
        self.gone.append(callback)

    # -- waiting for each other -----------------------------------------------------------------------------------

    def cycle_from(self, asker: Cell) -> list[str] | None:
        """The paths of the circle that `asker` would close by waiting for this cell, or None (law A10)."""
        trail: list[Cell] = []
        seen: set[Cell] = set()

        def walk(cell: Cell) -> bool:
            trail.append(cell)
            if cell is asker:
                return True
            if cell not in seen:
                seen.add(cell)
                for target in (cell.waiting_for or {}).values():
                    if walk(target):
                        return True
            trail.pop()
            return False

        return [asker.path, *(cell.path for cell in trail)] if walk(self) else None


class _TurnEnd:
    """The message that stands for `on_turn_end` in statistics and dead letters."""

    def __repr__(self) -> str:
        return "<end of turn>"


_TURN_END = _TurnEnd()


class _Sender:
    """Someone who waits for room in a mailbox, with the message to be taken."""

    __slots__ = ("admitted", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.admitted: Reply[None] = Reply()


def no_cycle(asker: Cell, target: Cell) -> None:
    """Raise AskCycle if `asker` may not wait for `target`."""
    circle = target.cycle_from(asker)
    if circle is not None:
        raise AskCycle("actors would wait for each other: " + " -> ".join(circle))
