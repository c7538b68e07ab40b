"""What is to be done to a node, and what is needed for it from outside: tokens, and who hears how far it has come."""

from __future__ import annotations

from typing import Protocol

import attrs

__all__ = ["TEXT", "Plan", "Tokens", "Watch"]

# For the librarian a real question, for any other agent a harmless one.
TEXT = "What does json.dumps do?"


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be done. `timeout_seconds` bounds each single wait.

    `through_restarts`: for so many seconds users talk to a node that somebody kills and begins anew meanwhile, and
    what that allows to judge is judged, instead of all else.
    """

    url: str
    users: int = 20
    devices: int = 2
    session: str = "main"
    text: str = TEXT
    timeout_seconds: float = 60.0
    through_restarts: float | None = None

    @property
    def few(self) -> int:
        """How many users go through what need not be tried by all."""
        return max(1, min(8, self.users // 10))


class Tokens(Protocol):
    """Where tokens come from."""

    async def __call__(self, user: str, scope: str) -> str | None:
        """A token for this user; None if there is none with such a scope. May raise ConfigError."""


class Watch(Protocol):
    """Hears how far it has come."""

    def begin(self, what: str, total: int) -> None:
        """Something of so many steps begins."""

    def advance(self, what: str) -> None:
        """A step of it is done."""

    def end(self, what: str) -> None:
        """It has ended, however that went."""
