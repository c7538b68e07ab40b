"""The pure judgments on what a connection saw: order, sameness, ids, and the grammar of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.verify.evidence import percentile, shorten
from callboard.transport.verify.grammar import judge_run
from callboard.transport.verify.lines import Line
from callboard.transport.verify.stream import (
    Merged,
    Missing,
    Seen,
    contiguous_until,
    differing,
    first_break,
    merged_wrongly,
    repeated_ids,
)


def seen(seq: int, type: str = "agent_delta", data: Any = None, *, id: str | None = None, run: str = "r") -> Seen:
    """A record."""
    id = f"{run}/{seq}" if id is None else id
    data = {"text": "…"} if data is None else data
    raw = json.dumps({"seq": seq, "at": 0, "id": id, "type": type, "run": run, "data": data}).encode()
    return Seen(seq, id, type, run, raw, 0.0)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, list[Seen | Missing]]:
    """A stream as it has to be, and where it begins: records one after the other, with declared gaps between."""
    begins = seq = draw(st.integers(1, 50))
    items: list[Seen | Missing] = []
    for length in draw(st.lists(st.integers(0, 3), max_size=12)):
        items.append(seen(seq) if length == 0 else Missing(seq, seq + length - 1))
        seq += max(1, length)
    return begins, items


@given(streams())
def test_a_contiguous_stream_has_no_break(stream: tuple[int, list[Seen | Missing]]) -> None:
    """Declared gaps are no breaks."""  # S2 S10
    assert first_break(*stream) is None


@given(streams(), st.data())
def test_what_is_lost_is_a_break_where_it_was(stream: tuple[int, list[Seen | Missing]], data: st.DataObject) -> None:
    """But for the last item, whose loss no stream can show."""
    begins, items = stream
    if len(items) < 2:
        return
    lost = data.draw(st.integers(0, len(items) - 2))
    found = first_break(begins, items[:lost] + items[lost + 1 :])
    assert found is not None
    assert (found.index, found.at_seam, found.found) == (lost, lost == 0, items[lost + 1])


@given(streams(), st.data())
def test_what_is_repeated_is_a_break(stream: tuple[int, list[Seen | Missing]], data: st.DataObject) -> None:
    """At the place of the repetition."""
    begins, items = stream
    if not items:
        return
    again = data.draw(st.integers(0, len(items) - 1))
    found = first_break(begins, [*items[: again + 1], items[again], *items[again + 1 :]])
    assert found is not None
    assert (found.index, found.found) == (again + 1, items[again])


@pytest.mark.parametrize("gap", [Missing(2, 4), Missing(1, 0), Missing(4, 4)])
def test_a_gap_has_to_begin_where_the_stream_stands(gap: Missing) -> None:
    """And to hold something."""
    found = first_break(1, [gap])
    assert (found is None) is (gap == Missing(1, 1))
    assert first_break(1, [seen(1), seen(2), Missing(3, 4), seen(5)]) is None


def test_sameness_is_that_of_bytes() -> None:
    """A record that says the same in other bytes is another one; one that nobody else has is none."""
    known = {1: seen(1), 2: seen(2), 3: seen(3)}
    other = seen(2, data={"text": "another"})
    assert list(differing([seen(1), other, seen(4)], known)) == [other]
    assert contiguous_until(known) == 3
    assert contiguous_until({2: seen(2)}) == 0
    assert contiguous_until({}) == 0


def test_a_merged_record_says_what_the_single_ones_say() -> None:
    """The last one, with the text of all; of anything else than plain deltas of one run nothing is merged."""
    known = {seq: seen(seq, data={"text": f"{seq} "}) for seq in range(1, 5)}

    def verdict(*, seqs: tuple[int, int] = (2, 4), text: str = "2 3 4 ", id: str = "r/4", **more: Any) -> bool:
        said = {"seq": list(seqs), "at": 0, "id": id, "type": "agent_delta", "run": "r", "data": {"text": text}}
        return merged_wrongly(Merged(seqs[0], seqs[1], json.dumps({**said, **more}).encode()), known) is None

    assert verdict()
    assert first_break(1, [known[1], Merged(2, 4, b""), seen(5)]) is None
    assert not verdict(text="2 3 4")
    assert not verdict(text="2 4 3 ")
    assert not verdict(id="r/2")
    assert not verdict(at=1)
    for other in (seen(3, run="s"), seen(3, data={"text": "3 ", "style": "bold"}), seen(3, "agent_thinking")):
        known[3] = other
        assert not verdict()


def test_ids_are_unique_by_position() -> None:
    """The same record twice is no second use of its id."""
    first, again = seen(1, id="r/1"), seen(4, id="r/1")
    assert list(repeated_ids([first, seen(2), first])) == []
    assert list(repeated_ids([first, seen(2), again])) == [(first, again)]


STARTED = ("agent_started", {"agent": "a", "input": "?", "by": "session"})
THINKING = ("agent_thinking", {"text": "hm"})
COMPLETED = ("agent_completed", {"result": None, "duration_ms": 1})
ERROR = ("agent_error", {"code": "c", "message": "m", "by": "agent"})
CANCELLED = ("agent_cancelled", {"by": "user", "reason": "r"})
DELTA = ("agent_delta", {"text": "…"})
OWN = ("x.note", [1])


def opened(call: str) -> tuple[str, Any]:
    """A call begins."""
    return "tool_executing", {"call": call, "tool": "t", "arguments": {}}


def closed(call: str) -> tuple[str, Any]:
    """A call has ended."""
    return "tool_completed", {"call": call, "tool": "t", "ok": True, "result": 1, "duration_ms": 2.5}


def faults(*events: tuple[str, Any]) -> list[Line]:
    """The lines that these events of a run break."""
    return [fault.line for fault in judge_run([seen(seq, *event) for seq, event in enumerate(events, 1)])]


LEGAL: list[tuple[tuple[str, Any], ...]] = [
    (STARTED,),
    (STARTED, COMPLETED),
    (STARTED, ERROR),
    (STARTED, CANCELLED),
    (STARTED, THINKING, DELTA, OWN, COMPLETED),
    (STARTED, opened("1"), opened("2"), closed("1"), closed("2"), COMPLETED),
    (STARTED, opened("1"), closed("1"), opened("1"), closed("1"), COMPLETED),
    (STARTED, opened("1")),
]

ILLEGAL: list[tuple[tuple[tuple[str, Any], ...], list[Line]]] = [
    ((THINKING, COMPLETED), [Line.GRAMMAR]),
    ((STARTED, STARTED, COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("agent_pondering", {"text": ""}), COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("x.", {}), COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("agent_thinking", {}), COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("agent_thinking", {"text": 5}), COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("agent_thinking", []), COMPLETED), [Line.GRAMMAR]),
    ((STARTED, ("agent_completed", {"result": 1, "duration_ms": True})), [Line.GRAMMAR]),
    ((STARTED, closed("1"), COMPLETED), [Line.TOOL_PAIRS]),
    ((STARTED, opened("1"), opened("1"), closed("1"), COMPLETED), [Line.TOOL_PAIRS]),
    ((STARTED, opened("1"), closed("1"), closed("1"), COMPLETED), [Line.TOOL_PAIRS]),
    ((STARTED, opened("1"), COMPLETED), [Line.TOOL_PAIRS]),
    ((STARTED, opened("1"), closed("2"), COMPLETED), [Line.TOOL_PAIRS, Line.TOOL_PAIRS]),
    ((STARTED, COMPLETED, COMPLETED), [Line.TERMINAL]),
    ((STARTED, COMPLETED, DELTA), [Line.TERMINAL]),
    ((STARTED, ERROR, CANCELLED, DELTA), [Line.TERMINAL, Line.TERMINAL]),
]


@pytest.mark.parametrize("events", LEGAL)
def test_a_legal_run_has_no_fault(events: tuple[tuple[str, Any], ...]) -> None:
    """Whether it has ended is not asked here."""  # S6
    assert faults(*events) == []


@pytest.mark.parametrize("events, lines", ILLEGAL)
def test_what_is_wrong_in_a_run_belongs_to_its_line(events: tuple[tuple[str, Any], ...], lines: list[Line]) -> None:
    """Order and form, pairs, and the end."""  # S6
    assert faults(*events) == lines


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values_and_enough_are_not_above_it(values: list[float], percent: float) -> None:
    """By nearest rank."""
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100
    assert sum(value < found for value in values) <= len(values) * percent / 100


def test_a_long_frame_is_shortened() -> None:
    """With how much was left out; bytes that are no text are shown all the same."""
    assert shorten("short") == "short"
    assert shorten(b"\xff{") == "\\xff{"
    assert shorten("x" * 1_000).startswith("x" * 300 + "… (700 more")
