"""Every target of the fuzzer, with what was found before, its seeds, and seeds that Hypothesis has tampered with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.found import FOUND
from tests.fuzz.targets import SEEDS, TARGETS

# What is often misread.
SPICES = [b"", b"\0", b"\xff", b"\n", b'"', b"[" * 20, b"9" * 30, b"\\ud800", b"\xed\xa0\x80", b"\xc3\xa4", b": "]


@st.composite
def tampered(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, with pieces taken out, doubled, or replaced by another seed's or by what is often misread."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        other = draw(st.sampled_from(seeds))
        at = draw(st.integers(0, len(other)))
        piece = draw(st.one_of(st.sampled_from(SPICES), st.binary(max_size=4), st.just(other[at : at + 20])))
        data = data[:start] + piece + data[end if draw(st.booleans()) else start :]
    return data


# S12
@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=60)
def test_whatever_is_fed(name: str, data: st.DataObject) -> None:
    """No bytes make a target fail."""
    TARGETS[name](data.draw(st.one_of(tampered(SEEDS[name]), st.binary(max_size=60)), label=name))


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_taken(name: str) -> None:
    """They are what the targets are for."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name, data", FOUND)
def test_what_was_found_once(name: str, data: bytes) -> None:
    """It does not come back."""
    TARGETS[name](data)
