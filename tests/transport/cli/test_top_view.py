"""What `callboard top` shows, from two looks at a node."""

from __future__ import annotations

import io
from typing import Any

import attrs
import msgspec
import pytest
from rich.console import Console

from callboard.transport.cli.top_view import Look, Wanted, show


def actor(path: str, **fields: Any) -> dict[str, Any]:
    """An actor as the node tells of it."""
    return {
        "path": path,
        "kind": "Session",
        "state": "running",
        "mailbox": 0,
        "capacity": 1000,
        "oldest_seconds": None,
        "handled": 0,
        "restarts": 0,
        "current": None,
        "current_seconds": None,
        "last_error": None,
        **fields,
    }


def look(*actors: dict[str, Any], **fields: Any) -> Look:
    """What a node says."""
    return msgspec.convert(
        {
            "server": "callboard/9.9",
            "serving": True,
            "process": {"uptime_seconds": 7_500.0, "cpu_seconds": 10.0, "memory_bytes": 50 * 2**20},
            "sessions": 1,
            "users": 2,
            "runs": {"open": 3},
            "connections": {"open": 4, "closed": {"4200": 1}},
            "dead_letters": {"crashed": 2, "dead": 0},
            "tasks": 1,
            "handled": sum(each["handled"] for each in actors),
            "slow": [],
            "actors_in_all": len(actors),
            "actors": actors,
            **fields,
        },
        Look,
    )


def lines(now: Look, before: Look | None = None, wanted: Wanted | None = None, rows: int | None = None) -> list[str]:
    """The rows of the screen."""
    out = Console(file=io.StringIO(), width=160)
    out.print(show(now, before, 2.0, wanted or Wanted(), "http://node", rows))
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


STUCK = actor(
    "board/sessions/s1",
    mailbox=950,
    oldest_seconds=12.3,
    current="RunCommand",
    current_seconds=75.0,
    state="busy",
    restarts=1,
    last_error="ValueError",
)


def test_the_head_tells_how_the_node_is() -> None:
    """With CPU and messages as rates between the two looks."""
    before = look(actor("board", handled=10))
    now = look(actor("board", handled=30))
    now.process.cpu_seconds = 11.0
    assert lines(now, before)[:4] == [
        "callboard/9.9  http://node  serving",
        "up 2 h 05   CPU 50 %   memory 50 MiB   10 messages/s   1 coroutine",
        "1 session of 2 users   3 open runs   4 connections   dead letters: 2 crashed",
        "nothing held the loop up",
    ]


def test_the_stuck_actor_comes_first() -> None:
    """All of what one wants to know of it in one row."""
    shown = lines(look(actor("board/a", handled=7), STUCK))
    assert shown[6].split() == (
        ["12", "s", "950/1,000", "RunCommand", "75", "s", "0", "1", "ValueError", "Session", "sessions/s1"]
    )


def test_what_held_the_loop_is_told_at_the_top() -> None:
    """The newest case, with where it was."""
    cases = [
        {"path": "board/a", "message": "M", "seconds": 0.5, "over": True, "stack": ["x.py:1 in f"]},
        {"path": None, "message": None, "seconds": 1.25, "over": False, "stack": ["y.py:2 in g"]},
    ]
    assert lines(look(slow=cases))[3] == (
        "holds the loop up for 1.25 s: code outside of actors  (the newest of 2)  y.py:2 in g"
    )


def test_rows_fit_the_screen() -> None:
    """However many actors there are; at least one is shown."""
    many = look(*(actor(f"board/{number}") for number in range(100)))
    for rows in (1, 9, 20, 40):
        shown = lines(many, rows=rows)
        assert len(shown) == max(9, rows)
        assert f"{max(1, rows - 8)} of 100 actors" in shown[-1]


def test_the_tree_is_in_order_and_indented() -> None:
    """Parents before their children."""
    shown = lines(
        look(actor("board/b"), actor("board"), actor("board/a/c"), actor("board/a")), wanted=Wanted(tree=True)
    )
    rows = [line[line.index("Session") + 7 :] for line in shown[6:10]]
    assert [row.strip() for row in rows] == ["board", "a", "c", "b"]
    assert [len(row) - len(row.lstrip()) for row in rows] == [
        len(rows[0]) - len(rows[0].lstrip()) + n for n in (0, 2, 4, 2)
    ]


def test_rates_of_those_that_were_there_before() -> None:
    """And one may sort by them."""
    before = look(actor("board/a", handled=10), actor("board/b", handled=10))
    now = look(actor("board/a", handled=14), actor("board/b", handled=50), actor("board/c", handled=99))
    shown = lines(now, before, Wanted(sort="rate"))
    assert [line.split()[-1] for line in shown[6:9]] == ["b", "a", "c"]
    assert "20" in shown[6].split()
    assert "2.0" in shown[7].split()


@pytest.mark.parametrize("wanted", [Wanted(match="nobody"), Wanted(typing="some")])
def test_the_foot(wanted: Wanted) -> None:
    """Says what is shown, and what keys do."""
    shown = lines(look(STUCK), wanted=wanted, rows=30)
    if wanted.typing is None:
        assert "  no actor matches" in shown
        assert shown[-1].startswith("0 of 1 actor   sorted by stuck   filter 'nobody'   s sort")
    else:
        assert shown[-1].startswith("filter: some")


def test_what_a_node_says_cannot_steer_the_terminal() -> None:
    """Names are the platform's, and may be anything."""
    evil = attrs.evolve(look(actor("board/\x1b[2J")).actors[0], last_error="\x1b]0;x\x07")
    now = look()
    now.actors = [evil]
    assert "\x1b" not in "".join(lines(now))
