"""The terminal of `callboard attach`: lines go out, typed lines come in. Knows no sessions.

On a terminal, what is being written and the line that is being typed stay at the bottom, and everything else scrolls
above: so what comes in does not get into what is typed. Anywhere else lines are just lines.
"""

from __future__ import annotations

import codecs
import errno
import os
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .editor import LineEditor
from .story import Line, clean

__all__ = ["KeyReader", "LineReader", "LiveScreen", "PlainScreen", "Screen", "cbreak", "read_keys"]

LABEL_COLUMNS = 9
LABEL_STYLES = {"you": "bold cyan", "agent": "bold green", "tool": "cyan"}
READ_BYTES = 4_096
# What is typed or being written is shown from its end, and in so many rows at most.
BOTTOM_ROWS = 4


class Screen(Protocol):
    """Where lines go, and what stays at the bottom of it."""

    def show(self, lines: Sequence[Line], partial: Sequence[Line]) -> None:
        """Show lines that are complete, and what is being written now."""

    def status(self, text: str) -> None:
        """Say what is the matter with the connection; an empty text if it is well."""


class PlainScreen:
    """A file, a pipe, or a terminal that can do nothing: no styles, no cuts, nothing is written twice.

    Args:
        out: where lines go.
        err: where it is said what is the matter.
    """

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err
        self._said = False

    def show(self, lines: Sequence[Line], partial: Sequence[Line]) -> None:
        """See `Screen`. What has no end yet is not shown."""
        for line in lines:
            self._out.print(Text(f"{line.label:{LABEL_COLUMNS}}{line.text}".rstrip()), soft_wrap=True)

    def status(self, text: str) -> None:
        """See `Screen`."""
        if text or self._said:
            self._err.print(Text(f"callboard: {clean(text) or 'connected again'}"), soft_wrap=True)
        self._said = bool(text)


class LiveScreen:
    """A terminal.

    Args:
        out: the console.
        typed: gives the text that is being typed and the cursor's place in it; None if nothing can be typed.
    """

    def __init__(self, out: Console, typed: Callable[[], tuple[str, int]] | None) -> None:
        self._out = out
        self._typed = typed
        self._partial: Sequence[Line] = ()
        self._status = ""
        self._live = Live(console=out, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)

    def fold(self, text: str) -> tuple[list[str], str]:
        """The rows of a line that is being written which will not change any more, and the rest of it."""
        rows = [row.plain for row in Text(text).wrap(self._out, max(1, self._out.width - LABEL_COLUMNS))]
        if len(rows) <= BOTTOM_ROWS:
            return [], text
        # Where rows are cut, spaces are lost; what is left is found from the end.
        last = rows[-1].strip()
        kept = text[text.rindex(last) :] if last else ""
        return [row.rstrip() for row in rows[:-1]], kept

    @contextmanager
    def open(self) -> Iterator[None]:
        """Use the terminal; at the end it is as it was."""
        with self._live:
            try:
                self.refresh()
                yield
            finally:
                self._live.update(Group())

    def show(self, lines: Sequence[Line], partial: Sequence[Line]) -> None:
        """See `Screen`."""
        self._partial = partial
        self._live.update(self._bottom())
        if lines:
            self._out.print(*(_row(line) for line in lines), sep="\n", end="")
        else:
            self._live.refresh()

    def status(self, text: str) -> None:
        """See `Screen`."""
        self._status = clean(text)
        self.refresh()

    def refresh(self) -> None:
        """Draw the bottom anew."""
        self._live.update(self._bottom(), refresh=True)

    def _bottom(self) -> Group:
        rows: list[RenderableType] = [
            _row(Line(line.label, self._tail(line.text), line.style)) for line in self._partial
        ]
        if self._status:
            rows.append(_row(Line("", self._status, "yellow")))
        if self._typed is not None:
            text, cursor = self._typed()
            shown = Text("> ", "bold cyan")
            tail = self._tail(text[:cursor])
            shown.append(clean(tail), "default")
            shown.append(clean(text[cursor : cursor + 1] or " "), "reverse")
            shown.append(clean(text[cursor + 1 :])[: self._out.width], "default")
            rows.append(shown)
        return Group(*rows)

    def _tail(self, text: str) -> str:
        most = BOTTOM_ROWS * max(1, self._out.width - LABEL_COLUMNS)
        return text if len(text) <= most else f"…{text[1 - most :]}"


def _row(line: Line) -> Table:
    row = Table.grid(expand=True)
    row.add_column(width=LABEL_COLUMNS, no_wrap=True)
    row.add_column(ratio=1)
    style = LABEL_STYLES.get(line.label.partition(" ")[0], "")
    row.add_row(Text(line.label, style), Text(line.text, line.style))
    return row


@contextmanager
def cbreak(descriptor: int) -> Iterator[None]:
    """Get every key at once, shown nowhere; at the end the terminal is as it was. Ctrl-C stays a signal."""
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


class LineReader:
    """Lines of a pipe, of a file, or of a terminal that edits its lines itself."""

    def __init__(self, descriptor: int) -> None:
        self.ended = False
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    async def read(self) -> list[str]:
        """Wait for more, and give the lines that are complete with it; at the end `ended` is set."""
        data = await read_keys(self._descriptor)
        self.ended = not data
        *lines, self._rest = (self._rest + self._decoder.decode(data, final=self.ended)).split("\n")
        if self.ended and self._rest:
            lines.append(self._rest)
        return lines


class KeyReader:
    """Lines that are typed on a terminal, which echoes nothing of them: `editor` has what is to be shown."""

    def __init__(self, descriptor: int, changed: Callable[[], None]) -> None:
        self.editor = LineEditor()
        self._descriptor = descriptor
        self._changed = changed

    @property
    def ended(self) -> bool:
        """Whether Ctrl-D was pressed, or the terminal is gone."""
        return self.editor.ended

    @contextmanager
    def open(self) -> Iterator[None]:
        """Get every key at once; at the end the terminal is as it was. Ctrl-C is a signal all the time."""
        with cbreak(self._descriptor):
            yield

    async def read(self) -> list[str]:
        """Wait for keys, and give the lines that are finished with them."""
        lines = self.editor.feed(await read_keys(self._descriptor))
        self._changed()
        return lines


async def read_keys(descriptor: int) -> bytes:
    """What has come; nothing at the end. Never in a thread: nobody could end its read."""
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:
        await trio.lowlevel.checkpoint()  # a plain file, for which the kernel has nothing to wait
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""  # the terminal is gone
