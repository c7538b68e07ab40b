"""A cell's children: starting them, carrying out what `supervision.decide` plans, stopping them in order.

Everything runs on the trio thread and nothing here waits: an ordered stop is a chain of callbacks with a timer, so a
supervisor that takes down one stuck child still looks after all others. How siblings are restarted together is told in
`together.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import trio

from .cell import DEAD, FAILED, RESTARTING, RUNNING, STARTING, Cell
from .errors import Killed, NotRunning, RestartsExhausted
from .ref import Ref
from .supervision import ChildSpec, Exit, ExitKind, Plan, Restart, Strategy, Supervision, decide
from .together import Child, Together

__all__ = ["Child", "Family"]

Started = Callable[[BaseException | None], None]


class Family:
    """The children of one incarnation of an actor."""

    def __init__(self, cell: Cell, supervision: Supervision) -> None:
        self._cell = cell
        self._supervision = supervision
        self._history: tuple[float, ...] = ()
        self._together: Together | None = None
        # The failure that was counted last, and whom it has reached: see `_echoes`.
        self._incident: BaseException | None = None
        self._struck: set[str] = set()
        # In order of start: an ordered stop goes backwards.
        self.children: dict[str, Child] = {}

    @trio.lowlevel.enable_ki_protection
    def start(self, spec: ChildSpec, started: Started | None = None) -> Ref[Any]:
        """Start a child.

        A plain `on_start` has run when this returns, and its exception is raised here. For an async one `started`
        hears how it went; without `started` its exception is reported, and the child is gone.

        Raises:
            ValueError: a child of this id exists.
            NotRunning: the parent has ended, or is about to, so nobody would look after the child.
        """
        if self._cell.state not in (STARTING, RUNNING):
            raise NotRunning(f"{self._cell.path} is {self._cell.state.value} and starts no child {spec.id!r}")
        if spec.id in self.children:
            raise ValueError(f"{self._cell.path} has a child {spec.id!r} already")
        cell = Cell(self._cell.system, self._cell, spec.id, spec.factory, supervised=True)
        self.adopt(spec, cell)
        ref = cell.ref
        cell.start(_at_once)
        if cell.state is STARTING:
            cell.started = partial(self._report, cell, started)
        elif cell.state is not RUNNING:
            assert cell.last_error is not None
            raise cell.last_error
        elif started is not None:
            started(None)
        return ref

    def _report(self, cell: Cell, started: Started | None, error: BaseException | None) -> None:
        if started is not None:
            cell.system.call(started, error)
        elif error is not None:
            cell.system.report(cell, error)

    def adopt(self, spec: ChildSpec, cell: Cell) -> None:
        """Take a cell that was made as a child."""
        self.children[spec.id] = Child(spec, cell)

    def child_gone(self, cell: Cell) -> None:
        """A child is gone for good; called by its cell."""
        child = self.children.get(cell.id)
        if child is not None and child.cell is cell:
            del self.children[cell.id]
            if child.deadline is not None:
                child.deadline.cancel()
            if self._together is not None:
                self._together.ended(child)

    def child_down(self, cell: Cell) -> None:
        """A child that was brought down can be started again; called by its cell."""
        assert self._together is not None
        child = self.children[cell.id]
        if child.up_since is not None and trio.current_time() - child.up_since >= self._supervision.period_seconds:
            child.failures = 0  # it ran long enough: should its next start fail, that is the first of a new row
        child.up_since = None
        self._together.ended(child)

    def child_up(self, cell: Cell) -> None:
        """The `on_start` of a restarted child has run; called by its cell."""
        child = self.children[cell.id]
        child.up_since = trio.current_time()
        if self._together is not None:
            self._together.came_up(child)

    def still_stopping(self) -> Iterable[Cell]:
        """The cells that have to stop before those which are restarted with them can start."""
        return () if self._together is None else self._together.still_stopping()

    def child_failed(self, cell: Cell, error: BaseException | None) -> None:
        """A child ended by itself, abnormally unless `error` is None: decide and carry it out.

        Called by the dispatcher, in nobody's turn.
        """
        child = self.children.get(cell.id)
        if child is None or child.cell is not cell or cell.state is not FAILED:
            return  # stopped for good while the report was on its way
        if child.stopping or cell.comes_back or self._cell.state not in (STARTING, RUNNING):
            cell.terminate(error)
            return
        if self._together is not None and self._together.absorbs(child):
            cell.comes_back = child.spec.restart is not Restart.TEMPORARY
            cell.terminate(error)
            return
        dynamic = self._supervision.strategy is Strategy.DYNAMIC
        kind = ExitKind.NORMAL if error is None else ExitKind.ABNORMAL
        echo = not dynamic and error is not None and self._echoes(child, error)
        plan = self._decide(child, kind, child.history if dynamic else self._history, echo=echo)
        if dynamic:
            child.history = plan.history
        else:
            self._history = plan.history
        child.failures = plan.failures
        child.up_since = None
        if plan.give_up:
            self._give_up(cell, error, len(plan.history), dynamic=dynamic)
        elif not plan.restart:
            cell.terminate(error)
        elif self._supervision.strategy.together:
            if self._together is None:
                self._together = Together(self._cell, self.children)
            self._together.carry_out(plan, child)
        elif plan.delay_seconds:
            cell.state = RESTARTING
            child.timer = cell.system.timers.call_later(plan.delay_seconds, cell.restart)
        else:
            cell.restart()

    def _echoes(self, child: Child, error: BaseException) -> bool:
        """Whether `error` has been counted already, for a sibling from which this child got it as an answer.

        One bug at the end of a chain of asks fails everybody in it who does not catch its exception, and so does the
        ask that would close a circle: that is one incident, and no loop of restarts. Nobody is forgiven twice.
        """
        if self._incident is not None and child.spec.id not in self._struck and _stems_from(error, self._incident):
            self._struck.add(child.spec.id)
            return True
        self._incident, self._struck = error, {child.spec.id}
        return False

    def _decide(self, child: Child, kind: ExitKind, history: tuple[float, ...], *, echo: bool) -> Plan:
        supervision = self._supervision
        now = trio.current_time()
        concerned = self.children.values() if supervision.strategy.together else (child,)
        return decide(
            supervision,
            {each.spec.id: each.spec.restart for each in concerned},
            Exit(
                child.spec.id,
                kind,
                child.failures,
                0.0 if child.up_since is None else now - child.up_since,
                echo,
            ),
            history,
            now,
            0.0 if supervision.backoff is None else self._cell.system.rng.random(),
        )

    def _give_up(self, cell: Cell, error: BaseException | None, restarts: int, *, dynamic: bool) -> None:
        what = "ended" if error is None else "failed"
        exhausted = RestartsExhausted(
            f"{cell.path} {what} again after {restarts} restarts within {self._supervision.period_seconds} seconds, "
            f"and {self._supervision.intensity} are tolerated"
        )
        exhausted.__cause__ = error
        cell.terminate(exhausted)
        if dynamic:
            # A hook is a turn of its actor, which may be busy just now.
            self._cell.control(lambda: self._cell.actor.on_child_given_up(cell.id, exhausted))
        else:
            self._cell.kill(exhausted, final=False)

    @trio.lowlevel.enable_ki_protection
    def stop_child(self, id: str, done: Callable[[], None] | None = None) -> None:
        """Stop one child in order; it is killed when it overruns its deadline. `done` is called when it is gone."""
        child = self.children.get(id)
        if child is None:
            if done is not None:
                done()
            return
        cell = child.cell
        told, child.stopping = child.stopping, True
        cell.comes_back = False
        if cell.state is RESTARTING:
            # Nothing of it runs: it has not to wait for the end of a back-off, nor for its siblings.
            child.cancel_timer()
            cell.terminate(cell.last_error)
            if done is not None:
                done()
            return
        if done is not None:
            cell.when_gone(lambda _: done())
        if told:  # the order stands in its lane already, which nothing bounds
            if child.deadline is None:
                child.set_deadline()
        elif cell.idle and (cell.family is None or not cell.family.children):
            # It stops in its very next turn, as nothing can come before: no timer, which would be set for nothing.
            cell.control(child.begin_stop)
        else:
            child.set_deadline()
            cell.control(cell.begin_stop)
            if cell.scope is not None:
                cell.system.waits.refuse_circles(cell)  # for what it waits for, if that waits for its end (law A10)

    def _cancel_restarts(self) -> None:
        """All children are to end: nobody comes back any more."""
        if self._together is not None:
            self._together.cancel()
        for child in self.children.values():
            child.cancel_timer()

    def stop_all(self, done: Callable[[], None]) -> None:
        """Stop the children one after the other, the youngest first, then call `done` (law A8)."""
        self._cancel_restarts()
        self._stop_next(deque(self.children), done)

    def _stop_next(self, waiting: deque[str], done: Callable[[], None]) -> None:
        while waiting:
            id = waiting.pop()
            if id in self.children:
                self.stop_child(id, partial(self._stop_next, waiting, done))
                return
        done()

    def kill_all(self, done: Callable[[], None]) -> None:
        """Kill the children one after the other, the youngest first, then call `done`.

        One that cleans up while it is cancelled may still need its elders.
        """
        self._cancel_restarts()
        waiting = [child.cell for child in self.children.values()]
        looping = False

        def go_on(_: BaseException | None) -> None:
            # A loop, not a chain of calls: thousands of idle children are gone as soon as they are killed.
            nonlocal looping
            if looping:
                return
            looping = True
            while waiting:
                cell = waiting[-1]
                if cell.state is not DEAD:
                    cell.when_gone(go_on)
                    cell.kill(Killed(f"{cell.path}: its supervisor was killed"), final=True)
                if cell.state is not DEAD:
                    break
                waiting.pop()
            looping = False
            if not waiting:
                done()

        go_on(None)


def _at_once(_: BaseException | None) -> None:
    """Hears of a start within the call that starts."""


def _stems_from(error: BaseException, incident: BaseException) -> bool:
    """Whether an exception is that one, or was raised because of it.

    A group stands for what is in it: each nursery that one passes makes a new group of the same exceptions.
    """
    told = set(_behind(incident, causes=False))
    return any(each in told for each in _behind(error, causes=True))


def _behind(error: BaseException, *, causes: bool) -> Iterator[BaseException]:
    """An exception, what is in it if it is a group, and with `causes` what each was raised because of. No recursion."""
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        one = ahead.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if causes:
            ahead.append(one.__cause__ or one.__context__)
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions
