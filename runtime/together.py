"""Restarting siblings together, as one-for-all and rest-for-one want it; what to do comes from `supervision.decide`.

Theory of operation. Whom a failure concerns is brought down, one after the other, the youngest first, each within its
deadline; when a back-off has passed too, they are started again one after the other, the eldest first, each after the
`on_start` of the one before it. A failure that comes meanwhile only adds to the two lists, and the work begins anew
with the first: so a sibling that fails to start costs a restart of the window like any other failure, and nothing loops
here that would keep a stop of the supervisor waiting. Whoever stops for good on the way is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import trio

from .cell import DEAD, RESTARTING, RUNNING, STARTING, Cell
from .errors import Killed
from .supervision import ChildSpec, Plan, Restart
from .timers import Timer

__all__ = ["Child", "Together"]


@attrs.define(eq=False)
class Child:
    """A child with its specification and what its supervisor remembers of its failures."""

    spec: ChildSpec
    cell: Cell
    history: tuple[float, ...] = ()
    """With `Strategy.DYNAMIC`, its own window of restarts."""
    failures: int = 0
    """How often it has failed in a row."""
    up_since: float | None = None
    """When its last restart was complete; None before, and while it is down."""
    stopping: bool = False
    """It has been told to stop: however it ends, it is not restarted."""
    timer: Timer | None = None
    """The end of its back-off, or of the time in which it is to be brought down."""
    deadline: Timer | None = None
    """The end of the time in which it is to stop."""

    def set_deadline(self) -> None:
        """Kill it for good when it has not stopped in time from now."""
        self.deadline = self.cell.system.timers.call_later(self.spec.stop_seconds, self._overruns)

    def begin_stop(self) -> None:
        """In a turn of its own: stop. Most are gone then, and need no deadline."""
        self.cell.begin_stop()
        if self.cell.state is not DEAD:
            self.set_deadline()

    def _overruns(self) -> None:
        cell = self.cell
        cell.kill(Killed(f"{cell.path} did not stop within {self.spec.stop_seconds} s"), final=True)

    def cancel_timer(self) -> None:
        """Forget what was to come."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Together:
    """The restarts of siblings under one supervisor."""

    def __init__(self, parent: Cell, children: Mapping[str, Child]) -> None:
        self._parent = parent
        self._children = children
        # Both in order of start; taken from the end and from the beginning.
        self._to_stop: list[Child] = []
        self._to_start: list[Child] = []
        self._going_down: Child | None = None
        self._coming_up: Child | None = None
        self._not_before = float("-inf")
        self._backoff: Timer | None = None

    def carry_out(self, plan: Plan, failed: Child) -> None:
        """Restart `failed` and those concerned."""
        failed.cell.state = RESTARTING
        if self._coming_up is not None and (self._coming_up is failed or self._coming_up.spec.id in plan.stop):
            self._coming_up = None
        stop = {*plan.stop, *(child.spec.id for child in self._to_stop)}
        start = {*plan.start, *(child.spec.id for child in self._to_start)}
        everyone = self._children.items()
        self._to_stop = [child for id, child in everyone if id in stop and self._has_to_stop(child)]
        self._to_start = [child for id, child in everyone if id in start]
        self._not_before = max(self._not_before, trio.current_time() + plan.delay_seconds)
        self._go_on()

    def _has_to_stop(self, child: Child) -> bool:
        return child is not self._going_down and child.cell.state is not RESTARTING

    def still_stopping(self) -> Iterable[Cell]:
        """The cells that have to stop before any is started."""
        going_down = () if self._going_down is None else (self._going_down,)
        return (child.cell for child in (*self._to_stop, *going_down))

    def ended(self, child: Child) -> None:
        """A child went down, or is gone for good."""
        if child is self._going_down:
            child.cancel_timer()
            self._going_down = None
        elif child is self._coming_up:
            self._coming_up = None
        else:
            return
        # Not from here: the cell is in the middle of its own end.
        self._parent.system.do_soon(self._go_on)

    def came_up(self, child: Child) -> None:
        """The start of a child is complete. One that is to go down all the same is waited for once more."""
        if child is self._coming_up:
            self._coming_up = None
            self._parent.system.do_soon(self._go_on)

    def absorbs(self, child: Child) -> bool:
        """Whether a child that has failed was to be brought down anyway: then that is no further failure to count."""
        return child in self._to_stop

    def cancel(self) -> None:
        """The supervisor ends: an ordered stop of all children follows."""
        self._to_stop.clear()
        self._to_start.clear()
        self._cancel_backoff()

    def _go_on(self) -> None:
        if self._parent.state not in (STARTING, RUNNING):
            return  # all children are being stopped
        if self._going_down is not None:
            return
        while self._to_stop:
            child = self._to_stop.pop()
            if self._has_to_stop(child) and self._children.get(child.spec.id) is child:
                self._bring_down(child)
                return
        if self._coming_up is not None or self._waits():
            return
        while self._to_start:
            child = self._to_start.pop(0)
            if child.cell.state is RESTARTING and self._children.get(child.spec.id) is child:
                self._coming_up = child
                child.cell.restart()
                return

    def _bring_down(self, child: Child) -> None:
        cell = child.cell
        self._going_down = child
        child.timer = cell.system.timers.call_later(
            child.spec.stop_seconds,
            lambda: cell.kill(Killed(f"{cell.path} did not stop within {child.spec.stop_seconds} s"), final=False),
        )
        if child.spec.restart is Restart.TEMPORARY:
            child.stopping = True
            cell.control(cell.begin_stop)
        elif not child.stopping:
            cell.bring_down()
        if cell.scope is not None:
            cell.system.waits.refuse_circles(cell)  # it may wait for one that is restarted with it (law A10)

    def _cancel_backoff(self) -> None:
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None

    def _waits(self) -> bool:
        """Whether a back-off has to pass first; it calls back."""
        self._cancel_backoff()
        left = self._not_before - trio.current_time()
        if not self._to_start or left <= 0:
            return False
        self._backoff = self._parent.system.timers.call_later(left, self._go_on)
        return True
