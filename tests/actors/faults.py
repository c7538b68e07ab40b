"""A journal that goes wrong on the n-th operation, and one that answers later, as a disk does.

It is a fake for faults only: what is durable is decided by the `MemoryJournal` below it.
"""

import enum
from collections import Counter, deque
from collections.abc import Callable, Sequence

import trio

from callboard.actors import Appended, Batch, Done, MemoryJournal, Opened, Record, SessionKey, StoreUnavailable, Token

LATE_SECONDS = 25.0
SOON_SECONDS = 3.0


class Fault(enum.Enum):
    """What goes wrong with one operation."""

    FAIL = "fail"
    """Nothing is done, and that is said."""
    LOSE = "lose"
    """It is done, but an error is said."""
    STALL = "stall"
    """Nothing is done, nothing is said, ever."""
    SILENT = "silent"
    """It is done, nothing is said, ever."""
    LATE = "late"
    """It is done, and said after `LATE_SECONDS`, when the session has given up and opened anew."""
    SLOW = "slow"
    """It is done and said after `SOON_SECONDS`; an `open` waits behind it."""
    TWICE = "twice"
    """It is done and said, and then its failure is said too."""


class FaultyJournal(MemoryJournal):
    """A `MemoryJournal` with faults.

    `faults` maps ("append", 3), the third append of all, or ("open", 1), or ("read", 2), to what goes wrong with it.
    `broken` makes every append fail, `unreachable` every open and read. Every answer to an append comes after
    `delay_seconds`.
    """

    def __init__(
        self, new_epoch: Callable[[], str], *, retained_records: int = 10_000, delay_seconds: float = 0.0
    ) -> None:
        super().__init__(new_epoch, retained_records=retained_records)
        self.delay_seconds = delay_seconds
        self.faults: dict[tuple[str, int], Fault] = {}
        self.broken = False
        self.unreachable = False
        self.counts: Counter[str] = Counter()
        # Set by the world: calls a function later on the trio thread.
        self.later: Callable[[float, Callable[[], None]], object]
        self._under_way: dict[str, deque[Callable[[], None]]] = {}
        self._changed = trio.Event()

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.faults.clear()
        self.broken = self.unreachable = False

    def _fault(self, operation: str) -> Fault | None:
        self.counts[operation] += 1
        return self.faults.pop((operation, self.counts[operation]), None)

    async def open(self, key: SessionKey) -> Opened:
        """Wait behind the appends under way, as every journal does."""
        fault = self._fault("open")
        while self._under_way.get(key.id):
            await self._changed.wait()
        if fault is Fault.STALL:
            await trio.sleep_forever()
        if fault is not None or self.unreachable:
            raise StoreUnavailable("the fake store is down")
        return await super().open(key)

    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """Read, or not."""
        fault = self._fault("read")
        if fault is Fault.STALL:
            await trio.sleep_forever()
        if fault is not None or self.unreachable:
            raise StoreUnavailable("the fake store is down")
        return await super().read(session, after, max_records=max_records, max_bytes=max_bytes)

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """Append, in order, after a while, and perhaps not at all."""
        fault = self._fault("append")
        if self.broken:
            fault = Fault.FAIL
        unavailable = StoreUnavailable("the fake store is down")

        def apply(then: Done) -> None:
            super(FaultyJournal, self).append(token, first_seq, batch, then)

        def ignore(_: Appended | BaseException) -> None:
            """Nothing is said."""

        def say_later(outcome: Appended | BaseException) -> None:
            self.later(LATE_SECONDS, lambda: done(outcome))

        match fault:
            case None:
                self._do(token.session, self.delay_seconds, lambda: apply(done))
            case Fault.FAIL:
                self._do(token.session, self.delay_seconds, lambda: done(unavailable))
            case Fault.LOSE:
                apply(ignore)
                self._do(token.session, self.delay_seconds, lambda: done(unavailable))
            case Fault.STALL:
                pass
            case Fault.SILENT:
                apply(ignore)
            case Fault.LATE:
                apply(say_later)
            case Fault.SLOW:
                self._do(token.session, SOON_SECONDS, lambda: apply(done))
            case Fault.TWICE:
                apply(done)
                self.later(0.0, lambda: done(unavailable))

    def _do(self, session: str, seconds: float, job: Callable[[], None]) -> None:
        queue = self._under_way.setdefault(session, deque())
        if not seconds and not queue:
            job()
            return
        queue.append(job)

        def run() -> None:
            queue.popleft()()
            changed, self._changed = self._changed, trio.Event()
            changed.set()

        self.later(seconds, run)
