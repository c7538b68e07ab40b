"""A session as naive as can be, for tests to play the server with: a list of records and a map of results.

It follows the wire protocol's rules of what a session answers, keeps everything, and is no part of the product.
"""

import attrs

from callboard.transport.protocol import (
    Command,
    Events,
    Gap,
    Hello,
    Result,
    Start,
    Welcome,
    WireRecord,
    encode,
    events_parts,
)

from .samples import Mode, welcome


@attrs.define(eq=False)
class SessionModel:
    """One history in an epoch; `records[i]` is the one with seq i + 1, of which those from `first` on are kept."""

    epoch_number: int = 1
    records: list[WireRecord] = attrs.Factory(list)
    first: int = 1
    results: dict[int, Result] = attrs.Factory(dict)
    last_id: int = 0
    runs: list[int] = attrs.Factory(list)

    @property
    def epoch(self) -> str:
        return f"{self.epoch_number:016x}"

    @property
    def head(self) -> int:
        return len(self.records)

    def append(self) -> int:
        seq = self.head + 1
        said = {"epoch": self.epoch, "seqs": [seq, seq]}
        self.records.append(WireRecord(seq=seq, id=f"r/{seq}", type="agent_delta", run="r", at=seq, data=said))
        return seq

    def trim(self, first: int) -> None:
        self.first = min(max(self.first, first), self.head + 1)

    def begin_anew(self, kept: int) -> None:
        """Lose the end of the history: the store came back without it, so the epoch changes."""
        self.epoch_number += 1
        survivors = min(kept, self.head)
        self.records = []
        for _ in range(survivors):
            self.append()
        self.first = min(self.first, survivors + 1)

    def welcome(self, hello: Hello) -> Welcome:
        """The verdict on a hello, and with `from` the place where its connection begins."""
        position = hello.start.position if isinstance(hello.start, Start) else None
        if position is not None and position[0] == self.epoch and position[1] <= self.head:
            return self._verdict("replay", position[1] + 1)
        wanted = self.head - 999
        if position is None and hello.start == "first":
            wanted = 1
        elif position is None and isinstance(hello.start, Start) and hello.start.last is not None:
            wanted = self.head - hello.start.last + 1
        return self._verdict("fresh" if position is None else "reset", max(wanted, self.first))

    def _verdict(self, mode: Mode, from_seq: int) -> Welcome:
        return welcome(mode, from_seq=from_seq, head=self.head, epoch=self.epoch, last_id=self.last_id)

    def frame(self, start: int, count: int, merged: int) -> tuple[bytes, int]:
        """The frame for a cursor at `start`, and where the cursor is after it.

        What is no longer kept is a gap; of up to `count` records the first `merged` come as one.
        """
        if start < self.first:
            gap = Gap(from_seq=start, to_seq=self.first - 1, reason="retention")
            return encode(gap), self.first
        chosen = self.records[start - 1 : start - 1 + count]
        if merged > 1 and len(chosen) >= merged:
            chosen = [self._merge(chosen[:merged]), *chosen[merged:]]
        end = chosen[-1].last if chosen else start - 1
        return b"".join(events_parts([record_bytes(item) for item in chosen])), end + 1

    def _merge(self, pieces: list[WireRecord]) -> WireRecord:
        first, last = pieces[0].first, pieces[-1].last
        said = {"epoch": self.epoch, "seqs": [first, last]}
        return WireRecord(seq=(first, last), id=pieces[0].id, type="agent_delta", run="r", at=first, data=said)

    def run(self, command: Command) -> Result:
        """Run a command unless its id is known; the effect is one record."""
        if command.id not in self.results:
            self.runs.append(command.id)
            self.results[command.id] = Result(id=command.id, ok={}, seq=self.append())
            self.last_id = max(self.last_id, command.id)
        return self.results[command.id]


def record_bytes(item: WireRecord) -> bytes:
    """A record as it stands between the brackets of an `events` frame."""
    return encode(Events((item,)))[len(b"".join(events_parts([]))) - 2 : -2]
