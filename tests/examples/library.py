"""What the librarian's tests share: one library, built once and measured, and a conversation with it."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Sequence

from callboard import Exchange
from callboard.examples.librarian.agent import Librarian
from callboard.examples.librarian.plan import Plan, make_plan
from callboard.examples.librarian.tools import Tools

__all__ = ["build_cpu_seconds", "exchanges", "plan", "tools"]


@functools.cache
def _library() -> tuple[Tools, float]:
    gc.collect()
    started = time.process_time()
    opened = Librarian.library.open()
    return opened, time.process_time() - started


def tools() -> Tools:
    """The tools that the agent itself uses."""
    return _library()[0]


def build_cpu_seconds() -> float:
    """What building the library took, if a test of this process was the first to need it."""
    return _library()[1]


def exchanges(*pairs: tuple[str, object]) -> tuple[Exchange, ...]:
    """A conversation from (question, answer) pairs, oldest first."""
    return tuple(Exchange(text, answer) for text, answer in pairs)


def plan(text: str, history: Sequence[Exchange] = ()) -> Plan:
    """The plan for a question, with the names that really exist."""
    return make_plan(text, history, tools().index)
