"""A simulated disk that outlives nodes, and the journal that a node mounts it with.

What a real journal decides with the help of files, this decides in a few plain lines, so that a simulated run needs no
threads: what survives a killed process (all that was taken), what survives a cut of power (all that was synced), and
when that means a new epoch. It is a fake below the port `actors.Journal`; the real ones have tests of their own.

A mount goes wrong where the plan says so: the n-th append, open or read fails, is done but not said, said late, never
answered, or torn by the node's death. When its node is killed it changes nothing any more and says nothing good.
"""

from __future__ import annotations

import enum
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence

import attrs
import trio

from ...actors import (
    Appended,
    Batch,
    CommandEntry,
    CommandMemory,
    Done,
    Fenced,
    Journal,
    Opened,
    Publication,
    Record,
    SessionKey,
    Snapshot,
    StoreUnavailable,
    Token,
)

__all__ = ["Disk", "Fault", "Mount", "Stream"]


TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")
# How often the system writes back what it was given, where nobody asks it to.
SYNCED_AT_ONCE = 0.2


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
    SLOW = "slow"
    """It takes seconds."""


@attrs.define(eq=False)
class Stream:
    """One session on the disk. `first` is the oldest record kept; `entries` the commands in their order."""

    key: SessionKey
    epoch: str
    boot: int
    generation: int = 0
    first: int = 1
    records: list[Record] = attrs.field(factory=list)
    entries: list[CommandEntry] = attrs.field(factory=list)
    publications: list[tuple[int, tuple[Publication, ...]]] = attrs.field(factory=list)
    """What each batch said to forget, and the publications that came with it."""
    batches: list[tuple[int, int]] = attrs.field(factory=list)
    """How many records and entries there were after each batch."""
    snapshots: list[Snapshot] = attrs.field(factory=list)
    """All that were ever written; the last one counts."""
    synced: int = 0
    """So many batches survive a cut of power."""

    @property
    def head(self) -> int:
        """The newest record's seq, 0 for none."""
        return len(self.records)

    def known_publications(self) -> list[Publication]:
        """What is left of the publications."""
        known: dict[tuple[str, str], Publication] = {}
        for forget_before, came in self.publications:
            for publication in came:
                known.pop((publication.service, publication.key), None)
                known[publication.service, publication.key] = publication
            known = {name: kept for name, kept in known.items() if kept.at >= forget_before}
        return list(known.values())

    def open_runs(self) -> list[str]:
        """The runs that have begun and not ended, of all records that there ever were."""
        runs: dict[str, None] = {}
        for record in self.records:
            if record.run is not None and record.type == "agent_started":
                runs[record.run] = None
            elif record.run is not None and record.type in TERMINALS:
                runs.pop(record.run, None)
        return list(runs)


class Disk:
    """Everything that is durable.

    Args:
        new_epoch: makes an epoch.
        rng: decides what a cut of power takes.
        power_safe: every append is synced before it is answered: durability ``power``. Otherwise ``process``.
        retained: records kept of one session.
    """

    def __init__(self, new_epoch: Callable[[], str], rng: random.Random, *, power_safe: bool, retained: int) -> None:
        self._rng = rng
        self.new_epoch = new_epoch
        self.power_safe = power_safe
        self.retained = retained
        self.streams: dict[str, Stream] = {}
        self.boot = 1
        self.batches_lost = 0
        """Batches that cuts of power took, also those that held answers to commands only."""
        self.lost = 0
        """Records that cuts of power took."""

    def has(self, session: str, seq: int, id: str) -> bool:
        """Whether this record is durable now."""
        stream = self.streams.get(session)
        return stream is not None and seq <= stream.head and stream.records[seq - 1].id == id

    def cut_power(self) -> None:
        """The machine goes: batches that were not synced may be lost, from the end of each session."""
        self.boot += 1
        for stream in self.streams.values():
            stream.synced = self._rng.randint(stream.synced, len(stream.batches))
            self.batches_lost += len(stream.batches) - stream.synced
            del stream.batches[stream.synced :], stream.publications[stream.synced :]
            records, entries = stream.batches[-1] if stream.batches else (0, 0)
            self.lost += stream.head - records
            del stream.records[records:], stream.entries[entries:]
            while stream.snapshots and stream.snapshots[-1].seq > stream.head:
                del stream.snapshots[-1]
            stream.first = min(stream.first, stream.head + 1)

    def open(self, key: SessionKey) -> Stream:
        """A session, made if need be; with a new epoch if it cannot be proven that all that was shown is there."""
        stream = self.streams.get(key.id)
        if stream is None:
            stream = self.streams[key.id] = Stream(key, self.new_epoch(), self.boot)
        elif stream.boot != self.boot:
            stream.boot = self.boot
            if not self.power_safe:
                stream.epoch = self.new_epoch()
        return stream

    def take(self, stream: Stream, batch: Batch) -> None:
        """Make a batch durable."""
        stream.records += batch.records
        stream.entries += batch.commands
        stream.publications.append((batch.forget_before, batch.publications))
        stream.epoch = batch.epoch or stream.epoch
        if batch.snapshot is not None:
            stream.snapshots.append(batch.snapshot)
        covered = stream.snapshots[-1].seq if stream.snapshots else stream.head
        stream.first = max(stream.first, min(covered, stream.head - self.retained) + 1)
        stream.batches.append((stream.head, len(stream.entries)))
        if self.power_safe or self._rng.random() < SYNCED_AT_ONCE:
            stream.synced = len(stream.batches)


