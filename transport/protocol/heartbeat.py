"""When a server pings, and when it gives a client up.

Three rules:

1. A ping is due `heartbeat_seconds` after the last frame sent, so a client never hears nothing for longer.
2. A ping is also due `heartbeat_seconds` after the last frame heard, however much was sent meanwhile: the
   client only answers, so one that watches a busy run would otherwise say nothing and be taken for dead.
   It is not repeated for this reason before something is heard.
3. The client is lost when nothing was heard for `heartbeat_seconds + timeout_seconds`. By rule 2 it then had
   `timeout_seconds` at least to answer. Where the ping itself went out late (the process stood still), it
   gets `timeout_seconds` from that ping on: nobody is given up who was not asked.

Knows no frames and no clock: times are float seconds of any one monotonic clock.
"""

from __future__ import annotations

import math
from enum import Enum, auto

__all__ = ["Beat", "Heartbeat"]


class Beat(Enum):
    """What is due."""

    PING = auto()
    LOST = auto()


class Heartbeat:
    """The heartbeat of one connection, begun at `now`.

    Args:
        heartbeat_seconds: silence, in either direction, before a ping.
        timeout_seconds: time for the answer.
        now: when the connection was welcomed.
    """

    def __init__(self, heartbeat_seconds: float, timeout_seconds: float, now: float) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._sent_at = now
        self._heard_at = now
        # When the first ping went out that nothing was heard after; later ones give no new respite.
        self._asked_at: float | None = None

    def sent(self, now: float) -> None:
        """Note that a frame was sent."""
        self._sent_at = now

    def heard(self, now: float) -> None:
        """Note a sign of life of the client."""
        self._heard_at = now
        self._asked_at = None

    def silent_for(self, now: float) -> float:
        """Return the seconds since something was heard."""
        return now - self._heard_at

    def next_due(self) -> float:
        """Return when `tick` has something to say next."""
        return min(self._ping_at(), self._lost_at())

    def tick(self, now: float) -> Beat | None:
        """Say what is due at `now`; a ping is taken as sent at `now`."""
        if now >= self._lost_at():
            return Beat.LOST
        if now < self._ping_at():
            return None
        self._sent_at = now
        if self._asked_at is None:
            self._asked_at = now
        return Beat.PING

    def _ping_at(self) -> float:
        since = self._sent_at if self._asked_at is not None else min(self._sent_at, self._heard_at)
        return since + self._heartbeat_seconds

    def _lost_at(self) -> float:
        if self._asked_at is None:
            return math.inf
        return max(self._heard_at + self._heartbeat_seconds, self._asked_at) + self._timeout_seconds
