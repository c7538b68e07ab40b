"""How often each user does something. Knows neither what, nor a clock."""

from __future__ import annotations

from collections import OrderedDict

from .protocol import TokenBucket

__all__ = ["PerUser"]


class PerUser:
    """A token bucket for each user; those that are full again by now are not kept.

    Args:
        per_second: what a user may do in the long run.
        at_once: and after a quiet time.
    """

    def __init__(self, per_second: float, at_once: float) -> None:
        self._per_second = per_second
        self._at_once = at_once
        # The one that was used longest ago stands first.
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._buckets)

    def take(self, user: str, now: float) -> bool:
        """Take one of a user's tokens; False where there is none. `now` in seconds of any one monotonic clock."""
        self._forget(now)
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = TokenBucket(self._per_second, self._at_once, now)
        self._buckets.move_to_end(user)
        return bucket.take(now)

    def _forget(self, now: float) -> None:
        while self._buckets:
            user, oldest = next(iter(self._buckets.items()))
            if (now - oldest.at) * self._per_second < self._at_once:
                break
            del self._buckets[user]
