"""The commands of a client on their way: given ids, sent, repeated after each welcome, answered once.

Theory of operation. A command runs once because it is repeated under its id until its answer is there, whatever
happens to the connections meanwhile. Three answers are no answers yet:

- `retry` to a command that went out once says that nothing was done, and its caller is told so. If it went out before,
  that says nothing of the first time; and `store_unavailable` may come after it was done. Then the same id is sent
  again after a pause, which is right in every case.
- `expired_id` means that the session knows this device no longer. A command that went out once has not run, and goes
  out again under a new device id, once all others are answered: repeated by a new device they would be new commands.
- Nothing, as long as no connection is open.

Knows no sockets: `next_frame` gives what is to be sent next, and `poke` is called when there may be something new.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from ..protocol import ClientProtocol, CommandError, Result, TooManyCommands, Welcome
from .errors import CommandFailed

__all__ = ["Commands"]

# With the back-off between them about a minute; then the caller is told.
MAX_REPEATS = 6
# One is enough for a forgotten device; a second if the first command of the new one was cancelled before it went out.
MAX_DEVICES = 4
MIN_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 20.0


@attrs.define(eq=False)
class _Command:
    """One command of this program; `id` is what the device in use calls it, None before it has a number."""

    serial: int
    op: str
    data: dict[str, object]
    run: str | None
    id: int | None = None
    sends: int = 0
    repeats: int = 0
    devices: int = 1
    repeat_at: float = math.inf
    ended: trio.Event = attrs.Factory(trio.Event)
    ok: Any = None
    failure: Exception | None = None

    def end(self, ok: Any = None, failure: Exception | None = None) -> None:
        self.ok, self.failure = ok, failure
        self.ended.set()


class Commands:
    """All commands of a client that wait for their results.

    Args:
        protocol: of the device in use; gives ids.
        rng: the source of jitter.
        poke: called when something may have to be sent, or the device to be renewed.
    """

    def __init__(self, protocol: ClientProtocol, rng: random.Random, poke: Callable[[], None]) -> None:
        self._protocol = protocol
        self._rng = rng
        self._poke = poke
        self._serials = itertools.count()
        self._open: dict[int, _Command] = {}
        # Only a welcome says which ids of a device are used already; what comes before has no number yet.
        self._unnumbered: list[_Command] = []
        self._numbering = False
        self._to_send: deque[int] = deque()
        self._sending = False
        self._expired = False
        self._max_frame_bytes = 0
        self._closed: Exception | None = None

    def __len__(self) -> int:
        return len(self._open) + len(self._unnumbered)

    @property
    def waiting(self) -> bool:
        """Whether a command waits for its result."""
        return bool(self._open or self._unnumbered)

    @property
    def renewal_due(self) -> bool:
        """Whether the device has to be replaced, and nothing can be lost or repeated by it."""
        return self._expired and all(command.sends == 0 for command in self._open.values())

    async def do(self, op: str, data: dict[str, object], run: str | None) -> Any:
        """Do a command once, and give its result. What the caller does with `data` meanwhile changes nothing.

        Raises:
            CommandFailed: it was refused.
            ValueError, TypeError, TooManyCommands: it cannot be sent.
        """
        await trio.lowlevel.checkpoint()
        if self._closed is not None:
            raise self._closed from None
        command = _Command(next(self._serials), op, copy.deepcopy(data), run)
        if self._numbering:
            self._number(command)
        else:
            self._unnumbered.append(command)
        self._poke()
        try:
            await command.ended.wait()
        finally:
            self._forget(command)
        if command.failure is not None:
            raise command.failure from None
        return command.ok

    # -- what the connection says -------------------------------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> None:
        """Repeat, in order, what has no result, then send what has waited for a connection."""
        self._max_frame_bytes = welcome.limits.frame_bytes
        self._numbering = self._sending = True
        self._to_send = deque(self._open)
        for command in self._open.values():
            command.repeat_at = math.inf
        if self._expired:
            return
        waiting, self._unnumbered = self._unnumbered, []
        for command in waiting:
            try:
                self._number(command)
            except (ValueError, TypeError, TooManyCommands) as error:
                command.end(failure=error)

    def paused(self) -> None:
        """Send nothing until the next welcome."""
        self._sending = False

    def answered(self, result: Result) -> None:
        """Take the answer to a command."""
        command = self._open.get(result.id)
        if command is None:
            return
        error = result.error
        if error is None:
            self._end(command, ok=result.ok)
        elif error.code == "expired_id":
            self._expired = True
            if command.sends > 1 or command.devices == MAX_DEVICES:
                unknown = "the session has forgotten this device; whether it was done is not known"
                self._end(command, failure=CommandFailed(error.code, unknown, retry=False))
                return
            del self._open[result.id]
            command.id = None
            command.devices += 1
            self._unnumbered.append(command)
        elif not error.retry:
            self._end(command, failure=CommandFailed(error.code, error.message, retry=False))
        elif command.sends == 1 and error.code != "store_unavailable":
            self._end(command, failure=CommandFailed(error.code, error.message, retry=True))
        else:
            self._ask_again(command, error)

    def renewed(self, protocol: ClientProtocol) -> None:
        """Go on with another device: what has not run gets new numbers after its welcome, in the old order."""
        self._protocol = protocol
        unsent = list(self._open.values())
        for command in unsent:
            command.id = None
        self._unnumbered = sorted([*self._unnumbered, *unsent], key=lambda command: command.serial)
        for command in self._unnumbered:
            command.sends = 0
        self._open.clear()
        self._numbering = self._sending = self._expired = False

    def close(self, why: Exception) -> None:
        """End what is open, and all that is asked for later, with this exception."""
        self._closed = why
        for command in [*self._open.values(), *self._unnumbered]:
            command.end(failure=why)

    # -- what is sent -------------------------------------------------------------------------------------------------

    def next_frame(self, now: float) -> bytes | None:
        """The frame to be sent now, which counts as sent; None if there is none."""
        for id, command in self._open.items():
            if command.repeat_at <= now:
                command.repeat_at = math.inf
                self._to_send.append(id)
        while self._sending and self._to_send:
            id = self._to_send.popleft()
            command = self._open[id]
            if self._expired and command.sends == 0:
                continue  # for the next device
            frame = self._protocol.repeat(id)
            if len(frame) > self._max_frame_bytes:
                # Only a repeat to a node with other limits; sent, it would end the session for good.
                allowed = f"{len(frame)} bytes; this node takes {self._max_frame_bytes} at most"
                self._end(command, failure=CommandFailed("too_big", allowed, retry=False))
                continue
            command.sends += 1
            return frame
        return None

    def next_repeat(self) -> float:
        """When a command is due to be sent again, in seconds of trio's clock; `math.inf` for never."""
        return min((command.repeat_at for command in self._open.values()), default=math.inf)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _number(self, command: _Command) -> None:
        command.id, _ = self._protocol.command(command.op, command.data, command.run)
        self._open[command.id] = command
        self._to_send.append(command.id)

    def _ask_again(self, command: _Command, error: CommandError) -> None:
        command.repeats += 1
        if command.repeats > MAX_REPEATS:
            message = f"{error.message} (asked {command.repeats} times; whether it was done is not known)"
            self._end(command, failure=CommandFailed(error.code, message, retry=False))
            return
        most = min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2.0**command.repeats)
        command.repeat_at = trio.current_time() + self._rng.uniform(MIN_PAUSE_SECONDS, most)
        self._poke()

    def _end(self, command: _Command, ok: Any = None, failure: Exception | None = None) -> None:
        self._forget(command)
        command.end(ok, failure)

    def _forget(self, command: _Command) -> None:
        """Repeat it no more; nothing if that is so already."""
        if command in self._unnumbered:
            self._unnumbered.remove(command)
        elif command.id is not None and self._open.get(command.id) is command:
            del self._open[command.id]
            if command.id in self._to_send:
                self._to_send.remove(command.id)
            if command.id in self._protocol.without_result:
                self._protocol.abandon(command.id)
            self._poke()
