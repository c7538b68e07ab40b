"""The tasks of one system: they run the coroutines of its actors, one at a time each.

An actor has a task while a coroutine of it runs, and no longer. To make one costs as much again as a short handler, so
one whose coroutine has ended waits for the next one, of whatever actor: it gets the name and the context of that, and
its own cancel scope. A coroutine that raised may have left its task in disorder; that one ends. Few may wait at a time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from .cell import Cell
    from .system import ActorSystem

__all__ = ["Tasks"]

# About as many coroutines as end between two turns of the dispatcher, which starts the next ones; a task is 3 KiB.
MOST_WAITING = 64

Then = Callable[[Any, BaseException | None], None]


class Tasks:
    """Runs coroutines in the tasks of `nursery`."""

    def __init__(self, system: ActorSystem, nursery: trio.Nursery) -> None:
        self._system = system
        self._nursery = nursery
        self._waiting: list[_Task] = []

    @property
    def spare(self) -> int:
        """Tasks that wait for a coroutine to run."""
        return len(self._waiting)

    def start(self, cell: Cell, coroutine: Coroutine[Any, Any, Any], scope: trio.CancelScope, then: Then) -> None:
        """Run a coroutine of a cell's actor in a copy of this context, and call `then` with its result or exception."""
        if self._waiting:
            waiting = self._waiting.pop()
            waiting.work = (cell, coroutine, scope, then)
            waiting.task.context = contextvars.copy_context()
            trio.lowlevel.reschedule(waiting.task)
        else:
            self._nursery.start_soon(self._run, cell, coroutine, scope, then, name=cell.path)

    @trio.lowlevel.enable_ki_protection
    async def _run(self, cell: Cell, coroutine: Coroutine[Any, Any, Any], scope: trio.CancelScope, then: Then) -> None:
        system = self._system
        task = trio.lowlevel.current_task()
        own = _Task(task, self._waiting)
        while True:
            task.name = cell.path
            system.waits.handlers[task] = cell
            system.tasks[task] = cell
            result: Any = None
            error: BaseException | None = None
            try:
                with scope:
                    result = await coroutine
            except trio.Cancelled:
                raise  # not by `scope`: the run itself is ending
            except Exception as raised:  # noqa: BLE001 - the cell: the supervisor decides what an exception means
                error = raised
            except BaseException as raised:  # noqa: BLE001 - as from a plain handler: an ordered stop, then it is raised
                error = raised
                system.abort(raised)
            finally:
                del system.tasks[task]
                del system.waits.handlers[task]
            cell.scope = None
            system.call(then, result, error)
            if error is not None or len(self._waiting) >= MOST_WAITING:
                return
            del cell, coroutine, scope, then, result
            task.name = f"{system.name}: waits for work"
            task.context = contextvars.Context()  # what the coroutine's own held is let go of
            self._waiting.append(own)
            await trio.lowlevel.wait_task_rescheduled(own.cancelled)
            cell, coroutine, scope, then = own.work
            del own.work


class _Task:
    """A task that waits, and what it is to do next."""

    __slots__ = ("task", "waiting", "work")

    def __init__(self, task: trio.lowlevel.Task, waiting: list[_Task]) -> None:
        self.task = task
        self.waiting = waiting
        self.work: tuple[Cell, Coroutine[Any, Any, Any], trio.CancelScope, Then]

    def cancelled(self, _: object) -> trio.lowlevel.Abort:
        """The run ends, and it takes no work any more."""
        self.waiting.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED
