"""What happened in a simulated run, and when: a line an event, and a hash over all of them."""

from __future__ import annotations

import hashlib

import trio

__all__ = ["Trace"]


class Trace:
    """The trace of one run. Only the hash is kept of all of it, and the newest lines; all lines if they are wanted."""

    def __init__(self, *, keep: int | None) -> None:
        self._keep = keep
        self._hash = hashlib.sha256()
        self.lines: list[str] = []
        self.events = 0

    def note(self, what: str) -> None:
        """Write down what happens now."""
        line = f"{trio.current_time():10.3f}  {what}"
        self._hash.update(line.encode())
        self.events += 1
        self.lines.append(line)
        if self._keep is not None and len(self.lines) > 2 * self._keep:
            del self.lines[: -self._keep]

    def digest(self) -> str:
        """Two runs with the same digest were the same run."""
        return self._hash.hexdigest()[:16]
