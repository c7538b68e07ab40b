"""The lookout: a thread that sees what the loop itself cannot, because it is held up just then.

One thread runs every actor of a trio loop. A handler that computes, or blocks, for half a second holds up all of them
for half a second, and nobody on the loop could tell who it is. So the lookout asks the loop for a sign of life now and
then; when none comes in time it looks at the loop's stack, finds the actor whose handler it is, and reports it with its
message and stack: while it is still at it, so that one that never ends is reported too.

Theory of operation. The thread posts `_beat` to the loop and waits up to `slow_seconds` for it to be called. What holds
the loop for twice that long is always noticed, what takes less than once never; between the two it depends on when it
began. The loop does nothing for it but one short callback in each `slow_seconds`. The callback also notes, once a
second, which messages wait, from which `oldest_seconds` of the statistics follows; no message is stamped for that.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import trio

from .cell import Cell
from .inspection import SlowHandler, own_frames

if TYPE_CHECKING:
    from .system import ActorSystem

__all__ = ["Lookout"]

logger = logging.getLogger("callboard")

# Cases that are kept for a look; each holds a few short strings.
KEPT = 32
# How often it is noted which messages wait: the resolution of their age.
NOTE_SECONDS = 1.0

TURN = Cell.turn.__code__
# What an actor runs stands on the stack behind one of these; and so does what the loop runs besides, behind the loop.
BEGINNINGS = frozenset(("Cell.turn", "Tasks._run", "unrolled_run"))


class Lookout:
    """Looks after one system, from `open` to `close`.

    Args:
        system: whose loop.
        slow_seconds: how long one thing may hold the loop.
        clock: monotonic seconds of the real world; a loop that is held up has no time of its own.
    """

    def __init__(
        self,
        system: ActorSystem,
        slow_seconds: float,
        clock: Callable[[], float] = time.monotonic,  # noqa: TID251 - a parameter; a thread lives in real time
    ) -> None:
        if not slow_seconds > 0:
            raise ValueError(f"slow_seconds is {slow_seconds!r}; it must be above 0")
        self._system = system
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._token = trio.lowlevel.current_trio_token()
        self._slow: deque[SlowHandler] = deque(maxlen=KEPT)
        self._marked: dict[Cell, None] = {}
        self._noted = float("-inf")
        self._stop = threading.Event()
        # Set by a beat, and at the end: whoever waits for a beat must not wait for a loop that waits for it.
        self._sign = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"{system.name}: lookout", daemon=True)

    @property
    def slow(self) -> tuple[SlowHandler, ...]:
        """What held the loop up, oldest first, at most the newest 32."""
        return tuple(self._slow)

    def open(self) -> None:
        """Begin to look out."""
        self._thread.start()

    def close(self) -> None:
        """End it, and wait for the thread, which takes no time worth mentioning."""
        self._stop.set()
        self._sign.set()
        self._thread.join()
        for cell in self._marked:
            cell.marks = None

    # -- on the loop --------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._sign.set()
        now = trio.current_time()
        if not self._stop.is_set() and now - self._noted >= NOTE_SECONDS:
            self._noted = now
            self.note(now)

    def note(self, now: float) -> None:
        """Note which messages wait: those of the actors that have work, or had some when this was called last."""
        marked, self._marked = self._marked, {}
        for cell in (*self._system.with_work(), *marked):
            if cell not in self._marked and cell.mark(now):
                self._marked[cell] = None

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop.wait(self._slow_seconds):
            self._sign.clear()
            if self._stop.is_set():
                return  # in this very moment, and perhaps before the sign was cleared
            asked = self._clock()
            try:
                self._token.run_sync_soon(self._system.call, self._beat)
            except trio.RunFinishedError:
                return
            if not self._sign.wait(self._slow_seconds):
                self._held_up(asked)

    def _held_up(self, since: float) -> None:
        frame = sys._current_frames().get(self._system.thread_id)
        if frame is None:
            return  # the thread of the loop has ended
        frames = [each for each, _ in traceback.walk_stack(frame)][::-1]
        cell = self._whose(frames)
        frames = frames[_begin(frames) :]
        del frame
        message = cell.message if cell is not None else None
        case = SlowHandler(
            path=cell.path if cell is not None else None,
            message=type(message).__name__ if message is not None else None,
            seconds=self._clock() - since,
            over=False,
            stack=tuple(own_frames(frames)),
        )
        del frames, message
        self._slow.append(case)
        who = (
            f"actor {case.path}, at {case.message or 'a hook'}," if case.path is not None else "code outside of actors"
        )
        logger.warning("%s holds the loop up:\n    %s", who, "\n    ".join(case.stack))
        self._sign.wait()
        seconds = self._clock() - since
        self._slow[-1] = SlowHandler(case.path, case.message, seconds, True, case.stack)
        logger.warning("%s held the loop up for %.2f s", who, seconds)

    def _whose(self, frames: list[FrameType]) -> Cell | None:
        """The actor that runs: the dispatcher is in a turn of it, or a task of it is in the middle of a step."""
        for frame in reversed(frames):
            if frame.f_code is TURN:
                cell: Cell = frame.f_locals["self"]
                return cell
        # A copy: the loop goes on meanwhile, if it can.
        for task, cell in tuple(self._system.tasks.items()):
            if getattr(task.coro, "cr_running", False):
                return cell
        return None


def _begin(frames: list[FrameType]) -> int:
    """Where on the stack the code begins that the loop, or the dispatcher, has called."""
    return max((at + 1 for at, frame in enumerate(frames) if frame.f_code.co_qualname in BEGINNINGS), default=0)
