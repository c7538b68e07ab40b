"""The commands of one device that have no result yet, and the counter of their ids.

Knows messages; it does not know connections. What it holds is bounded twice. By the session's memory of a device:
a repeat that was forgotten is refused as `expired_id`, and nobody would know whether it ran. And by the burst
that a connection allows, because all that is open is repeated at once after a welcome.
"""

from __future__ import annotations

from .errors import TooManyCommands
from .messages import Command, Result

__all__ = ["KEPT_RESULTS", "OpenCommands"]

# The session keeps the last 128 results of a device; an id 128 or more below the highest is `expired_id`.
KEPT_RESULTS = 128


class OpenCommands:
    """Commands without result by id, in the order of their ids.

    Args:
        last_id: the highest id that this device has used before, 0 for a new device.
    """

    def __init__(self, last_id: int) -> None:
        self._last_id = last_id
        self._open: dict[int, Command] = {}

    def draft(self, op: str, data: dict[str, object], run: str | None, *, allowed: int) -> Command:
        """Return a command with the next id, without taking note of it.

        Raises:
            TooManyCommands: `allowed` commands are without result, or the oldest one would fall out of the
                session's memory.
        """
        if len(self._open) >= allowed:
            raise TooManyCommands(f"{len(self._open)} commands are without result, allowed are {allowed}")
        next_id = self._last_id + 1
        oldest = next(iter(self._open), next_id)
        if next_id - oldest >= KEPT_RESULTS:
            raise TooManyCommands(
                f"command {oldest} is without result and {next_id} would be the next id;"
                f" the session remembers {KEPT_RESULTS} ids"
            )
        return Command(id=next_id, op=op, run=run, data=data)

    def add(self, command: Command) -> None:
        """Take note of a draft."""
        assert command.id == self._last_id + 1, "ids are given in order"
        self._last_id = command.id
        self._open[command.id] = command

    def raise_to(self, last_id: int) -> None:
        """Count on from `last_id` where that is higher: the session knows ids that we do not."""
        self._last_id = max(self._last_id, last_id)

    def take(self, result: Result) -> bool:
        """Say whether the command of `result` was without result. It no longer is, unless told to retry."""
        if result.id not in self._open:
            return False
        if result.error is None or not result.error.retry:
            del self._open[result.id]
        return True

    def get(self, command_id: int) -> Command:
        """Return the command without result of that id.

        Raises:
            KeyError: there is none.
        """
        return self._open[command_id]

    def abandon(self, command_id: int) -> None:
        """Forget the command of that id.

        Raises:
            KeyError: there is none.
        """
        del self._open[command_id]

    def in_order(self) -> tuple[Command, ...]:
        """Return all commands without result, by id."""
        return tuple(self._open.values())
