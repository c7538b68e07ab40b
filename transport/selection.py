"""Which actors an operator wants to see, and in which order: the same for the node's answer and for `callboard top`.

Knows no node and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from ..runtime import ActorStatistics

__all__ = ["SORTS", "Selection", "select"]

Key = Callable[[ActorStatistics], tuple[object, ...]]


def _most(*fields: str) -> Key:
    """Order by these fields, the largest first; what is not known comes last."""

    def key(actor: ActorStatistics) -> tuple[object, ...]:
        return tuple(-(getattr(actor, field) or 0) for field in fields)

    return key


SORTS: Mapping[str, Key | None] = {
    "stuck": _most("oldest_seconds", "current_seconds", "mailbox", "restarts"),
    "mailbox": _most("mailbox", "oldest_seconds"),
    "current": _most("current_seconds", "oldest_seconds"),
    "handled": _most("handled"),
    "restarts": _most("restarts", "oldest_seconds"),
    "path": lambda actor: tuple(actor.path.split("/")),
    "start": None,
}
"""The orders there are. ``stuck`` puts the actor first for which somebody has been waiting longest."""


@attrs.frozen
class Selection:
    """Up to `actors` of those whose path or kind contains `match` (whatever its case), in the order `sort`.

    Raises:
        ValueError: a field is nothing that there is; the message names the value and what is allowed.
    """

    actors: int = 1_000_000
    sort: str = "start"
    match: str = ""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.actors <= 1_000_000:
            raise ValueError(f"actors is {self.actors}; allowed are 0 to 1000000")
        if self.sort not in SORTS:
            raise ValueError(f"sort is {self.sort!r:.80}; allowed are {', '.join(SORTS)}")
        if len(self.match) > 500:
            raise ValueError(f"match has {len(self.match)} characters; allowed are 500")

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Selection:
        """What a request asks for; names that mean nothing here are passed over.

        Raises:
            ValueError: as the class itself.
        """
        actors = query.get("actors", "1000000")
        if not (actors.isascii() and actors.isdigit() and len(actors) <= 9):
            raise ValueError(f"actors is {actors!r:.80}; it has to be a number")
        return cls(int(actors), query.get("sort", "start"), query.get("match", ""))


def select(actors: Sequence[ActorStatistics], selection: Selection) -> list[ActorStatistics]:
    """The actors that are wanted, in order; those of one rank in the order of their start."""
    match = selection.match.casefold()
    wanted = [actor for actor in actors if match in actor.path.casefold() or match in actor.kind.casefold()]
    key = SORTS[selection.sort]
    if key is not None:
        wanted.sort(key=key)
    return wanted[: selection.actors]
