"""A line that is being typed, from the bytes of a terminal: pure, without a terminal."""

from __future__ import annotations

import codecs
import re

__all__ = ["LineEditor"]

# What keys send that are no characters: ESC [ … letter, ESC O letter, or ESC and one more (ECMA-48 section 5.4).
KEY = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O[@-~]|[^\[O])", re.DOTALL)
UNFINISHED_KEY = re.compile(r"\x1b(?:\[[0-9;?]*|O)?\Z")

LEFT = ("\x1b[D", "\x1bOD", "\x02")
RIGHT = ("\x1b[C", "\x1bOC", "\x06")
HOME = ("\x1b[H", "\x1bOH", "\x1b[1~", "\x01")
END = ("\x1b[F", "\x1bOF", "\x1b[4~", "\x05")
DELETE = ("\x1b[3~",)
BACKSPACE = ("\x7f", "\x08")
CTRL_D, CTRL_U, CTRL_W = "\x04", "\x15", "\x17"


class LineEditor:
    """`text` is what was typed, `cursor` where the next character goes; `ended` after Ctrl-D on an empty line."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self.ended = False
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> list[str]:
        """Take what the terminal sent, and give the lines that were finished with it."""
        if not data:
            self.ended = True
        keys = self._rest + self._decoder.decode(data)
        self._rest = ""
        lines: list[str] = []
        while keys and not self.ended:
            if UNFINISHED_KEY.match(keys):
                self._rest = keys
                break
            found = KEY.match(keys)
            key = found.group() if found is not None else keys[0]
            keys = keys[len(key) :]
            if key in ("\r", "\n"):
                lines.append(self.text)
                self.text, self.cursor = "", 0
            else:
                self._press(key)
        return lines

    def _press(self, key: str) -> None:
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        if key in LEFT:
            self.cursor = max(0, self.cursor - 1)
        elif key in RIGHT:
            self.cursor = min(len(self.text), self.cursor + 1)
        elif key in HOME:
            self.cursor = 0
        elif key in END:
            self.cursor = len(self.text)
        elif key in BACKSPACE:
            self._set(before[:-1], after)
        elif key in DELETE:
            self._set(before, after[1:])
        elif key == CTRL_U:
            self._set("", after)
        elif key == CTRL_W:
            self._set(before.rstrip()[: before.rstrip().rfind(" ") + 1], after)
        elif key == CTRL_D:
            self.ended = not self.text
        elif key == "\t" or key.isprintable():
            self._set(before + (" " if key == "\t" else key), after)

    def _set(self, before: str, after: str) -> None:
        self.text, self.cursor = before + after, len(before)
