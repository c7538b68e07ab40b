"""What a session holds in memory is bounded, whatever comes (law S13)."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.actors import CommandEntry, CommandMemory, Event, Limits, Log, Record, Result


# S13
@given(
    st.lists(st.lists(st.integers(0, 400), max_size=6), max_size=20),
    st.integers(1, 8),
    st.integers(1, 2_000),
)
def test_the_tail_of_a_log_is_bounded(turns: list[list[int]], max_records: int, max_bytes: int) -> None:
    """S13. Red if a log keeps more records or bytes than allowed, but for one record that is larger by itself."""
    log = Log("0" * 16, 1, 0, max_records=max_records, max_bytes=max_bytes)
    sizes: list[int] = []
    for turn in turns:
        records = []
        for size in turn:
            seq = len(sizes) + 1
            event = Event.make(f"x/{seq}", "x.y", None, {"a": "b" * size}, max_bytes=10_000, max_depth=8)
            records.append(Record.of(event, seq, 0))
            sizes.append(len(records[-1].encoded))
        log.extend(records, 1)
        kept = sizes[log.tail_first - 1 :]
        assert len(kept) <= max_records
        assert sum(kept) <= max_bytes or len(kept) == 1
        assert log.head == len(sizes)


# S13
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400)), max_size=600))
def test_the_memory_of_commands_is_bounded(commands: list[tuple[int, int]]) -> None:
    """S13. Red if more than 256 devices, or more than 128 results of one of them, are kept."""
    memory = CommandMemory()
    for device, id in commands:
        memory.remember(CommandEntry(f"{device:032x}", id, b"", Result(id, ok={})))
        kept: dict[str, int] = {}
        for entry in memory.entries():
            kept[entry.device] = kept.get(entry.device, 0) + 1
        assert len(kept) <= 256
        assert max(kept.values()) <= 128


# S13
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Limits)])
def test_a_limit_that_limits_nothing_is_refused(name: str, value: float) -> None:
    """S13. Red if a node can be made that bounds nothing, or lets nobody in."""
    with pytest.raises(ValueError, match=f"'{name}' must be"):
        Limits(**{name: value})  # type: ignore[arg-type]
