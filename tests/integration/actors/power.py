"""A file system for SQLite whose power can be cut, and that fails on order.

The files themselves lie on the real disk. What was written to each since its last sync is remembered beside what was
synced; `cut` writes down what a disk may have kept: all that was synced, and any part of the rest.
"""

from __future__ import annotations

import random
import threading
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import attrs

__all__ = ["Power"]

_names = count(1)


@attrs.define
class _Disk:
    """One file: its synced content, and what was done to it since, each a place and bytes, or a new size."""

    synced: bytes
    since: list[tuple[int, bytes | None]] = attrs.field(factory=list)

    def after(self, kept: list[tuple[int, bytes | None]]) -> bytes:
        content = bytearray(self.synced)
        for place, data in kept:
            if data is None:
                del content[place:]
            else:
                content.extend(bytes(max(0, place - len(content))))
                content[place : place + len(data)] = data
        return bytes(content)


class _File(apsw.VFSFile):
    def __init__(self, power: Power, name: Any, flags: list[int]) -> None:
        self._power = power
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        super().__init__("", name, flags)
        if self._path not in power.disks:
            power.disks[self._path] = _Disk(self._path.read_bytes() if self._path.exists() else b"")

    def xRead(self, amount: int, offset: int) -> bytes:
        self._power.check("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        self._power.check("write")
        super().xWrite(data, offset)
        self._power.disks[self._path].since.append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._power.disks[self._path].since.append((size, None))

    def xSync(self, flags: int) -> None:
        self._power.check("sync")
        if self._power.held is not None:
            self._power.waits.set()
            assert self._power.held.wait(60)
        super().xSync(flags)
        self._power.disks[self._path] = _Disk(self._path.read_bytes())


class Power(apsw.VFS):
    """The file system: ``vfs=power.name``. `failing` maps "read", "write" or "sync" to the error that it gives now."""

    def __init__(self) -> None:
        self.name = f"power{next(_names)}"
        self.failing: dict[str, type[apsw.Error]] = {}
        self.held: threading.Event | None = None
        """Syncs wait for it, after they have set `waits`."""
        self.waits = threading.Event()
        self.disks: dict[Path, _Disk] = {}
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.disks.pop(Path(filename), None)

    def check(self, operation: str) -> None:
        """Fail if that is the order."""
        error = self.failing.get(operation)
        if error is not None:
            raise error("on order")

    def cut(self, folder: Path, rng: random.Random, *, keep: float) -> None:
        """Write into `folder` what a cut of power leaves: of what was not synced each piece with the chance `keep`."""
        for path, disk in self.disks.items():
            kept = [piece for piece in disk.since if rng.random() < keep]
            (folder / path.name).write_bytes(disk.after(kept))
