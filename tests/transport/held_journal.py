"""A journal in memory that makes the test decide when it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from callboard import MemoryJournal, SessionKey
from callboard.actors import Appended, Batch, Done, Opened, Record, Token

__all__ = ["HeldJournal"]


class HeldJournal(MemoryJournal):
    """Answers at once until it is told to hold `appends`, `opens`, `reads` or `sessions`."""

    def __init__(self, **options: Any) -> None:
        epochs = iter(range(1, 1_000))
        super().__init__(lambda: f"{next(epochs):016x}", **options)
        self.hold_appends = False
        self.hold_opens = False
        self.hold_reads = False
        self.hold_sessions = False
        self._held: list[tuple[Done, Appended | BaseException]] = []
        self._released = trio.Event()

    async def open(self, key: SessionKey) -> Opened:
        """See `Journal.open`."""
        while self.hold_opens:
            await self._released.wait()
        return await super().open(key)

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """See `Journal.append`."""
        super().append(token, first_seq, batch, lambda outcome: self._answer(done, outcome))

    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """See `Journal.read`."""
        while self.hold_reads:
            await self._released.wait()
        return await super().read(session, after, max_records=max_records, max_bytes=max_bytes)

    async def sessions(self, user: str) -> Sequence[SessionKey]:
        """See `Journal.sessions`."""
        while self.hold_sessions:
            await self._released.wait()
        return await super().sessions(user)

    def release(self) -> None:
        """Answer all that waits, and hold nothing any more."""
        self.hold_appends = self.hold_opens = self.hold_reads = self.hold_sessions = False
        released, self._released = self._released, trio.Event()
        released.set()
        held, self._held = self._held, []
        for done, outcome in held:
            done(outcome)

    def _answer(self, done: Done, outcome: Appended | BaseException) -> None:
        if self.hold_appends:
            self._held.append((done, outcome))
        else:
            done(outcome)
