"""The log and its cursors: tail, journal and gap meet without a seam."""

from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Behind, Log, LogGap, Record
from tests.actors.journal_contract import record


@attrs.define
class Cursor:
    """A connection's place, and what it was given: seqs, and gaps as (first, last)."""

    at: int
    given: list[int] = attrs.field(factory=list)
    gaps: list[tuple[int, int]] = attrs.field(factory=list)

    def step(self, log: Log, kept: Sequence[Record], max_bytes: int) -> bool:
        """Read once, from memory or from the journal; whether there was anything."""
        found = log.after(self.at, max_bytes)
        if isinstance(found, Behind):
            # What a journal promises, spelled naively: what follows, at most two, whatever is still kept.
            found, max_bytes = [one for one in kept if one.seq > self.at][:2], 10**6
            assert found, "behind, yet the journal has nothing more"
            if found[0].seq > self.at + 1:
                found = LogGap(self.at + 1, found[0].seq - 1)
        if isinstance(found, LogGap):
            assert found.first == self.at + 1
            assert found.last >= found.first
            self.gaps.append((found.first, found.last))
            self.at = found.last
            return True
        for one in found:
            assert one.seq == self.at + 1
            self.given.append(one.seq)
            self.at = one.seq
        assert sum(len(one.encoded) for one in found[:-1]) <= max_bytes
        return bool(found)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 6)),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("attach"), st.integers(0, 40)),
    ),
    max_size=40,
)


# S2 S8 S10
@settings(max_examples=200)
@given(
    steps,
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(100, 600),
    st.sampled_from((1, 150, 10_000)),
    st.integers(0, 9),
)
def test_a_cursor_gets_every_record_or_is_told(
    program: list[tuple[str, int]], retained: int, tail: int, tail_bytes: int, batch_bytes: int, before: int
) -> None:
    """S2 S8 S10. Red if a record is swallowed or given twice where tail, journal and retention meet."""
    written = [record(seq, size=seq % 4 * 10) for seq in range(1, before + 1)]
    first = max(1, before + 1 - retained)
    log = Log("e" * 16, first, first - 1, max_records=tail, max_bytes=tail_bytes)
    log.extend(written[first - 1 :], first)
    cursors: list[tuple[int, Cursor]] = []

    def kept() -> list[Record]:
        return written[max(0, len(written) - retained) :]

    for what, number in program:
        if what == "append":
            new = [record(seq, size=seq % 4 * 10) for seq in range(log.head + 1, log.head + 1 + number)]
            written += new
            log.extend(new, kept()[0].seq)
        elif what == "attach":
            start = min(number, log.head)
            cursors.append((start, Cursor(start)))
        elif cursors:
            cursors[number % len(cursors)][1].step(log, kept(), batch_bytes)
    for start, cursor in cursors:
        while cursor.step(log, kept(), batch_bytes):
            pass
        gone = {seq for first, last in cursor.gaps for seq in range(first, last + 1)}
        assert cursor.given == [seq for seq in range(start + 1, len(written) + 1) if seq not in gone]
        assert max(gone, default=0) < max(1, len(written) + 1 - retained)
    # At least one record stays whatever its size, and never more than the bounds say.
    assert len(log._tail) <= max(1, tail)
    assert len(log._tail) <= 1 or sum(len(one.encoded) for one in log._tail) <= tail_bytes


def test_an_empty_log_has_nothing_and_is_no_gap() -> None:
    """S10. Red if a cursor at zero of an empty session is sent to the journal, or told of a gap."""
    log = Log("e" * 16, 1, 0, max_records=4, max_bytes=1_000)
    assert log.after(0, 100) == ()
    assert log.tail_first == 1


def test_the_seam_between_journal_and_tail_is_exact() -> None:
    """S10. Red if the oldest record in memory is read from the journal, or the one before it from memory."""
    log = Log("e" * 16, 1, 0, max_records=3, max_bytes=10**6)
    log.extend([record(seq) for seq in range(1, 11)], 1)
    assert log.tail_first == 8
    found = log.after(7, 10**6)
    assert not isinstance(found, Behind | LogGap)
    assert [one.seq for one in found] == [8, 9, 10]
    assert isinstance(log.after(6, 10**6), Behind)
    assert log.after(10, 10**6) == ()


def test_the_seam_between_gap_and_journal_is_exact() -> None:
    """S10. Red if a gap reaches one record too far, or one too short."""
    log = Log("e" * 16, 1, 0, max_records=2, max_bytes=10**6)
    log.extend([record(seq) for seq in range(1, 11)], 5)
    assert log.after(0, 100) == LogGap(1, 4)
    assert log.after(3, 100) == LogGap(4, 4)
    assert isinstance(log.after(4, 100), Behind)
