"""What a session remembers of its devices' commands, so that none runs twice (law S5). No clock, no I/O.

A device counts its commands upwards. For each device the highest id and the last 128 results are kept; the 256 devices
used last are remembered. A device is used when a command of it is accepted. What the journal does not keep moves
nobody's place (repetitions, refusals to be sent again, the moment of becoming durable): so the memory that is read back
from the journal has forgotten the same devices.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

import attrs

__all__ = ["CommandEntry", "CommandMemory", "Result", "Verdict"]

RESULTS_PER_DEVICE = 128
DEVICES = 256


@attrs.frozen
class Result:
    """The answer to one command: either `ok`, or `error` with code, message and retry. `seq` is where its effect is."""

    id: int
    ok: dict[str, Any] | None = None
    error_code: str | None = None
    error_message: str = ""
    retry: bool = False
    seq: int | None = None


@attrs.frozen
class CommandEntry:
    """What the journal keeps of a command: who asked what, and the result; None while an author's op is under way."""

    device: str
    id: int
    fingerprint: bytes
    result: Result | None


class Verdict(enum.Enum):
    """What a command's id says before anything is done."""

    NEW = "new"
    KNOWN = "known"
    """Its first answer is repeated; nothing is done."""
    UNDER_WAY = "under_way"
    """It was accepted and its answer is not durable yet; it will come by itself."""
    EXPIRED = "expired_id"
    CONFLICT = "id_conflict"


@attrs.define(eq=False)
class _Device:
    highest: int = 0
    entries: OrderedDict[int, CommandEntry] = attrs.field(factory=OrderedDict)


class CommandMemory:
    """The memory of one session."""

    def __init__(self) -> None:
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        # Devices of which nothing was accepted yet, as their first command is to be sent again: their second is no
        # stranger's. After a crash it is, and the device takes a new id: nothing of it has run.
        self._met: OrderedDict[str, None] = OrderedDict()

    def highest(self, device: str) -> int:
        """The highest id known of a device; 0 if there is none."""
        known = self._devices.get(device)
        return 0 if known is None else known.highest

    def judge(self, device: str, id: int, fingerprint: bytes) -> tuple[Verdict, Result | None]:
        """What is to be done about a command; the result is there when it is `KNOWN`."""
        known = self._devices.get(device)
        if known is None:
            # A forgotten device must not run its old commands again; a fresh one begins with 1.
            return (Verdict.NEW if id == 1 or device in self._met else Verdict.EXPIRED), None
        entry = known.entries.get(id)
        if entry is not None and not (entry.result is not None and entry.result.retry):
            if entry.fingerprint != fingerprint:
                return Verdict.CONFLICT, None
            return (Verdict.UNDER_WAY if entry.result is None else Verdict.KNOWN), entry.result
        if id <= known.highest - RESULTS_PER_DEVICE:
            return Verdict.EXPIRED, None
        return Verdict.NEW, None

    def meet(self, device: str, id: int) -> None:
        """Note that this command was refused and is not kept; a fresh device is known from now on."""
        if id == 1 and device not in self._devices:
            self._met[device] = None
            self._met.move_to_end(device)
            while len(self._met) > DEVICES:
                self._met.popitem(last=False)

    def remember(self, entry: CommandEntry) -> None:
        """Keep an accepted command: called for all that the journal keeps, in its order.

        A result with `retry` is no answer to keep: its id is new again. The entry stays, because the highest id that
        was used must not sink, or older commands would be new again too.
        """
        self._met.pop(entry.device, None)
        known = self._devices.setdefault(entry.device, _Device())
        self._devices.move_to_end(entry.device)
        known.entries[entry.id] = entry
        known.highest = max(known.highest, entry.id)
        for id in [id for id in known.entries if id <= known.highest - RESULTS_PER_DEVICE]:
            del known.entries[id]
        while len(self._devices) > DEVICES:
            self._devices.popitem(last=False)

    def awaits(self, note: CommandEntry) -> bool:
        """Whether a command that was remembered without a result still has none; not if it was forgotten meanwhile."""
        known = self._devices.get(note.device)
        return known is not None and known.entries.get(note.id) is note

    def settle(self, note: CommandEntry, result: Result) -> None:
        """Put the result of a command that was remembered without one in its place; nothing if it does not await it.

        A device that was forgotten does not come back by it: this id would be its highest, and a higher one that ran
        would be new.
        """
        if self.awaits(note):
            self._devices[note.device].entries[note.id] = attrs.evolve(note, result=result)

    def under_way(self) -> list[CommandEntry]:
        """The commands whose op a crash cut short, if this memory was just read from a journal."""
        return [entry for known in self._devices.values() for entry in known.entries.values() if entry.result is None]

    def entries(self) -> list[CommandEntry]:
        """All that is remembered, in an order from which `remember` makes the same memory."""
        return [entry for known in self._devices.values() for entry in known.entries.values()]
