"""A system seen from inside: its actors with what they do right now, as data (`statistics`) and as text (`dump`).

Looking costs the actors nothing: what is read here is kept anyway. Only how long messages have been waiting is noted by
somebody: by the `lookout`, while there is one. Texts and values of messages never come out, only the names of their
types: an operator may look at a system without reading what users write.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import attrs
import trio

from .cell import Cell, State

if TYPE_CHECKING:
    from .system import ActorSystem

__all__ = ["ActorStatistics", "SlowHandler", "SystemStatistics", "dump", "own_frames", "statistics"]

# Actors of one parent that have nothing to do are told one by one up to here; what is above is a number.
IDLE_SHOWN = 20
# The innermost frames of a stack tell what is waited for.
FRAMES_SHOWN = 12
# Their frames say how an actor came to run, not what it does.
PLUMBING = tuple(file.rpartition("/")[0] + "/" for file in (__file__, trio.__file__))


@attrs.frozen
class SlowHandler:
    """Something held the loop, and with it every actor, for longer than it should.

    Attributes:
        path: the actor whose handler it was; None for code outside of actors that ran on the same loop.
        message: the type of the message in hand; None in a hook, or outside of actors.
        seconds: for how long; so far, while `over` is false.
        over: whether it has ended.
        stack: where it was when it was noticed, outermost first, as ``file:line in function``.
    """

    path: str | None
    message: str | None
    seconds: float
    over: bool
    stack: tuple[str, ...]


@attrs.frozen
class ActorStatistics:
    """One actor at one moment.

    Attributes:
        path: its place in the tree.
        kind: the name of its class.
        state: ``starting``, ``running`` (waits for messages), ``busy`` (a coroutine of it runs), ``failed``,
            ``stopping`` or ``dead``.
        mailbox: how many messages wait.
        capacity: how many may.
        oldest_seconds: how long the oldest of them has been waiting, to a second or so and never too much; None if
            nothing waits, or nobody looks out (see `open_system`).
        handled: messages handled since its first start.
        restarts: how often it was restarted.
        current: the type of the message that its coroutine works on.
        current_seconds: for how long it has been doing so; None unless ``busy``, ``starting`` or ``stopping``.
        last_error: the type of the exception that it failed with last.
    """

    path: str
    kind: str
    state: str
    mailbox: int
    capacity: int
    oldest_seconds: float | None
    handled: int
    restarts: int
    current: str | None
    current_seconds: float | None
    last_error: str | None


@attrs.frozen
class SystemStatistics:
    """A system at one moment.

    Attributes:
        actors: its actors in order of start.
        dead_letters: how many messages were not handled, by reason.
        tasks: coroutines of actors that run.
        timers: timers that are set.
        handled: messages handled by all actors, also by those that are gone.
        abandoned: threads that overran their deadline and still work, dead to all (law A8).
        refused: what such threads still said, and nobody heard.
        slow: the newest cases of a loop that was held up, oldest first; none unless somebody looks out.
    """

    actors: tuple[ActorStatistics, ...]
    dead_letters: Mapping[str, int]
    tasks: int
    timers: int
    handled: int
    abandoned: int
    refused: int
    slow: tuple[SlowHandler, ...]


def statistics(system: ActorSystem) -> SystemStatistics:
    """A snapshot of all actors and counters. Trio thread only."""
    now = trio.current_time()
    return SystemStatistics(
        actors=tuple(_actor(cell, now) for cell in system.cells),
        dead_letters=system.dead_letters.counts(),
        tasks=len(system.tasks),
        timers=len(system.timers),
        handled=system.handled_by_gone + sum(cell.handled for cell in system.cells),
        abandoned=system.abandoned,
        refused=system.refused,
        slow=system.lookout.slow if system.lookout is not None else (),
    )


def _actor(cell: Cell, now: float) -> ActorStatistics:
    message = cell.message
    return ActorStatistics(
        path=cell.path,
        kind=cell.kind.__name__,
        state=_state(cell),
        mailbox=len(cell.queue) + len(cell.lane or ()),
        capacity=cell.capacity,
        oldest_seconds=cell.oldest_seconds(now),
        handled=cell.handled,
        restarts=cell.restarts,
        current=None if message is None else type(message).__name__,
        current_seconds=None if cell.scope is None else now - cell.busy_since,
        last_error=None if cell.last_error is None else type(cell.last_error).__name__,
    )


def _state(cell: Cell) -> str:
    return "busy" if cell.scope is not None and cell.state is State.RUNNING else cell.state.value


def dump(system: ActorSystem, now: float) -> str:
    """The whole tree in words, with the stack of each coroutine at work, and where the other threads are.

    Only reads, so it may be called in the middle of a handler too, as a signal's handler on the trio thread does.
    Actors that have nothing to do are counted where a parent has many of them.

    Args:
        system: whose tree.
        now: the loop's time; a signal's handler cannot ask for it.
    """
    children: dict[Cell | None, list[Cell]] = {}
    for cell in system.cells:
        children.setdefault(cell.parent, []).append(cell)
    tasks = {cell: task for task, cell in system.tasks.items()}
    lines = [f"{len(system.cells)} actors, {len(tasks)} of them at work in a coroutine"]
    # No recursion: a tree may be deep.
    ahead: list[tuple[int, Cell | str]] = [(0, cell) for cell in reversed(children.get(None, []))]
    while ahead:
        depth, what = ahead.pop()
        indent = "  " * depth
        if isinstance(what, str):
            lines.append(f"{indent}{what}")
            continue
        cell = what
        lines.append(f"{indent}{_line(cell, now)}")
        if cell in tasks:
            frames = [frame for frame, _ in tasks[cell].iter_await_frames()]
            lines += [f"{indent}      {frame}" for frame in own_frames(frames)]
        below = children.get(cell, [])
        shown, left_out = _worth_showing(below, children)
        if left_out:
            ahead.append((depth + 1, f"… and {left_out} more that have nothing to do"))
        ahead += [(depth + 1, child) for child in reversed(shown)]
    for name, frames in _threads():
        lines.append(f"thread {name}")
        lines += [f"      {frame}" for frame in own_frames(frames)]
    return "\n".join(lines)


def _worth_showing(cells: Sequence[Cell], children: Mapping[Cell | None, Sequence[Cell]]) -> tuple[list[Cell], int]:
    shown, left_out, idle_ones = [], 0, 0
    for cell in cells:
        if cell.idle and not cell.queue and not cell.restarts and cell not in children:
            idle_ones += 1
            if idle_ones > IDLE_SHOWN:
                left_out += 1
                continue
        shown.append(cell)
    return shown, left_out


def _line(cell: Cell, now: float) -> str:
    actor = _actor(cell, now)
    parts = [f"{cell.id}  ({actor.kind})  {actor.state}  handled {actor.handled}"]
    if actor.mailbox:
        age = "" if actor.oldest_seconds is None else f", the oldest for {actor.oldest_seconds:.1f} s"
        parts.append(f"{actor.mailbox} of {actor.capacity} wait{age}")
    if actor.current_seconds is not None:
        parts.append(f"at {actor.current or 'a hook'} for {actor.current_seconds:.1f} s")
    if actor.restarts:
        parts.append(f"{actor.restarts} restarts")
    if actor.last_error:
        parts.append(f"last error {actor.last_error}")
    return "  ".join(parts)


def _threads() -> Iterator[tuple[str, list[FrameType]]]:
    """Every thread but this one, with its frames, outermost first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            yield names.get(ident, str(ident)), [each for each, _ in traceback.walk_stack(frame)][::-1]


def own_frames(frames: Iterable[FrameType]) -> list[str]:
    """The innermost frames of a stack, as ``file:line in function``, without the plumbing around a handler.

    Args:
        frames: outermost first.
    """
    every = list(frames)
    own = [frame for frame in every if not frame.f_code.co_filename.startswith(PLUMBING)]
    return [
        f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        for frame in (own or every)[-FRAMES_SHOWN:]
    ]
