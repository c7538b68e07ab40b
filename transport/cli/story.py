"""What a session says, as lines of text: pure, without a terminal.

What agents and users wrote is shown as it is, but for characters that a terminal would obey: those are replaced. The
lines are data, not markup, so nothing in them is taken for styling either.
"""

from __future__ import annotations

import json
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs

from ..client import Item, Reset
from ..protocol import Gap, WireRecord

__all__ = ["TERMINALS", "Fold", "Line", "Story", "clean"]

Fold = Callable[[str], tuple[list[str], str]]

TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")
# How many ended runs are remembered, for those who wait for one.
ENDED_RUNS = 1_000
# Arguments and results are shown in part only; who needs all of them has the records.
SHORT_CHARS = 100
# A line that is longer than this is not waited for to its end.
LONG_CHARS = 4_096
# Unicode's controls of writing direction: with them a text can look like another one (CVE-2021-42574).
DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@attrs.frozen
class Line:
    """One line: who speaks (empty: as before), what is said, and in which of rich's styles."""

    label: str
    text: str
    style: str = ""


@attrs.define
class _Run:
    number: int
    text: str = ""
    said: bool = False


class Story:
    """Turns the items of a session into lines, and remembers what is open.

    Args:
        fold: takes a line that is still being written, and gives the rows of it that are done, and the rest.
    """

    def __init__(self, fold: Fold | None = None) -> None:
        self._fold = fold or _fold_long
        self.ended: OrderedDict[str, str] = OrderedDict()
        self._open: dict[str, _Run] = {}
        self._numbers = 0
        self._speaker: str | None = None

    @property
    def newest_run(self) -> str | None:
        """The run that began last of those that are open."""
        return next(reversed(self._open), None)

    def partial(self) -> list[Line]:
        """What is being written: lines without an end so far."""
        writing = [(self._label("agent", id), run.text) for id, run in self._open.items() if run.text]
        return [Line("" if label == self._speaker else label, text) for label, text in writing]

    def tell(self, item: Item) -> list[Line]:
        """The lines that are complete with this item."""
        match item:
            case WireRecord():
                return self._record(item)
            case Gap(from_seq=first, to_seq=last, reason=reason):
                return [self._says("", f"{last - first + 1} records cannot be had: {clean(reason)}", "yellow")]
            case Reset():
                self._open.clear()
                return [self._says("", "the node has another history than before; it begins anew here", "yellow")]

    def _record(self, record: WireRecord) -> list[Line]:
        data: dict[str, Any] = record.data if isinstance(record.data, dict) else {}
        id = record.run
        if id is None:
            return [self._says("", f"{clean(record.type)} {_short(record.data)}", "dim")]
        if id not in self._open and id not in self.ended:
            self._numbers += 1
            self._open[id] = _Run(self._numbers)
        if record.type == "agent_delta":
            return self._delta(id, str(data.get("text")))
        lines = self._flush(id)
        match record.type:
            case "agent_started":
                if self._speaker is not None:
                    lines.append(self._says("", ""))
                lines += self._block(self._label("you", id), str(data.get("input")), "bold")
            case "agent_thinking":
                lines += self._block(self._label("", id), str(data.get("text")), "dim italic")
            case "tool_executing":
                text = f"{clean(data.get('tool'))} {_short(data.get('arguments'))}"
                lines.append(self._says(self._label("tool", id), text, "cyan"))
            case "tool_completed":
                how = "done" if data.get("ok") is True else "failed"
                text = f"{clean(data.get('tool'))} {how} in {clean(data.get('duration_ms'))} ms"
                style = "dim" if how == "done" else "red"
                lines.append(self._says(self._label("tool", id), f"{text}: {_short(data.get('result'))}", style))
            case "agent_completed":
                if not self._said(id) and data.get("result") is not None:
                    # An agent that did not write its answer piece by piece.
                    lines += self._block(self._label("agent", id), _text(data.get("result")), "")
                lines.append(
                    self._says(self._label("", id), f"completed in {clean(data.get('duration_ms'))} ms", "dim")
                )
            case "agent_error":
                text = f"{clean(data.get('code'))}: {clean(data.get('message'))}"
                lines.append(self._says(self._label("", id), text, "red"))
            case "agent_cancelled":
                lines.append(self._says(self._label("", id), "cancelled", "yellow"))
            case other:
                lines.append(self._says(self._label("", id), f"{clean(other)} {_short(record.data)}", "dim"))
        if record.type in TERMINALS:
            self._open.pop(id, None)
            self.ended[id] = record.type
            while len(self.ended) > ENDED_RUNS:
                self.ended.popitem(last=False)
        return lines

    # -- text that comes in pieces ------------------------------------------------------------------------------------

    def _delta(self, id: str, text: str) -> list[Line]:
        run = self._open.get(id)
        if run is None:
            return []  # the node lets nothing follow a terminal
        run.said = True
        *whole, last = text.split("\n")
        lines = []
        for line in whole:
            lines.append(run.text + clean(line))
            run.text = ""
        rows, run.text = self._fold(run.text + clean(last))
        return [self._says(self._label("agent", id), line) for line in [*lines, *rows]]

    def _flush(self, id: str) -> list[Line]:
        run = self._open.get(id)
        if run is None or not run.text:
            return []
        text, run.text = run.text, ""
        return [self._says(self._label("agent", id), text)]

    def _said(self, id: str) -> bool:
        run = self._open.get(id)
        return run is not None and run.said

    # -- who speaks ---------------------------------------------------------------------------------------------------

    def _label(self, who: str, id: str) -> str:
        """Who it is; with the run's number where several are open."""
        run = self._open.get(id)
        if run is None or len(self._open) == 1:
            return who
        return f"{who} #{run.number}".strip()

    def _says(self, label: str, text: str, style: str = "") -> Line:
        """A line; its label is left out where the line before had the same."""
        again, self._speaker = label == self._speaker, label
        return Line("" if again else label, text, style)

    def _block(self, label: str, text: str, style: str) -> list[Line]:
        return [self._says(label, clean(line), style) for line in text.split("\n")]


def _fold_long(text: str) -> tuple[list[str], str]:
    rows = []
    while len(text) > LONG_CHARS:
        cut = text.rfind(" ", 1, LONG_CHARS) + 1 or LONG_CHARS
        rows.append(text[:cut].rstrip())
        text = text[cut:]
    return rows, text


def clean(value: object) -> str:
    """Text that no terminal obeys: controls are replaced by what stands for them, or by U+FFFD."""
    return "".join(_shown(character) for character in _text(value))


def _shown(character: str) -> str:
    if character == "\t":
        return "    "
    category = unicodedata.category(character)
    if category == "Cc":
        # Unicode has pictures of the first 32 and of DEL.
        code = ord(character)
        return chr(0x2400 + code) if code < 32 else "\u2421" if code == 127 else "\ufffd"
    return "\ufffd" if category in ("Cs", "Zl", "Zp") or character in DIRECTION else character


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(value: object) -> str:
    text = clean(_text(value) if not isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= SHORT_CHARS else text[: SHORT_CHARS - 1] + "…"
