"""A connection's stream as it was seen, and the pure judgments on it. No I/O, no clock.

Nothing here is shared with the node: what is right follows from the laws and the wire's description, and is written
down a second time, so that a mistake of the one is not repeated by the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

__all__ = [
    "Break",
    "Merged",
    "Missing",
    "Seen",
    "contiguous_until",
    "differing",
    "first_break",
    "merged_wrongly",
    "repeated_ids",
]


@attrs.frozen(eq=False)
class Seen:
    """A record as it came: `raw` is its JSON, `arrived` the time in seconds of the verifier's clock."""

    seq: int
    id: str
    type: str
    run: str | None
    raw: bytes
    arrived: float


@attrs.frozen
class Missing:
    """A declared gap: the node said that the records `first` to `last` cannot be had."""

    first: int
    last: int


@attrs.frozen(eq=False)
class Merged:
    """A record as it came that stands for the records `first` to `last`, deltas of one run."""

    first: int
    last: int
    raw: bytes


@attrs.frozen
class Break:
    """Where a stream stopped to be contiguous: `expected` is the seq that had to come, at the `index`-th place."""

    index: int
    expected: int
    found: Seen | Missing | Merged

    @property
    def at_seam(self) -> bool:
        """Whether it is the first thing that came: the connection did not begin where its welcome said."""
        return self.index == 0


def first_break(begins: int, items: Sequence[Seen | Missing | Merged]) -> Break | None:
    """Where the stream of a connection that accounts for the records from `begins` on has its first gap or repeat."""
    expected = begins
    for index, item in enumerate(items):
        first, last = (item.seq, item.seq) if isinstance(item, Seen) else (item.first, item.last)
        if first != expected or last < first:
            return Break(index, expected, item)
        expected = last + 1
    return None


def contiguous_until(by_seq: Mapping[int, Seen]) -> int:
    """The highest seq up to which, from 1 on, all records are there."""
    seq = 0
    while seq + 1 in by_seq:
        seq += 1
    return seq


def merged_wrongly(merged: Merged, known: Mapping[int, Seen]) -> str | None:
    """What it had to say, if it says anything else than the records that it stands for; all of them are known."""
    pieces = [json.loads(known[seq].raw) for seq in range(merged.first, merged.last + 1)]
    said, last = json.loads(merged.raw), pieces[-1]
    if any(piece["type"] != "agent_delta" or piece.get("run") != last.get("run") for piece in pieces):
        return "single records, as these are not all deltas of one run"
    if any(set(piece["data"]) != {"text"} for piece in pieces):
        return "single records, as some carry more than their text"
    text = "".join(piece["data"]["text"] for piece in pieces)
    right = {**last, "seq": [merged.first, merged.last], "data": {"text": text}}
    return None if said == right else json.dumps(right, ensure_ascii=False)


def differing(records: Iterable[Seen], known: Mapping[int, Seen]) -> Iterator[Seen]:
    """The records that differ, in any byte, from the one that is known of the same seq."""
    for record in records:
        same = known.get(record.seq)
        if same is not None and same.raw is not record.raw and same.raw != record.raw:
            yield record


def repeated_ids(records: Iterable[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Pairs of records with one id and two positions, the earlier one first."""
    known: dict[str, Seen] = {}
    for record in records:
        earlier = known.setdefault(record.id, record)
        if earlier.seq != record.seq:
            yield earlier, record
