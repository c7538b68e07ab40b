"""Which actors an operator wants to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import ActorStatistics
from callboard.transport.selection import SORTS, Selection, select

seconds = st.none() | st.floats(0, 100)
actors = st.lists(
    st.builds(
        ActorStatistics,
        path=st.text("ab/", min_size=1, max_size=6),
        kind=st.sampled_from(["Session", "Agent"]),
        state=st.just("running"),
        mailbox=st.integers(0, 9),
        capacity=st.just(9),
        oldest_seconds=seconds,
        handled=st.integers(0, 9),
        restarts=st.integers(0, 9),
        current=st.none(),
        current_seconds=seconds,
        last_error=st.none(),
    ),
    max_size=12,
)


@given(actors, st.sampled_from(sorted(SORTS)), st.integers(0, 12), st.sampled_from(["", "a", "A/B", "SESS"]))
def test_a_selection(every: list[ActorStatistics], sort: str, most: int, match: str) -> None:
    """Only what matches, no more than wanted, and nothing that is left out comes before what is shown."""
    chosen = select(every, Selection(most, sort, match))
    matching = [a for a in every if match.lower() in a.path.lower() or match.lower() in a.kind.lower()]
    assert len(chosen) == min(most, len(matching))
    orders: dict[str, Callable[[Any], Any]] = {
        "stuck": lambda a: -(a.oldest_seconds or 0),
        "mailbox": lambda a: -a.mailbox,
        "current": lambda a: -(a.current_seconds or 0),
        "handled": lambda a: -a.handled,
        "restarts": lambda a: -a.restarts,
        "path": lambda a: a.path.split("/"),
        # By identity: two actors may be alike.
        "start": {id(each): place for place, each in enumerate(matching)}.__getitem__,
    }
    first = orders[sort]
    told = id if sort == "start" else (lambda each: each)
    assert [first(told(each)) for each in chosen] == sorted(first(told(each)) for each in matching)[:most]


@pytest.mark.parametrize(
    "query, said",
    [
        ({"actors": "ten"}, "actors is 'ten'; it has to be a number"),
        ({"actors": "-1"}, "actors is '-1'; it has to be a number"),
        ({"actors": "9999999"}, "actors is 9999999; allowed are 0 to 1000000"),
        ({"sort": "age"}, "sort is 'age'; allowed are stuck, mailbox, current, handled, restarts, path, start"),
        ({"match": "x" * 501}, "match has 501 characters; allowed are 500"),
    ],
)
def test_what_is_nothing_to_select_by(query: dict[str, str], said: str) -> None:
    """It is named, with what is allowed."""
    with pytest.raises(ValueError, match=said):
        Selection.of(query)
