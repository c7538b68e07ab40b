"""Who waits for whom: the notes that turn a silent deadlock into an error (law A10).

An actor handles one message at a time, so a handler that awaits another actor keeps its own actor from answering. When
such waits close a circle, none of them could ever end. Each wait is noted before it begins, and the one that would
close a circle raises `AskCycle` instead. An actor that stops waits for its children.

One `Waits` serves all systems of a trio run. Knows nothing of mailboxes and messages.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

import trio

from .errors import AskCycle

__all__ = ["Edge", "Waits"]


class Waiting(Protocol):
    """What is known here of an actor's cell."""

    path: str

    def stops_after(self) -> Iterable[Waiting]:
        """Those whose end its own has to wait for just now."""


Edge = tuple[Waiting, object]


class Waits:
    """The waits of actors in one trio run."""

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()
        self._targets: dict[Waiting, dict[object, Waiting]] = {}
        self.handlers: dict[trio.lowlevel.Task, Waiting] = {}
        """The tasks in which actors' coroutines run, and whose they are."""

    @staticmethod
    def of_this_run() -> Waits:
        """The one of the running trio loop."""
        waits = _of_run.get(None)
        if waits is None:
            waits = Waits()
            _of_run.set(waits)
        return waits

    @trio.lowlevel.enable_ki_protection
    def begin(self, target: Waiting) -> Edge | None:
        """Note that the actor of the current task, if it is one, waits for `target`.

        Raises:
            AskCycle: that would close a circle; the message names it.
        """
        asker = self._current()
        if asker is None:
            return None
        circle = self._way(target, asker)
        if circle is not None:
            names = " -> ".join(cell.path for cell in (asker, *circle))
            raise AskCycle(f"actors would wait for each other: {names}")
        key = object()
        self._targets.setdefault(asker, {})[key] = target
        return (asker, key)

    @trio.lowlevel.enable_ki_protection
    def end(self, edge: Edge | None) -> None:
        """Take the note of `begin` back."""
        if edge is not None:
            asker, key = edge
            targets = self._targets[asker]
            del targets[key]
            if not targets:
                del self._targets[asker]

    def _current(self) -> Waiting | None:
        # Plain handlers await nothing; without a coroutine in a task of ours there is nobody to look for.
        if not self.handlers or threading.get_ident() != self._thread_id:
            return None
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None:
            asker = self.handlers.get(task)
            if asker is not None:
                return asker
            # Tasks in a handler's own nurseries wait on its behalf.
            nursery = task.parent_nursery
            task = nursery.parent_task if nursery is not None else None
        return None

    def _way(self, start: Waiting, goal: Waiting) -> list[Waiting] | None:
        """The waits that lead from `start` to `goal`, both included, or None. No recursion: chains may be long."""
        before: dict[Waiting, Waiting | None] = {start: None}
        ahead = [start]
        while ahead:
            cell: Waiting | None = ahead.pop()
            assert cell is not None
            if cell is goal:
                way = []
                while cell is not None:
                    way.append(cell)
                    cell = before[cell]
                return way[::-1]
            for target in (*self._targets.get(cell, {}).values(), *cell.stops_after()):
                if target not in before:
                    before[target] = cell
                    ahead.append(target)
        return None


_of_run: trio.lowlevel.RunVar[Waits | None] = trio.lowlevel.RunVar("callboard waits", default=None)