class Mount(Journal):
    """The disk as one node has it.

    Args:
        disk: the disk.
        faults: ``("append", 3)``, the third append of this mount, to what goes wrong with it; ``open`` and ``read``
            alike.
        later: calls a function so many seconds later, on the trio thread.
        delay: seconds that one operation takes, drawn anew each time.
    """

    def __init__(
        self,
        disk: Disk,
        faults: dict[tuple[str, int], Fault],
        later: Callable[[float, Callable[[], None]], None],
        delay: Callable[[], float],
    ) -> None:
        self.disk = disk
        self.counts: Counter[str] = Counter()
        self.dead = False
        self._faults = faults
        self._later = later
        self._delay = delay
        self._under_way: dict[str, deque[Callable[[], None]]] = {}
        self._changed = trio.Event()

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._faults = {}

    def die(self, rng: random.Random) -> None:
        """The node is killed. What is under way is torn: done or not, in order, and nothing is heard of it."""
        for queue in self._under_way.values():
            for job in list(queue)[: rng.randint(0, len(queue))]:
                job()
            queue.clear()
        self.dead = True
        self._changed.set()

    def _fault(self, operation: str) -> Fault | None:
        self.counts[operation] += 1
        return self._faults.pop((operation, self.counts[operation]), None)

    async def _answer(self, operation: str) -> None:
        fault = self._fault(operation)
        await trio.sleep(self._delay())
        if fault in (Fault.STALL, Fault.SILENT):
            await trio.sleep_forever()
        if fault is Fault.SLOW:
            await trio.sleep(2.0)
        if self.dead or fault is not None:
            raise StoreUnavailable("the simulated disk does not answer")

    async def open(self, key: SessionKey) -> Opened:
        """See `Journal.open`."""
        while self._under_way.get(key.id) and not self.dead:
            await self._changed.wait()
        await self._answer("open")
        stream = self.disk.open(key)
        stream.generation += 1
        memory = CommandMemory()
        for entry in stream.entries:
            memory.remember(entry)
        first = min(stream.first, stream.head + 1)
        return Opened(
            Token(key.id, stream.generation),
            stream.epoch,
            first,
            stream.head,
            tuple(memory.entries()),
            stream.snapshots[-1] if stream.snapshots else None,
            tuple(stream.known_publications()),
        )

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """See `Journal.append`."""
        if self.dead:
            done(StoreUnavailable("the simulated disk does not answer"))
            return
        fault = self._fault("append")
        stream = self.disk.streams.get(token.session)

        def job() -> Appended | BaseException:
            if stream is None or token.generation != stream.generation:
                return Fenced(f"session {token.session} was opened anew")
            if not batch.follows(stream.head, first_seq):
                return ValueError(f"a batch begins at {first_seq}; session {token.session} is at {stream.head}")
            self.disk.take(stream, batch)
            return Appended(stream.first)

        queue = self._under_way.setdefault(token.session, deque())
        failed = StoreUnavailable("the simulated disk does not answer")
        if fault is Fault.STALL:
            return
        if fault is Fault.SILENT:
            queue.append(lambda: self._say(_nobody, job()))
        elif fault is Fault.FAIL:
            queue.append(lambda: self._say(done, failed))
        elif fault is Fault.LOSE:
            queue.append(lambda: self._say(lambda _: done(failed), job()))
        else:
            queue.append(lambda: self._say(done, job()))
        self._later(self._delay() + (2.0 if fault is Fault.SLOW else 0.0), lambda: self._next(queue))

    def _say(self, done: Done, outcome: Appended | BaseException) -> None:
        # Said in a turn of its own; by then the node may have been killed.
        self._later(0.0, lambda: None if self.dead else done(outcome))

    def _next(self, queue: deque[Callable[[], None]]) -> None:
        if queue:
            queue.popleft()()
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """See `Journal.read`."""
        await self._answer("read")
        stream = self.disk.streams.get(session)
        if stream is None:
            return ()
        taken: list[Record] = []
        size = 0
        for record in stream.records[max(after, stream.first - 1) :]:
            size += len(record.encoded)
            if len(taken) >= max_records or (taken and size > max_bytes):
                break
            taken.append(record)
        return taken

    async def find(self, session: str) -> SessionKey | None:
        """See `Journal.find`."""
        await self._answer("read")
        stream = self.disk.streams.get(session)
        return None if stream is None else stream.key

    async def sessions(self, user: str) -> Sequence[SessionKey]:
        """See `Journal.sessions`."""
        await self._answer("read")
        return tuple(stream.key for stream in self.disk.streams.values() if stream.key.user == user)

    async def unfinished(self) -> Sequence[SessionKey]:
        """See `Journal.unfinished`."""
        await self._answer("read")
        return tuple(stream.key for stream in self.disk.streams.values() if stream.open_runs())


def _nobody(_: Appended | BaseException) -> None:
    """Hears an answer that is lost."""
