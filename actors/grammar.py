"""The grammar of a run, as one table: what may follow what (law S6).

`agent_started` first; a `tool_completed` answers an open `tool_executing` of the same call; a terminal only when no
call is open, and nothing after it. The agent checks its own events with it before they leave, the session checks again
what it is given: the session's word counts.
"""

from __future__ import annotations

from .errors import GrammarError
from .events import TERMINALS, TURNING

__all__ = ["RunGrammar"]


class RunGrammar:
    """How far one run has come. `open_calls` maps each open call to its tool, in order of start."""

    __slots__ = ("ended", "open_calls", "run", "started")

    def __init__(self, run: str) -> None:
        self.run = run
        self.started = False
        self.ended = False
        self.open_calls: dict[str, str] = {}

    def check(self, type: str, call: str | None) -> None:
        """Raise GrammarError if an event of this type may not come next; change nothing."""
        if self.ended:
            raise GrammarError(f"{type} after the end of run {self.run}")
        if type == "agent_started":
            if self.started:
                raise GrammarError(f"a second agent_started in run {self.run}")
            return
        if not self.started:
            raise GrammarError(f"{type} before agent_started in run {self.run}")
        if type == "tool_executing" and call in self.open_calls:
            raise GrammarError(f"call {call!r:.80} is open already; each tool_executing needs a call of its own")
        if type == "tool_completed" and call not in self.open_calls:
            raise GrammarError(f"tool_completed for {call!r:.80}; open calls are {list(self.open_calls)}")
        if type in TERMINALS and self.open_calls:
            raise GrammarError(f"{type} while calls are open: {list(self.open_calls)}")

    def apply(self, type: str, call: str | None, tool: str = "") -> None:
        """Check an event and take it as having happened."""
        if type not in TURNING and self.started and not self.ended:
            return
        self.check(type, call)
        if type == "agent_started":
            self.started = True
        elif type == "tool_executing":
            assert call is not None
            self.open_calls[call] = tool
        elif type == "tool_completed":
            assert call is not None
            del self.open_calls[call]
        elif type in TERMINALS:
            self.ended = True

    def take_back(self, type: str, call: str | None, tool: str = "") -> None:
        """Undo the last `apply`, of an event that was not said after all."""
        if type == "tool_executing":
            assert call is not None
            del self.open_calls[call]
        elif type == "tool_completed":
            assert call is not None
            self.open_calls[call] = tool
        elif type in TERMINALS:
            self.ended = False
