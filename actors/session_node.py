"""What a session gets of its node: the journal, the other actors, the platform's agents, limits, ids and the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
import pykka

from ..runtime import Ref
from .agent import Agent
from .ids import Ids
from .journal import Journal
from .limits import Limits

__all__ = ["RunObserver", "SessionNode"]


class RunObserver(Protocol):
    """Hears of each run's beginning and end, without content; plain, and it must not raise.

    For each `run_started` there is one `run_ended`, unless the whole node is killed.
    """

    def run_started(self, run: str, session: str, agent: str) -> None:
        """The agent of a run is being started; that the run began is durable."""

    def run_ended(self, run: str, session: str, terminal: str) -> None:
        """The run's terminal event is durable; or its session failed, which will write ``agent_error`` when it can."""


@attrs.frozen(eq=False)
class SessionNode:
    """What a session gets of its node. `agents` makes an agent by name; `now_ms` gives Unix milliseconds."""

    journal: Journal
    registry: Callable[[], Ref[Any]]
    supervisor: Callable[[], Ref[Any]]
    agents: Mapping[str, Callable[[], Agent | pykka.ThreadingActor]]
    default_agent: str
    limits: Limits
    ids: Ids
    now_ms: Callable[[], int]
    observer: RunObserver
