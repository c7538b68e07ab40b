"""What may be said in a run, judged from outside. Pure; written from the wire's description, not from the node's table.

`agent_started` first, once; each `tool_completed` answers an open `tool_executing` of the same `call`, none is open at
the terminal; one terminal, last. A run without a terminal is not judged here: only time can tell that it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from .lines import Line
from .stream import Seen

__all__ = ["TERMINALS", "Fault", "data_of", "judge_run"]

TERMINALS = frozenset(("agent_completed", "agent_error", "agent_cancelled"))


@attrs.frozen
class Fault:
    """A breach in a run: the line it belongs to, the record that shows it, and what was expected."""

    line: Line
    record: Seen
    expected: str


def _text(value: object) -> bool:
    return isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _any(value: object) -> bool:
    return True


FIELDS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "agent_started": {"agent": _text, "input": _text, "by": _text},
    "agent_thinking": {"text": _text},
    "tool_executing": {"call": _text, "tool": _text, "arguments": _any},
    "tool_completed": {"call": _text, "tool": _text, "ok": _truth, "result": _any, "duration_ms": _number},
    "agent_delta": {"text": _text},
    "agent_completed": {"result": _any, "duration_ms": _number},
    "agent_error": {"code": _text, "message": _text, "by": _text},
    "agent_cancelled": {"by": _text, "reason": _text},
}


def data_of(record: Seen) -> Any:
    """The `data` of a record, decoded."""
    return msgspec.json.decode(record.raw)["data"]


def judge_run(records: Sequence[Seen]) -> Iterator[Fault]:
    """What is wrong with the records of one run, given in the order of their seq, from its first one on."""
    open_calls: dict[str, Seen] = {}
    terminal: Seen | None = None
    for index, record in enumerate(records):
        if terminal is not None:
            yield Fault(Line.TERMINAL, record, f"nothing after {terminal.type}, which is record {terminal.seq}")
            continue
        if index == 0 and record.type != "agent_started":
            yield Fault(Line.GRAMMAR, record, "agent_started as the first event of its run")
        if index > 0 and record.type == "agent_started":
            yield Fault(Line.GRAMMAR, record, "one agent_started in a run")
        data = data_of(record)
        wrong = _wrong_form(record.type, data)
        if wrong is not None:
            yield Fault(Line.GRAMMAR, record, wrong)
            continue
        if record.type == "tool_executing":
            if data["call"] in open_calls:
                yield Fault(Line.TOOL_PAIRS, record, f"a call of its own; {data['call']!r} is open already")
            open_calls[data["call"]] = record
        elif record.type == "tool_completed":
            if open_calls.pop(data["call"], None) is None:
                yield Fault(Line.TOOL_PAIRS, record, f"the end of an open call; open are {list(open_calls)}")
        elif record.type in TERMINALS:
            terminal = record
            if open_calls:
                yield Fault(Line.TOOL_PAIRS, record, f"no open call at the end of the run; open are {list(open_calls)}")


def _wrong_form(type: str, data: object) -> str | None:
    """What an event of this type had to be, if it is not."""
    if type.startswith("x.") and len(type) > 2:
        return None
    fields = FIELDS.get(type)
    if fields is None:
        return f"an event of {', '.join(FIELDS)} or x.*"
    if not isinstance(data, dict):
        return f"{type} with a map as its data"
    for name, fits in fields.items():
        if name not in data or not fits(data[name]):
            return f"{type} with {', '.join(fields)}, each of its kind; {name!r} is missing or of another"
    return None
