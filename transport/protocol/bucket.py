"""A token bucket: a rate in the long run, a burst at once.

Time comes in; nothing here reads a clock.
"""

from __future__ import annotations

import attrs

__all__ = ["TokenBucket"]


@attrs.define(eq=False)
class TokenBucket:
    """Holds up to `capacity` tokens, full at first, and gains `per_second` of them.

    Attributes:
        per_second: tokens gained a second.
        capacity: tokens held at most.
        at: when `tokens` was last true, in seconds of the caller's clock.
        tokens: tokens held at `at`.
    """

    per_second: float
    capacity: float
    at: float
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.capacity

    def take(self, now: float) -> bool:
        """Take one token and return True, or return False where there is no whole one. `now` in seconds."""
        # A clock that went back gains nothing and loses nothing.
        if now > self.at:
            self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.per_second)
            self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
