"""The cell: what stays of an actor through its restarts, and the mechanism that runs its handlers.

A cell is a mailbox with a life: the `Actor` in it is replaced at each restart, so refs, queued messages and watchers
outlive a crash (law A6). Everything here runs on the trio thread.

Theory of operation. A cell is *idle* (nothing to do), *queued* (in the system's run queue) or *busy* (a coroutine of
its actor runs in a task of its own, `scope` is set). Only the dispatcher calls `turn`, which does nothing for a busy
cell, so one message is handled at a time (law A1). A plain handler returns and costs no task; when a handler gives a
coroutine, a task is started for it, and the cell is busy until it ends.

An *incarnation* is the time from one start of the actor to its end. It ends in order (`begin_stop`), by an exception
(`fail`) or by force (`kill`). This file decides nothing about restarts: it reports a failed incarnation to `family` of
the parent, from the dispatcher and not from within another actor's turn, so that a busy parent delays no decision. One
that ends because a sibling is restarted (`bring_down`) ends in the same ways, but the cell then waits to be started
again instead of being gone.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import attrs
import pykka
import trio

from .deadletters import DeathReason
from .errors import NotRunning, Refusal
from .mailbox import SPECIAL, ActorStop, Mailbox
from .ref import Ref
from .reply import Reply

if TYPE_CHECKING:
    from .actor import Actor
    from .family import Family
    from .system import ActorSystem

__all__ = ["ActorExited", "Cell", "State", "binding"]

# How often a turn looks at the clock. Each look costs a fifth of a plain tell; eight short handlers cost microseconds.
CLOCK_EVERY = 8


class State(enum.Enum):
    """The life of a cell."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    """The incarnation has ended by itself, mostly abnormally; its children stop, then the supervisor decides. Messages
    queue."""
    RESTARTING = "restarting"
    """It will be started again when a back-off has passed, or siblings have stopped. Messages queue."""
    STOPPING = "stopping"
    DEAD = "dead"


# Python 3.11 looks a member of an enum up slowly, and a short life is ten such looks.
STARTING, RUNNING, FAILED, RESTARTING, STOPPING, DEAD = State


@attrs.frozen(eq=False)
class ActorExited:
    """The death notice: `ref` is gone for good. `reason` is None after a normal end, else the exception."""

    ref: Ref[Any]
    reason: BaseException | None


class _Binding(threading.local):
    """The cell whose factory runs on this thread right now; `Actor.__init__` takes its identity from it."""

    cell: Cell | None = None


binding = _Binding()


class Cell(Mailbox):
    """One actor's place in a system."""

    __slots__ = (
        "actor",
        "busy_since",
        "comes_back",
        "deferred",
        "factory",
        "family",
        "final",
        "gone",
        "handled",
        "id",
        "kill_wanted",
        "killing",
        "last_error",
        "message",
        "parent",
        "reason",
        "receive",
        "reply",
        "restarts",
        "scope",
        "started",
        "state",
        "supervised",
        "turn_end_wanted",
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
        super().__init__(system, f"{parent.path}/{id}" if parent is not None else id)
        self.parent = parent
        self.id = id
        self.factory = factory
        # What an exception means: a failure, or pykka's rule (raised in an ask it is the answer, and no more).
        self.supervised = supervised
        self.state = STARTING
        # Somebody wants this incarnation killed, at the next moment when no handler of it is on the stack.
        self.kill_wanted: BaseException | None = None
        self.killing: BaseException | None = None
        # The supervisor is not asked: the end of this incarnation is the end.
        self.final = False
        # This incarnation is brought down with a sibling's: its end, whatever it is, is not the end of the cell.
        self.comes_back = False
        self.scope: trio.CancelScope | None = None
        self.busy_since = 0.0
        self.reply: Reply[Any] | None = None
        self.message: Any = None
        self.deferred: dict[Reply[Any], None] | None = None
        self.watchers: dict[Cell, None] | None = None
        self.watching: dict[Cell, None] | None = None
        self.gone: dict[Callable[[BaseException | None], None], None] | None = None
        self.reason: BaseException | None = None
        self.family: Family | None = None
        self.turn_end_wanted = False
        self.handled = 0
        self.restarts = 0
        self.last_error: BaseException | None = None
        self.started: Callable[[BaseException | None], None] | None = None
        # The first actor is made at once, so that a factory that raises raises at whoever spawns.
        self._make_actor()

    # -- life -------------------------------------------------------------------------------------------------------

    def _make_actor(self) -> None:
        previous, binding.cell = binding.cell, self
        before = getattr(self, "actor", None)
        try:
            actor: Any = self.factory()
            if getattr(actor, "_cell", None) is not self and isinstance(actor, pykka.Actor):
                actor = self.system.bridged(actor)
        finally:
            binding.cell = previous
        if getattr(actor, "_cell", None) is not self or actor is before:
            raise NotRunning(f"the factory of {self.path} has to make a new callboard actor, not {actor!r}")
        self.receive = actor.on_receive

    def bind(self, actor: Actor, seen: pykka.Actor) -> None:
        """Give a new actor its identity, and the bound that the one who is seen in its place declares, if it does.

        Called by `Actor.__init__`.
        """
        capacity = getattr(seen, "mailbox_capacity", actor.mailbox_capacity)
        if capacity < 1:
            raise ValueError(f"mailbox_capacity of {type(seen).__name__} is {capacity}; it must be >= 1")
        self.actor = actor  # already here, because its `__init__` may make a proxy to itself
        if not hasattr(self, "ref"):
            self.kind = type(seen)
            self.ref = self._make_ref()
        self.capacity = capacity
        self.overflow = getattr(seen, "mailbox_overflow", actor.mailbox_overflow)

    def _make_ref(self) -> Ref[Any]:
        return Ref(self)

    def report(self, error: BaseException) -> None:
        """Tell operators of a failure."""
        self.system.report(self, error)

    def start(self, started: Callable[[BaseException | None], None] | None = None) -> None:
        """Run `on_start`, then take messages. `started` hears None, or the exception that `on_start` raised."""
        self.started = started
        self.system.cells[self] = None
        self._run_hook(self.actor.on_start, self._after_start)

    def restart(self) -> None:
        """Put a fresh actor into the cell and start it; mailbox, ref and watchers stay."""
        assert self.state in (FAILED, RESTARTING), self.state
        assert self.family is None or not self.family.children, self.family
        self.restarts += 1
        self.state = STARTING
        # A new incarnation supervises anew, with an empty window of restarts.
        self.family = None
        self.killing = None
        self.turn_end_wanted = False
        try:
            self._make_actor()
        except BaseException as error:  # noqa: BLE001 - the cell: a factory that raises is a failed start
            self._after_start(error)
            self._abort_unless_exception(error)
            return
        self._run_hook(self.actor.on_start, self._after_start)

    def _after_start(self, error: BaseException | None) -> None:
        started, self.started = self.started, None
        if error is None:
            self.state = RUNNING
            self._resume()
            if started is not None:
                started(None)
            elif self.restarts:
                self._parents_family().child_up(self)
            return
        self.state = FAILED
        self.kill_wanted = None
        self.last_error = error
        if started is not None:
            # The first start: whoever spawned hears of it and decides, nothing is restarted.
            self.final = True
            self.comes_back = False
            started(error)
        else:
            self.report(error)
        self._drop_deferred(error)
        if self.killing is not None and (self.final or self.comes_back):
            self._killed(error)
        else:
            self._without_children(lambda: self._failed(error))

    def _without_children(self, then: Callable[[], None]) -> None:
        """Stop the children, if there are any, in order, and call `then`."""
        if self.family is not None and self.family.children:
            self.family.stop_all(then)
        else:
            then()

    def _parents_family(self) -> Family:
        assert self.parent is not None
        assert self.parent.family is not None
        return self.parent.family

    def stops_after(self) -> Iterable[Cell]:
        """Those that this cell waits for before it can stop, or start again: children, or siblings in a restart."""
        if self.state is RESTARTING:
            return self._parents_family().still_stopping()
        if self.family is None or self.state not in (STOPPING, FAILED):
            return ()
        return (child.cell for child in self.family.children.values())

    def _resume(self) -> None:
        if self.lane or self.queue or self.turn_end_wanted:
            self.system.enqueue(self)
        else:
            self.idle = True

    # -- handling ---------------------------------------------------------------------------------------------------

    def turn(self, budget: int, deadline: float) -> int:
        """Handle up to `budget` messages, until `deadline` of the slice clock; returns how many were handled."""
        if self.state is not RUNNING or self.scope is not None:
            return 0  # its life has changed since it was queued
        done = 0
        look_at = CLOCK_EVERY
        queue = self.queue
        receive = self.receive
        # Those who stand in line now: nobody joins it while this runs.
        senders = self.senders
        blank = self.system.blank_context  # this runs in it
        while done < budget:
            if self.lane:
                item = self.lane.popleft()
                if item.__class__ is not tuple:
                    done += 1
                    self.message = None
                    self._obey(item)
                    if self.state is not RUNNING:
                        return done
                    continue
            elif queue:
                item = queue.popleft()
                if senders:
                    self.admit()
            else:
                break
            done += 1
            try:
                if item.__class__ is not tuple:
                    reply = None
                    self.message = item
                    result = receive(item)
                else:
                    message, reply, context = item
                    function = receive
                    if message.__class__ in SPECIAL or (reply is not None and reply.abandoned):
                        special = self._special(message, reply)
                        if special is None:
                            if self.state is not RUNNING:
                                return done
                            continue
                        function = special
                    self.message = message
                    self.reply = reply
                    result = function(message) if context is None else context.run(function, message)
            except BaseException as error:  # noqa: BLE001 - the cell: the supervisor decides what an exception means
                if not self.system.home.run(self._raised, error):
                    return done
            else:
                if result is not None and result.__class__ is CoroutineType:
                    if item.__class__ is tuple and item[2] is not None:
                        item[2].run(self._run_coroutine, result, self._after_handler)
                    else:
                        self._run_coroutine(result, self._after_handler)
                    return done
                # `_answered`, spelled out: a call less is a tenth of the whole.
                self.handled += 1
                if reply is not None:
                    reply, self.reply = self.reply, None  # the handler may have taken it over
                    if reply is not None:
                        reply.offer(result)
            if blank:
                break  # the next message is not to see what this one has set
            if done >= look_at:
                look_at += CLOCK_EVERY
                if self.system.slice_clock() > deadline:
                    break
        self.message = None
        if self.turn_end_wanted:
            self.turn_end_wanted = False
            self._obey(self.actor.on_turn_end)
            if self.state is not RUNNING:
                return done
        # `_resume`, spelled out.
        if queue or self.lane or self.turn_end_wanted:
            self.system.enqueue(self)
        else:
            self.idle = True
        return done

    def _special(self, message: Any, reply: Reply[Any] | None) -> Callable[[Any], Any] | None:
        """What handles a message that is not for `on_receive`, or None if that has been done."""
        if reply is not None and reply.abandoned:
            self.bury(message, DeathReason.EXPIRED)
            return None
        if message.__class__ is ActorStop:
            if reply is not None:
                self.when_gone(lambda _: reply.set(None))
            self.message = None
            self.system.home.run(self.begin_stop)
            return None
        return self.actor._handle_receive

    def _obey(self, order: Callable[[], None]) -> None:
        """Call an order of the lane, or a plain hook."""
        try:
            self.system.home.run(order)
        except BaseException as error:  # noqa: BLE001 - the cell: a hook that raises is a failure of its actor
            self.fail(error)
            self._abort_unless_exception(error)

    def _answered(self, result: Any) -> None:
        self.handled += 1
        self.message = None
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.offer(result)

    def _raised(self, error: BaseException) -> bool:
        """A handler raised: tell the asker, and fail unless it was an answer. Whether the cell goes on."""
        message, reply = self._answered_with(error)
        if isinstance(error, Refusal):
            if reply is None:
                self.bury(message, DeathReason.CRASHED, error)
            return True
        if not self.supervised and reply is not None and isinstance(error, Exception):
            return True  # pykka's rule: raised in an ask, it is the answer
        self.bury(message, DeathReason.CRASHED, error)
        self.fail(error)
        self._abort_unless_exception(error)
        return False

    def _answered_with(self, error: BaseException) -> tuple[Any, Reply[Any] | None]:
        """The message in hand is done, by an exception; gives it and where it was answered."""
        self.handled += 1
        message, self.message = self.message, None
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.offer_exception(error)
        return message, reply

    def _abort_unless_exception(self, error: BaseException) -> None:
        """End the whole system for what is no Exception: SystemExit, or a KeyboardInterrupt of the actor's own code."""
        if not isinstance(error, Exception):
            self.system.abort(error)

    def _run_coroutine(
        self,
        coroutine: Coroutine[Any, Any, Any],
        then: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Run a coroutine of the actor in a task, in a copy of this context; busy until `then(result, error)`."""
        self.scope = scope = trio.CancelScope()
        self.busy_since = trio.current_time()
        if self.reply is not None:
            # Law A5. The asker may be on another thread; a scope that has been left bears being cancelled.
            self.reply.on_abandon = lambda: self.system.run_soon(scope.cancel)
            if self.reply.abandoned:
                scope.cancel()  # in this very moment, by a thread that found nobody to tell
        self.system.coroutines.start(self, coroutine, scope, then)

    def _after_handler(self, result: Any, error: BaseException | None) -> None:
        if self.killing is not None:
            message, reply, killing = self.message, self.reply, self.killing
            self.message = self.reply = None
            if error is not None:
                self.report(error)
            self.bury(message, DeathReason.INTERRUPTED, killing)
            if reply is not None:
                reply.offer_exception(pykka.ActorDeadError(f"{self} was killed while it worked on the answer"))
            self._killed(killing)
        elif error is None:
            # Also a handler that was cancelled because its asker has gone: no failure, its answer is dropped (law A5).
            self._answered(result)
            self._resume()
        elif self._raised(error):
            self._resume()

    def _run_hook(self, hook: Callable[[], Any], then: Callable[[BaseException | None], None]) -> None:
        """Call a life-cycle hook, plain or async, and say how it ended."""
        self.idle = False
        try:
            result = hook()
        except BaseException as error:  # noqa: BLE001 - the cell: what a hook raises is handed on
            then(error)
            self._abort_unless_exception(error)
            return
        if result.__class__ is CoroutineType:
            self._run_coroutine(result, lambda _, error: then(error if error is not None else self.killing))
        else:
            then(None)

    # -- the end ----------------------------------------------------------------------------------------------------

    def begin_stop(self) -> None:
        """Stop in order: the children in reverse, then `on_stop`, then the end. Runs in a turn of the cell."""
        if self.state is not RUNNING:
            return  # told twice
        self.comes_back = False
        self._begin_stop()

    def bring_down(self) -> None:
        """End this incarnation in order, for the cell to be started again; the family's `child_down` is called then.

        Nothing happens to one that is on its way out for good.
        """
        if self.state not in (STOPPING, DEAD):
            self.comes_back = True
            self.control(self._go_down)

    def _go_down(self) -> None:
        if self.comes_back:  # else it went down in another way before this turn
            self._begin_stop()

    def _begin_stop(self) -> None:
        self.state = STOPPING
        self.idle = False
        if self.kill_wanted is not None:
            self.system.do_soon(self._kill_as_wanted)  # it came after the stop: there will be no turn for it
        self._without_children(self._stop_self)

    def _stop_self(self) -> None:
        if self.killing is None:  # else the kill sees to the end
            self._run_hook(self.actor.on_stop, self._after_stop)

    def _after_stop(self, error: BaseException | None) -> None:
        if error is not None:
            self.last_error = error
            self.report(error)
        self.terminate(error)

    def request_kill(self, error: BaseException) -> None:
        """Kill from anywhere on the trio thread, a handler of this very cell included.

        It means the incarnation of this moment: one that has failed already is not killed once more after its restart.
        """
        if self.state in (FAILED, RESTARTING, DEAD):
            return
        self.kill_wanted = error
        if self.scope is not None:
            self._kill_as_wanted()
        elif self.state is STOPPING:
            self.system.do_soon(self._kill_as_wanted)  # it takes no turn any more
        else:
            self.control(self._kill_as_wanted)

    def _kill_as_wanted(self) -> None:
        error, self.kill_wanted = self.kill_wanted, None
        if error is not None:
            self.kill(error, final=False)

    def kill(self, error: BaseException, *, final: bool) -> None:
        """End abnormally: a coroutine is cancelled, `on_stop` is not called.

        With `final` the supervisor is not asked, and children are killed too. Not from within a handler.
        """
        if self.state is DEAD:
            return
        self.killing = error
        if final:
            self.final = True
            self.comes_back = False
        if self.scope is not None:
            self.scope.cancel()
        else:
            self._killed(error)

    def _killed(self, error: BaseException) -> None:
        if self.state is STOPPING or self.final or self.comes_back:
            self.state = STOPPING
            self.idle = False
            if self.family is not None and self.family.children:
                self.family.kill_all(lambda: self.terminate(error))
            else:
                self.terminate(error)
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End abnormally; when the children have stopped, the supervisor decides what follows."""
        self.state = FAILED
        self.idle = False
        self.kill_wanted = None
        self.last_error = error
        self.report(error)
        try:
            self.actor.on_failure(type(error), error, error.__traceback__)
        except BaseException as second:  # noqa: BLE001 - the cell: it has failed already, so this is only told
            self.report(second)
            self._abort_unless_exception(second)
        self._drop_deferred(error)
        self._without_children(lambda: self._failed(error))

    def leave(self) -> None:
        """End in good order and by nobody's order, as a thread may; the supervisor decides what follows."""
        if self.state is not RUNNING:
            return
        self.state = FAILED
        self.idle = False
        self.kill_wanted = None
        self._drop_deferred(pykka.ActorDeadError(f"{self} has ended"))
        self._without_children(lambda: self._failed(None))

    def _failed(self, error: BaseException | None) -> None:
        if self.state is not FAILED:
            return  # killed for good while its children stopped
        self.actor._let_go()
        parent = self.parent
        if self.final or not self.supervised or parent is None:
            self.terminate(error)
            if parent is None and error is not None:
                self.system.abort(error)
            return
        family = self._parents_family()
        self.system.do_soon(lambda: family.child_failed(self, error))

    def terminate(self, reason: BaseException | None) -> None:
        """The end for good: whoever waits is told, whoever watches is told once. Of one that comes back, a pause."""
        if self.state is DEAD:
            return
        if self.comes_back:
            self._down()
            return
        self.state = DEAD
        self.reason = reason
        self.close(self._taken_over if reason is None else _not_taken_over)
        if self.deferred:
            self._drop_deferred(pykka.ActorDeadError(f"{self} not found"))
        for watched in self.watching or ():
            if watched.watchers is not None:
                watched.watchers.pop(self, None)
        watchers, self.watchers, self.watching = self.watchers, None, None
        if watchers:
            notice = ActorExited(self.ref, reason)
            for watcher in watchers:
                if watcher.watching is not None:
                    watcher.watching.pop(self, None)  # or one that lives long would hold all that it ever watched
                watcher.notify(notice)
        del self.system.cells[self]
        self.system.handled_by_gone += self.handled
        if self.parent is not None and self.parent.family is not None:
            self.parent.family.child_gone(self)
        gone, self.gone = self.gone, None
        for callback in gone or ():
            self.system.call(callback, reason)
        self.actor._let_go()
        # Refs may be kept for long; what the actor held is not. Nothing here refers to itself any more.
        del self.actor, self.receive, self.factory, self.ref
        if self.parent is not None:  # the root's goes on refusing
            self.family = None
        self.system.cell_gone()

    def _down(self) -> None:
        """The end of an incarnation that was brought down; what waits in the mailbox goes on waiting."""
        self.actor._let_go()
        self.state = RESTARTING
        self.comes_back = False
        self.kill_wanted = None
        self._drop_deferred(pykka.ActorDeadError(f"{self} was restarted with a sibling before it answered"))
        self._parents_family().child_down(self)

    def _taken_over(self, message: Any, reply: Reply[Any] | None) -> bool:
        try:
            return self.actor.on_undelivered(message, reply)
        except Exception as error:  # noqa: BLE001 - the cell: the actor has ended, so this is only told
            self.report(error)
            return False

    def _drop_deferred(self, error: BaseException) -> None:
        deferred, self.deferred = self.deferred, None
        # A copy, because answering one takes it out, on other threads too.
        for reply in tuple(deferred or ()):
            reply.offer_exception(error)

    # -- watching ---------------------------------------------------------------------------------------------------

    def watch(self, watcher: Cell, ref: Ref[Any]) -> None:
        """Tell `watcher` once when this cell, whose ref this is, is gone; at once if it is gone already."""
        if self.state is DEAD:
            watcher.notify(ActorExited(ref, self.reason))
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
        if self.state is DEAD:
            self.system.call(callback, self.reason)
            return
        if self.gone is None:
            self.gone = {}
        self.gone[callback] = None

    def forget_when_gone(self, callback: Callable[[BaseException | None], None]) -> None:
        """Take `when_gone` back."""
        if self.gone is not None:
            self.gone.pop(callback, None)


def _not_taken_over(message: Any, reply: Reply[Any] | None) -> bool:
    return False
