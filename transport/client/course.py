"""What a connection and who goes from connection to connection tell each other: how one begins, goes and ends."""

from __future__ import annotations

from typing import Protocol

import attrs

from ..protocol import Welcome
from .way import Link

__all__ = ["Counts", "Ending", "Opened", "Owner"]


@attrs.define
class Counts:
    """What a client has been through; one for all of its connections."""

    connects: int = 0
    records: int = 0
    gaps: int = 0
    resets: int = 0
    left_out: int = 0


@attrs.frozen
class Opened:
    """A link that is open, and the ticket to say hello with."""

    link: Link
    ticket: str


@attrs.frozen
class Ending:
    """How a connection ended.

    Attributes:
        code: the close code; of the node, unless `by_us`.
        reason: in words.
        by_us: this end gave it up, so the code says nothing about us.
        planned: this end left in order to go on at once.
        successor: the connection to go on with, if one was prepared.
    """

    code: int
    reason: str
    by_us: bool = False
    planned: bool = False
    successor: Opened | None = None


class Owner(Protocol):
    """Who goes from connection to connection."""

    def welcomed(self, welcome: Welcome) -> None:
        """The connection is open."""

    def heard(self) -> None:
        """A message was taken."""

    async def successor(self) -> Opened | None:
        """Open the next connection, as the node asks to be left; None if there is none to be had."""
