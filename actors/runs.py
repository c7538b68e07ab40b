"""The runs of a session, folded from its records: which are open, and what was said and answered so far.

The same fold serves a session at work, record by record, and one that is read back from the journal, so the two cannot
differ.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import attrs
import msgspec

from .events import TERMINALS, Event, Record
from .grammar import RunGrammar
from .messages import Exchange

__all__ = ["OpenRun", "Runs", "RunsDump"]

# Ended runs that `cancel` still answers with "ended" and not with unknown_run; far more than a page shows at once.
ENDED = 1_024

NULL = msgspec.Raw(b"null")


@attrs.define(eq=False)
class OpenRun:
    """A run without its terminal event. `last_n` is the highest event number taken from its agent."""

    id: str
    grammar: RunGrammar
    last_n: int = 0
    started_ms: dict[str, int] = attrs.field(factory=dict)
    """When each open call began, Unix milliseconds."""


class OpenRunDump(msgspec.Struct):
    """An open run, as a snapshot has it."""

    id: str
    last_n: int
    calls: dict[str, str]
    started_ms: dict[str, int]


class RunsDump(msgspec.Struct):
    """All that `Runs` knows. `said` has run, what was asked, and the record with the answer, or null."""

    open: list[OpenRunDump]
    ended: list[str]
    said: list[tuple[str, str, msgspec.Raw]]


class Runs:
    """All runs of one session that matter now."""

    def __init__(self, exchanges: int) -> None:
        self._exchanges = exchanges
        self.open: dict[str, OpenRun] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        # What was asked in a run, and the record with the answer: decoded anew for each agent, which may change it.
        self._said: OrderedDict[str, tuple[str, Record | None]] = OrderedDict()

    def dump(self) -> RunsDump:
        """What `restore` makes the same runs of."""
        return RunsDump(
            [OpenRunDump(run.id, run.last_n, run.grammar.open_calls, run.started_ms) for run in self.open.values()],
            list(self._ended),
            [
                (run, text, NULL if answered is None else msgspec.Raw(answered.encoded))
                for run, (text, answered) in self._said.items()
            ],
        )

    def restore(self, dump: RunsDump) -> None:
        """Be as the runs that were dumped."""
        for each in dump.open:
            run = self.open[each.id] = OpenRun(each.id, RunGrammar(each.id), each.last_n, each.started_ms)
            run.grammar.started = True
            run.grammar.open_calls = each.calls
        self._ended = OrderedDict.fromkeys(dump.ended)
        self._said = OrderedDict(
            (run, (text, None if answered == NULL else Record.read(bytes(answered))))
            for run, text, answered in dump.said
        )

    def ended(self, run: str) -> bool:
        """Whether this run has ended, as far as is remembered."""
        return run in self._ended

    def history(self, before: str) -> tuple[Exchange, ...]:
        """The newest of what was said and answered in runs that began before `before`, oldest first."""
        taken: deque[tuple[str, Record | None]] = deque(maxlen=self._exchanges)
        for run, said in self._said.items():
            if run == before:
                break
            taken.append(said)
        return tuple(
            Exchange(text, None if answered is None else answered.data()["result"]) for text, answered in taken
        )

    def apply(self, event: Event, record: Record, tool: str = "") -> None:
        """Take an event of a run as having happened. Raises GrammarError if it is out of place."""
        assert event.run is not None
        run = self.open.get(event.run)
        if run is None:
            run = OpenRun(event.run, RunGrammar(event.run))
        run.grammar.apply(event.type, event.call, tool)
        self.note(run, event.type, event.call, record)

    def read_back(self, record: Record) -> None:
        """Take a record from the journal as having happened."""
        if record.run is None:
            return
        run = self.open.get(record.run)
        if run is None:
            run = OpenRun(record.run, RunGrammar(record.run))
            run.grammar.started = True  # its agent_started may be older than what the journal keeps
        call, tool = None, ""
        if record.type in ("tool_executing", "tool_completed"):
            data = record.data()
            call, tool = data["call"], data["tool"]
            if record.type == "tool_completed" and call not in run.grammar.open_calls:
                run.grammar.open_calls[call] = tool  # so may its tool_executing
        if record.type != "agent_started":
            run.grammar.apply(record.type, call, tool)
        number = record.id.rpartition("/")[2]
        if number.isdigit():
            run.last_n = int(number)
        self.note(run, record.type, call, record)

    def note(self, run: OpenRun, type: str, call: str | None, record: Record) -> None:
        """`apply`, for one who has asked the grammar of that run already."""
        if type in TERMINALS:
            self.open.pop(run.id, None)
            self._ended[run.id] = None
            if len(self._ended) > ENDED:
                self._ended.popitem(last=False)
            said = self._said.get(run.id)
            if said is not None and type == "agent_completed":
                self._said[run.id] = (said[0], record)
            return
        self.open[run.id] = run
        if type == "agent_started":
            self._said[run.id] = (record.data()["input"], None)
            # Each open run has to find its own place among them, and as many before it as are allowed.
            while len(self._said) > self._exchanges + len(self.open):
                self._said.popitem(last=False)
        elif type == "tool_executing":
            assert call is not None
            run.started_ms[call] = record.at
        elif type == "tool_completed":
            assert call is not None
            run.started_ms.pop(call, None)
