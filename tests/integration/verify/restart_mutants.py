"""Platforms whose node breaks a law at each restart: its journal is changed before the node opens it.

Each is served by `callboard serve --app`: what is imported here comes before the journal is opened, with the file of
the life before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from callboard import App
from tests.integration.sample_app import Steps

__all__: list[str] = []


def _with_journal(change: Callable[[apsw.Connection], None]) -> App:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "callboard" / "callboard.db"
    if path.exists():
        db = apsw.Connection(str(path))
        with db:
            change(db)
        db.close()
    return App(agents={"steps": Steps})


def _forget_the_last_append(db: apsw.Connection) -> None:
    db.execute("DELETE FROM snapshots")
    db.execute("DELETE FROM chunks WHERE place IN (SELECT max(place) FROM chunks GROUP BY session)")


def _forget_ids(db: apsw.Connection) -> None:
    db.execute("UPDATE devices SET highest = 0")
    db.execute("DELETE FROM commands")


def _say_again(db: apsw.Connection) -> None:
    """The newest chunk of each session once more, behind it: the same ids at new positions."""
    db.execute("DELETE FROM snapshots")
    for session, first, last, at, total, body in list(
        db.execute(
            "SELECT session, first, last, at, total, body FROM chunks"
            " WHERE place IN (SELECT max(place) FROM chunks GROUP BY session)"
        )
    ):
        lines = body.split(b"\n")
        moved = [
            line.replace(b'"seq":%d,' % (first + n), b'"seq":%d,' % (last + 1 + n), 1) for n, line in enumerate(lines)
        ]
        again = b"\n".join(moved)
        db.execute(
            "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?)",
            (session, last + 1, last + len(lines), at, total + len(again), again),
        )


def __getattr__(name: str) -> App:
    """Only the one that is served changes anything."""
    changes = {
        "forgets_the_last_append": _forget_the_last_append,
        "forgets_ids": _forget_ids,
        "says_it_again": _say_again,
    }
    if name not in changes:
        raise AttributeError(name)
    return _with_journal(changes[name])
