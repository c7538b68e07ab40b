"""What the verifier knows of one session: what it said in it, and all that its connections saw. Bookkeeping only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Said", "Story", "User"]


@attrs.frozen
class User:
    """One of the verifier's own users, and its token."""

    name: str
    token: str = attrs.field(repr=False)


@attrs.frozen
class Said:
    """A message that was accepted: `seq` is where the node says that its run begins; `at` is when it was sent."""

    run: str
    text: str
    seq: object
    at: float


@attrs.define(eq=False)
class Story:
    """One session. `id` is what the node calls it, known from the first ticket on.

    `unanswered` are the texts whose command has no result: whether their runs are this session's own is not known.
    `refused` are those that were said under an id of another command, and must not have been taken.
    """

    user: User
    name: str
    id: str = ""
    links: list[Link] = attrs.field(factory=list)
    said: dict[str, Said] = attrs.field(factory=dict)
    texts: set[str] = attrs.field(factory=set)
    unanswered: set[str] = attrs.field(factory=set)
    refused: set[str] = attrs.field(factory=set)
    # One copy of each record, as all devices get the same: raw JSON by itself.
    shared: dict[bytes, bytes] = attrs.field(factory=dict)
