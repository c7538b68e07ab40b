"""Write-ahead for one session: positions are given at once, shown only when the journal has them (law S3).

What is added while an append is under way goes into the next one, so a slow disk makes batches, not queues. One append
is in flight at a time; its failure ends the incarnation.

The journal may answer in the middle of a turn, long after, twice, or when the incarnation it answers has ended. So its
answer is only put down here, and taken up by `take_answer` in a turn of the session that this ledger belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pykka

from ..runtime import Refusal, ReplyAddress
from .commands import CommandEntry
from .errors import StoreFailed, StoreUnavailable
from .events import TURNING, Event, Position, Record
from .journal import Appended, Batch, Journal, Opened
from .log import Log
from .publications import Publication
from .snapshots import SnapshotPlan

__all__ = ["Ledger"]

Settled = Callable[[BaseException | None], None]


class _Pending:
    """What is added, until it is durable. One for each append, so what few appends have is not made for all."""

    __slots__ = (
        *("acknowledge", "bytes", "commands", "epoch", "forget_before", "plain", "publications", "records", "settled"),
        "snapshot",
    )

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.bytes = 0
        self.acknowledge: list[tuple[ReplyAddress, int]] = []
        self.commands: tuple[CommandEntry, ...] = ()
        self.publications: tuple[Publication, ...] = ()
        self.forget_before = 0
        self.settled: tuple[Settled, ...] = ()
        self.epoch: str | None = None
        self.snapshot = False
        # No run begins or ends in these records.
        self.plain = True

    def __bool__(self) -> bool:
        return bool(self.records or self.commands or self.epoch or self.snapshot)


class Ledger:
    """What one incarnation of a session adds to its journal.

    Args:
        journal: where it goes.
        opened: the session as the journal gave it.
        log: what connections see.
        now_ms: Unix milliseconds.
        last_at: the time of the newest record, Unix milliseconds; 0 if there is none.
        added: called when something was added that `flush` is to give to the journal at the end of the turn.
        answered: called when there is an answer to take, but not from within `flush`.
        snapshots: when a snapshot goes with a batch, and how it is made.
    """

    def __init__(
        self,
        journal: Journal,
        opened: Opened,
        log: Log,
        now_ms: Callable[[], int],
        *,
        last_at: int,
        added: Callable[[], None],
        answered: Callable[[], None],
        snapshots: SnapshotPlan,
    ) -> None:
        self.log = log
        self._journal = journal
        self._token = opened.token
        self._now_ms = now_ms
        self._added = added
        self._answered = answered
        self._snapshots = snapshots
        self._head = opened.head
        self._at = last_at
        self._pending = _Pending()
        self._in_flight: _Pending | None = None
        self._answer: Appended | BaseException | None = None
        # The journal is being called: whoever called `flush` looks for an answer itself.
        self._asking = False
        self.appends = 0
        self.undurable_bytes = 0

    @property
    def next_seq(self) -> int:
        """The seq that the next event gets."""
        return self._head + 1

    @property
    def last_at(self) -> int:
        """The time of the newest record, Unix milliseconds; 0 if there is none."""
        return self._at

    @property
    def settled(self) -> bool:
        """Whether everything added is durable."""
        return self._in_flight is None and not self._pending

    @property
    def waiting(self) -> bool:
        """Whether an append is in flight."""
        return self._in_flight is not None

    def add(self, event: Event) -> Record:
        """Give an event its position and time; it is durable, and shown, later."""
        # A clock that is set back must not make a session's times run backwards.
        now = self._now_ms()
        if now > self._at:
            self._at = now
        self._head += 1
        record = Record.of(event, self._head, self._at)
        pending = self._pending
        pending.records.append(record)
        pending.plain = pending.plain and record.type not in TURNING
        size = len(record.encoded)
        pending.bytes += size
        self.undurable_bytes += size
        self._added()
        return record

    def add_all(self, events: Sequence[Event]) -> range:
        """`add` for many in which no run begins or ends; gives their seqs."""
        now = self._now_ms()
        if now > self._at:
            self._at = now
        at, first, size = self._at, self._head + 1, 0
        # `Record.of`, spelled out; the time is the same for all of them.
        middle = b',"at":%d,' % at
        pending = self._pending
        append = pending.records.append
        seq = first
        for event in events:
            encoded = b'{"seq":%d%b%b}' % (seq, middle, event.body)
            append(Record(seq, at, event.type, event.run, encoded))
            size += len(encoded)
            seq += 1
        self._head = seq - 1
        pending.bytes += size
        self.undurable_bytes += size
        self._added()
        return range(first, seq)

    def acknowledge(self, address: ReplyAddress, seq: int) -> None:
        """Answer `address` with the position of the record that was added last, once it is durable."""
        self._pending.acknowledge.append((address, seq))

    def remember(self, entry: CommandEntry) -> None:
        """Have a command kept, in one batch with what else is added in this turn."""
        self._pending.commands += (entry,)
        self._added()

    def note_publication(self, publication: Publication, forget_before: int) -> None:
        """Have a publication kept in one batch with its record, which was added in this turn; older ones are forgotten.

        Its epoch is the one under which the record becomes durable.
        """
        self._pending.publications += (publication,)
        self._pending.forget_before = forget_before

    def renew(self, epoch: str) -> None:
        """Have the history go on under a new epoch."""
        self._pending.epoch = epoch
        self._added()

    def conclude(self) -> None:
        """Have a snapshot written that covers all records, unless the last one does."""
        if self._snapshots.behind or self._pending.records:
            self._pending.snapshot = True
            self._added()

    def when_durable(self, settled: Settled) -> None:
        """Call `settled(None)` once all that was added so far is durable, or with the error if it never will be."""
        if self._pending:
            self._pending.settled += (settled,)
        elif self._in_flight is not None:
            self._in_flight.settled += (settled,)
        else:
            settled(None)

    def flush(self) -> bool:
        """Give what is added to the journal, unless an append is in flight. Whether one was begun.

        The journal may have answered already: `take_answer` says so.
        """
        batch = self._pending
        records = batch.records
        if self._in_flight is not None or not (records or batch):
            return False
        due = self._snapshots.note(len(records), batch.bytes)
        snapshot = self._snapshots.take(self._head) if due or batch.snapshot else None
        self._pending = _Pending()
        self._in_flight = batch
        self.appends = number = self.appends + 1
        self._asking = True
        try:
            self._journal.append(
                self._token,
                records[0].seq if records else self.log.head + 1,
                Batch(
                    tuple(records),
                    batch.commands,
                    batch.epoch,
                    snapshot,
                    batch.bytes,
                    batch.plain,
                    self._published(batch) if batch.publications else (),
                    batch.forget_before,
                ),
                lambda outcome: self._done(number, outcome),
            )
        except Refusal as error:
            # An actor lives on after a refusal, and would wait for this answer for ever.
            self._done(number, error)
        finally:
            self._asking = False
        return True

    def _published(self, batch: _Pending) -> tuple[Publication, ...]:
        epoch = batch.epoch or self.log.epoch
        return tuple(attrs.evolve(publication, epoch=epoch) for publication in batch.publications)

    def _done(self, number: int, outcome: Appended | BaseException) -> None:
        # Only the first answer to the append in flight counts.
        if self._in_flight is not None and number == self.appends and self._answer is None:
            self._answer = outcome
            if not self._asking:
                self._answered()

    def take_answer(self) -> bool:
        """Take the journal's answer, if there is one: show the records and tell who waited. Whether there was one.

        Raises:
            StoreFailed: the append failed; whoever waits for this batch or the next has been told StoreUnavailable.
        """
        outcome, self._answer = self._answer, None
        batch = self._in_flight
        if outcome is None or batch is None:
            return False
        if isinstance(outcome, BaseException):
            self._fail(batch, outcome)
        assert isinstance(outcome, Appended)
        self._in_flight = None
        log = self.log
        log.extend(batch.records, outcome.first, batch.bytes)
        if batch.epoch is not None:
            log.epoch = batch.epoch
        self.undurable_bytes -= batch.bytes
        epoch = log.epoch
        for address, seq in batch.acknowledge:
            address.offer(Position(epoch, seq))
        for settled in batch.settled:
            settled(None)
        return True

    def forsake(self) -> None:
        """The incarnation has ended: whoever still waits for an acknowledgement hears that none will come."""
        for batch in (self._in_flight, self._pending):
            for address, _ in batch.acknowledge if batch is not None else ():
                address.offer_exception(pykka.ActorDeadError("the session ended before its journal had answered"))

    def give_up(self) -> None:
        """The append in flight got no answer in time. Raises StoreFailed, as `take_answer` does."""
        if self._in_flight is not None and self._answer is None:
            self._fail(self._in_flight, TimeoutError("the journal did not answer"))

    def _fail(self, batch: _Pending, error: BaseException) -> None:
        self._in_flight = None
        unavailable = StoreUnavailable(f"the journal took nothing: {type(error).__name__}")
        for address, _ in (*batch.acknowledge, *self._pending.acknowledge):
            address.offer_exception(unavailable)
        for settled in (*batch.settled, *self._pending.settled):
            settled(unavailable)
        raise StoreFailed(f"an append of {len(batch.records)} records failed") from error
