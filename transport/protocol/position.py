"""A client's position in its session, and the rules that move it: each record is applied once.

A record or gap that begins right behind the position is next and moves it. One that ends at or before it was
applied already. Anything else, also one that straddles the position, belongs to another history or came after
a loss: it must not be applied, and the connection that brought it is of no use.

Knows welcomes and numbers; it does not know what a record says.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import assert_never

from .messages import Welcome

__all__ = ["Place", "Position"]


class Place(Enum):
    """Where a stretch of records lies, seen from the position."""

    NEXT = auto()
    APPLIED = auto()
    ELSEWHERE = auto()


class Position:
    """`epoch` (None before any) and `seq`, the last record applied in it."""

    def __init__(self, epoch: str | None, seq: int) -> None:
        self._epoch = epoch
        self._seq = seq

    @property
    def known(self) -> tuple[str, int] | None:
        """`(epoch, seq)`, or None while there is no epoch."""
        return None if self._epoch is None else (self._epoch, self._seq)

    @property
    def seq(self) -> int:
        """The last seq applied, 0 for none."""
        return self._seq

    def take(self, first: int, last: int) -> Place:
        """Say where the records `first` to `last` lie, and move behind them where they are next."""
        if first == self._seq + 1:
            self._seq = last
            return Place.NEXT
        return Place.APPLIED if last <= self._seq else Place.ELSEWHERE

    def welcome(self, welcome: Welcome) -> bool:
        """Follow a welcome. False, with nothing changed, where it does not fit what the hello said.

        `replay` must go on from this very position, and `fresh` is for who has none: with either, another
        position would repeat or skip records unseen. `reset` fits always.
        """
        seq = welcome.from_seq - 1
        match welcome.mode:
            case "replay":
                fits = self.known == (welcome.epoch, seq)
            case "fresh":
                fits = self._epoch is None
            case "reset":
                fits = True
            case _:
                assert_never(welcome.mode)
        if fits:
            self._epoch, self._seq = welcome.epoch, seq
        return fits
