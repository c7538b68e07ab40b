"""Who waits for whom: the notes that turn a silent deadlock into an error (law A10).

An actor handles one message at a time, so a handler that awaits another actor keeps its own actor from answering. When
such waits close a circle, none of them could ever end. Each wait is noted before it begins, and the one that would
close a circle raises `AskCycle` instead. An actor that stops waits for its children.

A handler may work on another thread than its actor's: then a `Turn` in its context says whose it is, and its waits are
noted on the trio thread in its name.

One `Waits` serves all systems of a trio run. Knows nothing of mailboxes and messages but the names of their types.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio

from .errors import AskCycle

__all__ = ["Edge", "Turn", "Waits", "waiting"]


class Waiting(Protocol):
    """What is known here of an actor's cell."""

    path: str

    def stops_after(self) -> Iterable[Waiting]:
        """Those whose end its own has to wait for just now."""


Edge = tuple[Waiting, object]

What = type | str
"""What a wait is for: the type of the message asked, or words."""

Refuse = Callable[[AskCycle], None]
"""Ends a wait: whoever waits gets the exception."""


class Turn:
    """A handler at work on another thread, as long as it is at work.

    What blocks there, or awaits on the thread's loop, waits in the name of its actor. A task that is left running is
    taken for a part of the handler until the handler has ended: asyncio does not say which task awaits which.
    """

    def __init__(self, cell: Waiting, waits: Waits, thread_id: int) -> None:
        self.cell = cell
        self.waits = waits
        self.thread_id = thread_id
        self.over = False
        self.abandoned = False
        """It did not end in time: what it still says is refused (law A8)."""
        # The waits of this turn that are noted, by the key that the waiting side made.
        self.edges: dict[object, Edge | None] = {}

    def enter(self, context: contextvars.Context) -> None:
        """Be the turn of this context from now on."""
        context.run(_turn.set, self)

    @staticmethod
    def here() -> Turn | None:
        """The turn that the running code is part of.

        A context travels with the messages sent in it; only on the thread of its loop does a turn mean anything.
        """
        turn = _turn.get()
        return turn if turn is not None and turn.thread_id == threading.get_ident() and not turn.over else None

    @staticmethod
    def is_abandoned() -> bool:
        """Whether the running code was left behind by its actor."""
        turn = _turn.get()
        return turn is not None and turn.abandoned and turn.thread_id == threading.get_ident()

    # On the trio thread, in the order in which the other loop asked for it.

    def wait_begins(self, key: object, target: Waiting, what: What, refuse: Refuse) -> None:
        """Note a wait; `refuse` is called if it would close a circle."""
        if self.over:
            return
        try:
            self.edges[key] = self.waits.note(self.cell, target, what, refuse)
        except AskCycle as circle:
            refuse(circle)

    def wait_ends(self, key: object) -> None:
        """Take it back; harmless if it was not noted."""
        self.waits.end(self.edges.pop(key, None))

    def ends(self) -> None:
        """The handler has ended: nobody waits in its name any more."""
        self.over = True
        for key in tuple(self.edges):
            self.wait_ends(key)


class Target(Waiting, Protocol):
    """What somebody on another thread may wait for."""

    system: Any


@contextmanager
def waiting(target: Target, what: What, refuse: Refuse) -> Iterator[None]:
    """Note a wait of the running turn, if this is one, while the block runs; on any thread but the target's.

    It is noted on the trio thread, soon; `refuse` is called there if it would close a circle.
    """
    turn = Turn.here()
    if turn is None or turn.waits is not target.system.waits:
        yield
        return
    key = object()
    target.system.run_soon(turn.wait_begins, key, target, what, refuse)
    try:
        yield
    finally:
        target.system.run_soon(turn.wait_ends, key)


_turn: contextvars.ContextVar[Turn | None] = contextvars.ContextVar("callboard turn", default=None)


class Waits:
    """The waits of actors in one trio run."""

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()
        self._targets: dict[Waiting, dict[object, tuple[Waiting, What, Refuse | None]]] = {}
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
    def begin(self, target: Waiting, what: What, refuse: Refuse | None = None) -> Edge | None:
        """Note that the actor of the current task, if it is one, waits for `target`; `refuse` is for `refuse_circles`.

        Raises:
            AskCycle: that would close a circle; the message names it.
        """
        asker = self._current()
        return None if asker is None else self.note(asker, target, what, refuse)

    def note(self, asker: Waiting, target: Waiting, what: What, refuse: Refuse | None) -> Edge:
        """Note that `asker` waits for `target`. Trio thread only.

        Raises:
            AskCycle: that would close a circle; the message names it.
        """
        circle = self._circle(asker, target, what)
        if circle is not None:
            raise circle
        key = object()
        self._targets.setdefault(asker, {})[key] = (target, what, refuse)
        return (asker, key)

    def refuse_circles(self, asker: Waiting) -> None:
        """End the waits of `asker` that have become part of a circle.

        The end of an actor is the one thing for which others wait without asking: its supervisor that stops, or a
        sibling that is to be restarted with it. What it waits for from one of those can never come.
        """
        for target, what, refuse in tuple(self._targets.get(asker, {}).values()):
            if refuse is not None and (circle := self._circle(asker, target, what)) is not None:
                refuse(circle)

    def _circle(self, asker: Waiting, target: Waiting, what: What) -> AskCycle | None:
        """The circle that a wait closes, if it does."""
        way = self._way(target, asker)
        if way is None:
            return None
        circle = "".join(f" -[{_words(what)}]-> {cell.path}" for what, cell in ((what, target), *way))
        return AskCycle(f"actors would wait for each other: {asker.path}{circle}")

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

    def _way(self, start: Waiting, goal: Waiting) -> list[tuple[What, Waiting]] | None:
        """The waits that lead from `start` to `goal`, or None if none do. No recursion: chains may be long."""
        before: dict[Waiting, tuple[What, Waiting] | None] = {start: None}
        ahead = [start]
        while ahead:
            cell = ahead.pop()
            if cell is goal:
                way: list[tuple[What, Waiting]] = []
                while (step := before[cell]) is not None:
                    way.append((step[0], cell))
                    cell = step[1]
                return way[::-1]
            for target, what, _ in (
                *self._targets.get(cell, {}).values(),
                *((child, "its end", None) for child in cell.stops_after()),
            ):
                if target not in before:
                    before[target] = (what, cell)
                    ahead.append(target)
        return None


def _words(what: What) -> str:
    return what if isinstance(what, str) else what.__name__


_of_run: trio.lowlevel.RunVar[Waits | None] = trio.lowlevel.RunVar("callboard waits", default=None)
