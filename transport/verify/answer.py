"""The answer to a command, as it came."""

from __future__ import annotations

from typing import Any

__all__ = ["Answer"]


class Answer:
    """A `result` as it came."""

    __slots__ = ("arrived", "frame", "raw")

    def __init__(self, raw: str, frame: dict[str, Any], arrived: float) -> None:
        self.raw = raw
        self.frame = frame
        self.arrived = arrived

    @property
    def error(self) -> str:
        """The error's code, empty if there is none."""
        error = self.frame.get("error")
        return str(error.get("code")) if isinstance(error, dict) else ""

    @property
    def retry(self) -> bool:
        """Whether the same id may be sent again."""
        error = self.frame.get("error")
        return isinstance(error, dict) and error.get("retry") is True

    def ok(self, name: str) -> object:
        """A value of `ok`, None if it is not there."""
        ok = self.frame.get("ok")
        return ok.get(name) if isinstance(ok, dict) else None
