"""Merged records say the same as the records that they stand for: spliced bytes against decoding and encoding anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callboard.actors import Event, Record, merge_deltas

# All that JSON escapes, or could: quotes and backslashes at the ends of pieces, controls, what is beyond UTF-16's first
# plane, parts of one character that several code points make, and what looks like the record's own JSON.
NASTY = [
    "",
    '"',
    "\\",
    '\\"',
    "\\u0041",
    "\x00\x1f\x7f",
    "\u2028",
    "é",
    "e\u0301",
    "👩",
    "\u200d",
    "🚀",
    '","data":{"text":"',
    '"}}',
]
TEXTS = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=8), st.lists(st.sampled_from(NASTY), max_size=4).map("".join)
)

DELTAS = st.tuples(
    st.just("agent_delta"),
    st.sampled_from(["one", "two", 'a ","data":{"text":" run']),
    TEXTS.map(lambda text: {"text": text}),
)
OTHERS = st.sampled_from(
    [
        ("agent_thinking", "one", {"text": "hm"}),
        ("x.note", "one", {"text": "hm"}),
        ("agent_delta", "one", {"text": "a", "style": "bold"}),
        ("agent_delta", "one", {"style": "bold", "text": "a"}),
        ("agent_delta", "one", {"text": "a", "data": {"text": "b"}}),
        ("agent_delta", "one", {"more": {"x": 1, "data": {"text": "b"}}, "text": "c"}),
        ("agent_delta", None, {"text": "of no run"}),
        ("agent_completed", "one", {"result": "done", "duration_ms": 1}),
    ]
)
SAID = st.lists(st.one_of(DELTAS, DELTAS, DELTAS, OTHERS), max_size=20)


def records_of(said: Sequence[tuple[str, str | None, dict[str, Any]]], first: int = 1) -> list[Record]:
    """Records as a session makes them of events."""
    made = []
    for seq, (type, run, data) in enumerate(said, first):
        event = Event.make(f"{run}/{seq}", type, run, data, max_bytes=10_000, max_depth=32)
        made.append(Record.of(event, seq, 1_000 * seq))
    return made


def mergeable(record: Any) -> bool:
    """Whether it is a delta that has nothing but text."""
    return record["type"] == "agent_delta" and "run" in record and list(record["data"]) == ["text"]


def naive(records: Sequence[Record], told: set[int]) -> list[Any]:
    """What a merging of decoded records gives."""
    merged: list[Any] = []
    for record in (json.loads(each.encoded) for each in records):
        before = merged[-1] if merged else None
        if before is not None and mergeable(record) and mergeable(before) and before["run"] == record["run"]:
            first, last = before["seq"] if isinstance(before["seq"], list) else [before["seq"]] * 2
            if last not in told and record["seq"] == last + 1:
                text = before["data"]["text"] + record["data"]["text"]
                merged[-1] = {**record, "seq": [first, record["seq"]], "data": {"text": text}}
                continue
        merged.append(record)
    return merged


# S4 S10
@settings(max_examples=400)
@given(SAID, st.integers(1, 2**53 - 30), st.sets(st.integers(0, 20), max_size=4))
@example([("agent_delta", "one", {"text": "\\"}), ("agent_delta", "one", {"text": '"'})], 9, set())
def test_merged_bytes_are_those_of_the_decoded_records_joined(
    said: list[tuple[str, str | None, dict[str, Any]]], first: int, steps: set[int]
) -> None:
    """Red if a record is lost, doubled or moved, or more merges than may, across what was told too."""
    records = records_of(said, first)
    told = {first + step for step in steps}
    encoded = merge_deltas(records, told)
    expected = naive(records, told)
    assert [json.loads(each) for each in encoded] == expected
    # Byte for byte what an encoder makes of it.
    assert encoded == [msgspec.json.encode(each) for each in expected]


@given(SAID, st.integers(0, 20))
def test_records_that_are_not_side_by_side_are_not_joined(said: list[Any], hole: int) -> None:
    """A record that is missing must show: a stretch over it would hide it from the client."""
    records = records_of(said)
    del records[hole : hole + 1]
    kept = {record.seq for record in records}
    for each in map(json.loads, merge_deltas(records)):
        first, last = each["seq"] if isinstance(each["seq"], list) else [each["seq"]] * 2
        assert kept.issuperset(range(first, last + 1))


def test_what_cannot_be_merged_is_handed_on_as_it_is() -> None:
    """No byte of it is copied: records of connections that keep up and of those that lag are the same objects."""
    records = records_of([("agent_delta", "one", {"text": "a"}), ("agent_delta", "two", {"text": "b"})])
    assert [each is record.encoded for each, record in zip(merge_deltas(records), records, strict=True)] == [True, True]


def test_a_merged_record_is_the_last_one_with_all_the_text() -> None:
    """The bytes as they go out."""
    texts = ["The ", "new\n", '"one"']
    records = records_of([("agent_delta", "r", {"text": text}) for text in texts], 462)
    assert merge_deltas(records) == [
        b'{"seq":[462,464],"at":464000,"id":"r/464","type":"agent_delta","run":"r",'
        b'"data":{"text":"The new\\n\\"one\\""}}'
    ]
