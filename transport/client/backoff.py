"""How long a client waits before it connects again. No I/O and no clock: time comes in, chance through a parameter.

The close code's range says what kind of wait (`verdict`); how often it went wrong in a row says how long. A connection
that did not last counts as gone wrong, whatever was said at its end: a node that welcomes everybody and closes at once
must not be met with a busy loop.
"""

from __future__ import annotations

import math
import random

from ..protocol import Verdict

__all__ = ["LASTING_SECONDS", "Backoff"]

MIN_SECONDS = 1.0
MAX_SECONDS = 20.0
# A connection that was open for so long was a good one: what follows begins anew.
LASTING_SECONDS = 5.0
# Beyond this power of two the cap holds anyway.
MAX_DOUBLINGS = 10


class Backoff:
    """Counts what went wrong in a row.

    Args:
        rng: the source of jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._opened_at = math.inf

    def opened(self, now: float) -> None:
        """Note that a connection was welcomed at `now`, in seconds."""
        self._opened_at = now

    def ended(self, what: Verdict, now: float) -> float:
        """Return the seconds to wait after a connection that was welcomed, or was not, has ended."""
        if now - self._opened_at >= LASTING_SECONDS:
            self._failures = 0
        self._opened_at = math.inf
        self._failures += 1
        match what:
            case Verdict.RESUME_NOW | Verdict.NEW_TICKET:
                return 0.0 if self._failures == 1 else self._rng.uniform(0, self._most(self._failures - 1))
            case Verdict.RESUME_WITH_JITTER:
                return self._rng.uniform(0, self._most(self._failures - 1))
            case Verdict.BACK_OFF | Verdict.DO_NOT_RETRY:
                return self._rng.uniform(MIN_SECONDS, self._most(self._failures))

    def failed(self, retry_after_seconds: float = 0.0) -> float:
        """Return the seconds to wait after an attempt that led to no connection.

        Args:
            retry_after_seconds: what the node asked for; jitter comes on top, or all would come back in one instant.
        """
        self._failures += 1
        most = self._most(self._failures)
        if retry_after_seconds > 0:
            return retry_after_seconds + self._rng.uniform(0, most)
        return self._rng.uniform(MIN_SECONDS, most)

    def _most(self, doublings: int) -> float:
        return min(MAX_SECONDS, MIN_SECONDS * 2.0 ** min(doublings, MAX_DOUBLINGS))
