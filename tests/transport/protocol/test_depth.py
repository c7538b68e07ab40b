"""The depth of a JSON text, against a model that parses and recurses."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callboard.transport.protocol.depth import nested_deeper_than

# Strings full of what could be taken for structure.
STRINGS = st.text(st.sampled_from('[]{}"\\,:au0\u20ac'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers() | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=25,
)


def depth_of(value: object) -> int:
    """The depth as anybody would define it."""
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
@example(["\\"], True, None)
@example(['\\"', [["[["]], "\\\\"], True, None)
def test_the_bound_is_exact(value: object, ascii_only: bool, indent: int | None) -> None:
    """At the true depth it holds, one below it does not, however the text is written."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    depth = depth_of(value)
    assert not nested_deeper_than(text, depth)
    assert depth == 0 or nested_deeper_than(text, depth - 1)


@pytest.mark.parametrize(
    "text, bound, deeper",
    [
        (b"[" * 40, 32, True),  # never closed
        (b"]" * 40, 32, False),  # nothing opened
        (b"]" * 40 + b"[" * 40, 32, True),  # no pair at all
        (b'"' + b"[" * 40, 32, False),  # inside a string that never ends
        (b'"\\' + b"[" * 40, 32, False),
        (b"[]" * 40, 1, False),
        (b"[" * 100_000 + b"]" * 100_000, 32, True),
        (b"[" * 32 + b"]" * 32, 32, False),
        (b"{" * 33 + b"}" * 33, 32, True),
    ],
)
def test_malformed_or_huge_texts_get_an_answer(text: bytes, bound: int, deeper: bool) -> None:
    """Nothing recurses, so nothing can overflow."""
    assert nested_deeper_than(text, bound) is deeper
