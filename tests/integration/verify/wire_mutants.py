"""Nodes that break a rule of the wire: what one connection says is changed on its way out."""

from __future__ import annotations

import copy
from typing import Any

from callboard.transport.verify import Line
from tests.integration.verify.lying import Frame, Lie, close_frame
from tests.integration.verify.nodes import Mutant

__all__ = ["WIRE_MUTANTS"]


class FirstOfSession(Lie):
    """A lie about connections to a session without records yet, as the first devices have them."""

    @property
    def early(self) -> bool:
        return bool(self.welcome) and self.welcome["head"] == 0

    def number(self) -> int:
        """Which one of its session's connections this is, from 1."""
        known: dict[str, int] = self.board.setdefault("numbers", {})
        session: str = self.welcome["session"]
        known[session] = known.get(session, 0) + 1
        return known[session]


class Skips(FirstOfSession):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if self.early and frame["t"] == "events":
            frame["events"] = [record for record in frame["events"] if record["seq"] != 3]
        return [frame]


class Repeats(FirstOfSession):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if self.early and frame["t"] == "events":
            frame["events"] = [record for record in frame["events"] for _ in range(2 if record["seq"] == 3 else 1)]
        return [frame]


class Swaps(FirstOfSession):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if self.early and frame["t"] == "events" and len(frame["events"]) > 1:
            frame["events"][-2:] = reversed(frame["events"][-2:])
        return [frame]


class Differs(FirstOfSession):
    device = 0

    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "welcome":
            self.device = self.number()
        if self.early and self.device == 2 and frame["t"] == "events":
            for record in frame["events"]:
                record["at"] += 1
        return [frame]


class KeepsBack(FirstOfSession):
    device = 0

    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "welcome":
            self.device = self.number()
        if self.early and self.device == 2 and frame["t"] == "events":
            return []
        return [frame]


class SpeaksFirst(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        return [{"t": "ping", "seq": 0}, frame] if frame["t"] == "welcome" else [frame]


class SpeaksNonsense(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        return [frame, b'\x81\x05{"t":'] if frame["t"] == "welcome" else [frame]


class ClosesUnasked(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "events" and not self.board.get("closed"):
            self.board["closed"] = True
            return [close_frame(4100)]
        return [frame]


class ForgetsAnAnswer(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "result" and "run" in frame.get("ok", {}) and not self.board.get("forgotten"):
            self.board["forgotten"] = True
            return []
        return [frame]


class PointsBeside(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "result" and "run" in frame.get("ok", {}):
            frame["seq"] += 1
        return [frame]


class IgnoresStrangers(Lie):
    def say(self, frame: Frame) -> list[Frame | bytes]:
        return [] if frame["t"] == "error" else [frame]


class SecondHelloIsBadFrame(Lie):
    def close(self, code: int) -> int | None:
        return 4001 if code == 4002 else code


class LosesAtTheSeam(Lie):
    at_seam = True

    def say(self, frame: Frame) -> list[Frame | bytes]:
        if self.welcome.get("mode") == "replay" and frame["t"] == "events" and self.at_seam:
            self.at_seam = False
            frame["events"] = frame["events"][1:]
        return [frame]


class RepeatsAtTheSeam(Lie):
    """After a cut it says the record before the first one once more, as one that is like it."""

    at_seam = True

    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "events":
            known: dict[str, dict[int, Any]] = self.board.setdefault("records", {})
            records = known.setdefault(self.welcome["session"], {})
            single = [record for record in frame["events"] if isinstance(record["seq"], int)]
            records.update({record["seq"]: copy.deepcopy(record) for record in single})
            if self.welcome["mode"] == "replay" and self.at_seam:
                self.at_seam = False
                frame["events"].insert(0, records[self.welcome["from"] - 1])
        return [frame]


class MergesALittleLess(Lie):
    """Where pieces of an answer are merged, the last one is left out."""

    def say(self, frame: Frame) -> list[Frame | bytes]:
        if frame["t"] == "events":
            for record in frame["events"]:
                if isinstance(record["seq"], list):
                    record["data"]["text"] = record["data"]["text"][:-1]
        return [frame]


class NeverHearsTheEnd(Lie):
    """A socket that was cut is not noticed: the node waits for it on and on."""

    def hear(self, data: bytes) -> bytes | None:
        return data if data or not self.welcome else None


def _mutant(lie: type[Lie], line: Line) -> Mutant:
    return Mutant(name=lie.__name__, line=line, lie=lie)


WIRE_MUTANTS = (
    _mutant(Skips, Line.CONTIGUOUS),
    _mutant(Repeats, Line.CONTIGUOUS),
    _mutant(Swaps, Line.CONTIGUOUS),
    _mutant(Differs, Line.IDENTICAL),
    _mutant(KeepsBack, Line.IDENTICAL),
    _mutant(SpeaksFirst, Line.BEFORE_WELCOME),
    _mutant(SpeaksNonsense, Line.FRAMES),
    _mutant(ClosesUnasked, Line.ENTRY),
    _mutant(ForgetsAnAnswer, Line.ANSWERED),
    _mutant(PointsBeside, Line.POSITION),
    _mutant(IgnoresStrangers, Line.UNKNOWN_TYPE),
    _mutant(SecondHelloIsBadFrame, Line.SECOND_HELLO),
    _mutant(LosesAtTheSeam, Line.RESUME),
    _mutant(RepeatsAtTheSeam, Line.RESUME),
    _mutant(MergesALittleLess, Line.MERGED),
    _mutant(NeverHearsTheEnd, Line.CONNECTIONS_BACK),
)
