"""A ticket as a client has it."""

from __future__ import annotations

import attrs
import trio

__all__ = ["Ticket"]


@attrs.frozen(repr=False)
class Ticket:
    """A ticket as the node gave it; `asked_at` is in seconds of the verifier's clock."""

    ticket: str
    session: str
    url: str
    expires_in_seconds: float
    asked_at: float

    def may_have_expired(self) -> bool:
        """Whether its time may be over."""
        return trio.current_time() - self.asked_at >= self.expires_in_seconds
