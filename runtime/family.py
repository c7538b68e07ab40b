"""A cell's children: starting them, carrying out what `supervision.decide` plans, stopping them in order.

Everything runs on the trio thread and nothing here waits: an ordered stop is a chain of callbacks with a timer, so a
supervisor that takes down one stuck child still looks after all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from .cell import Cell, State
from .errors import Killed, RestartsExhausted
from .ref import Ref
from .supervision import ChildSpec, ExitKind, Strategy, Supervision, decide
from .timers import Timer

__all__ = ["Child", "Family"]

Started = Callable[[BaseException | None], None]


@attrs.define(eq=False)
class Child:
    """A child with its specification and, with `Strategy.DYNAMIC`, its own window of restarts."""

    spec: ChildSpec
    cell: Cell
    history: tuple[float, ...] = ()


class Family:
    """The children of one cell."""

    def __init__(self, cell: Cell, supervision: Supervision) -> None:
        self._cell = cell
        self._supervision = supervision
        self._history: tuple[float, ...] = ()
        # In order of start: an ordered stop goes backwards.
        self.children: dict[str, Child] = {}

    def start(self, spec: ChildSpec, started: Started | None = None, *, supervised: bool = True) -> Ref[Any]:
        """Start a child.

        A plain `on_start` has run when this returns, and its exception is raised here. For an async one `started`
        hears how it went; without `started` its exception is reported, and the child is gone.

        Raises:
            ValueError: a child of this id exists.
        """
        if spec.id in self.children:
            raise ValueError(f"{self._cell.path} has a child {spec.id!r} already")
        cell = Cell(self._cell.system, self._cell, spec.id, spec.factory, supervised=supervised)
        self.children[spec.id] = Child(spec, cell)
        outcome: list[BaseException | None] = []
        returned = False

        def report(error: BaseException | None) -> None:
            if not returned:
                outcome.append(error)
            elif started is not None:
                started(error)
            elif error is not None:
                self._cell.system.report(cell, error)

        cell.start(report)
        returned = True
        if outcome:
            if outcome[0] is not None:
                raise outcome[0]
            if started is not None:
                started(None)
        return cell.ref

    def child_gone(self, cell: Cell) -> None:
        """A child is gone for good; called by its cell."""
        child = self.children.get(cell.id)
        if child is not None and child.cell is cell:
            del self.children[cell.id]

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        """A child ended abnormally: decide and carry it out. Runs in a turn of the parent."""
        child = self.children.get(cell.id)
        if child is None or child.cell is not cell or cell.state is not State.FAILED:
            return  # stopped for good while the report was on its way
        dynamic = self._supervision.strategy is Strategy.DYNAMIC
        history = child.history if dynamic else self._history
        plan = decide(self._supervision, child.spec.restart, ExitKind.ABNORMAL, history, trio.current_time())
        if dynamic:
            child.history = plan.history
        else:
            self._history = plan.history
        if plan.restart:
            cell.restart()
        elif not plan.give_up:
            cell.kill(error, final=True)
        else:
            exhausted = RestartsExhausted(
                f"{cell.path} failed {len(plan.history) + 1} times in {self._supervision.period_seconds} seconds; "
                f"{self._supervision.intensity} restarts are allowed"
            )
            exhausted.__cause__ = error
            cell.kill(exhausted, final=True)
            if dynamic:
                self._cell.actor.on_child_given_up(child.spec.id, exhausted)
            else:
                self._cell.fail(exhausted)

    def stop_child(self, id: str, done: Callable[[], None] | None = None) -> None:
        """Stop one child in order; it is killed when it overruns its deadline. `done` is called when it is gone."""
        child = self.children.get(id)
        if child is None:
            if done is not None:
                done()
            return
        cell = child.cell
        if cell.state is State.FAILED:
            # It waits for a decision that will not come: the end of its failure is the end.
            cell.when_gone(lambda _: done() if done is not None else None)
            cell.kill(cell.last_error or Killed(f"{cell.path} was stopped"), final=True)
            return
        timer: Timer = cell.system.timers.call_later(
            child.spec.stop_seconds,
            lambda: cell.kill(Killed(f"{cell.path} did not stop within {child.spec.stop_seconds} s"), final=True),
        )

        def gone(_: BaseException | None) -> None:
            timer.cancel()
            if done is not None:
                done()

        cell.when_gone(gone)
        cell.control(cell.begin_stop)

    def stop_all(self, done: Callable[[], None]) -> None:
        """Stop the children one after the other, the youngest first, then call `done` (law A8)."""
        waiting = deque(self.children)

        def next_one() -> None:
            while waiting:
                id = waiting.pop()
                if id in self.children:
                    self.stop_child(id, next_one)
                    return
            done()

        next_one()

    def kill_all(self, done: Callable[[], None]) -> None:
        """Kill the children, the youngest first, and call `done` when the last one is gone."""
        cells = [child.cell for child in reversed(self.children.values())]
        left = len(cells)

        def gone(_: BaseException | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for cell in cells:
            cell.when_gone(gone)
        for cell in cells:
            cell.kill(Killed(f"{cell.path}: its supervisor was killed"), final=True)
