"""Where messages go that nobody will handle: counted by reason, the newest kept for a look.

A dead letter is never a silent loss: whoever asks `statistics()` sees it, and listeners hear of each one.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

__all__ = ["DeadLetter", "DeadLetters", "DeathReason"]

# Enough to see what went wrong just now, too few to hold memory: a message may be large.
KEPT = 128


class DeathReason(enum.Enum):
    """Why a message was not handled."""

    CRASHED = "crashed"
    """Its handler raised; it is not delivered again (law A6)."""
    INTERRUPTED = "interrupted"
    """Its handler was cancelled by a kill or an overrun stop."""
    DROPPED = "dropped"
    """The mailbox was full and its policy is to drop."""
    EXPIRED = "expired"
    """The asker had gone before the message's turn came (law A5)."""
    STOPPED = "stopped"
    """The receiver stopped before the message's turn came."""
    DEAD = "dead"
    """The receiver was gone already."""


@attrs.frozen(eq=False)
class DeadLetter:
    """One message that was not handled, with its receiver's path and the reason."""

    path: str
    message: Any
    reason: DeathReason
    error: BaseException | None = None


class DeadLetters:
    """The dead letters of one system. `call` runs a listener, and sees to what it raises."""

    def __init__(self, call: Callable[[Callable[[DeadLetter], None], DeadLetter], None]) -> None:
        self._call = call
        self._counts: Counter[DeathReason] = Counter()
        self._newest: deque[DeadLetter] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[DeadLetter], None]] = []

    def add(self, letter: DeadLetter) -> None:
        """Count a letter, keep it among the newest, tell the listeners."""
        self._counts[letter.reason] += 1
        self._newest.append(letter)
        for listener in self._listeners:
            self._call(listener, letter)

    def listen(self, listener: Callable[[DeadLetter], None]) -> None:
        """Call `listener` with each letter from now on, on the trio thread; it must neither raise nor block."""
        self._listeners.append(listener)

    def newest(self) -> tuple[DeadLetter, ...]:
        """The newest letters, oldest first, at most 128."""
        return tuple(self._newest)

    def counts(self) -> Mapping[str, int]:
        """How many there were of each reason."""
        return {reason.value: self._counts[reason] for reason in DeathReason}
