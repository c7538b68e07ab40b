"""`Session`: one user's ordered stream of records, and the actor that owns it.

Theory of operation. Whatever changes a session comes as a message, gets its position in the ledger, and is given to the
journal at the end of the turn, all that came in one turn together. When the journal answers, records are shown to the
connections, publishers and devices get their answers, and agents start: nothing is seen or done before it is durable.

A session that starts reads its newest snapshot and the records behind it, and has the ends of runs that a crash left
open written before it takes a message. What it owns while it works lies in parts: `Attachments` its connections,
`RunKeeper` its runs and their agents, `CommandDesk` what its devices ask for, `PublicationDesk` what services say,
`Ledger` what is not durable yet. It knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import attrs
import trio

from ..runtime import Actor, ActorExited, Refusal, Reply, Strategy, Supervision, Timer
from .attachments import Attachments
from .command_desk import CommandDesk
from .commands import CommandMemory
from .errors import CommandRefused, EventRefused, InvalidEvent, StoreFailed, StoreUnavailable
from .events import Event, Position, Record, check_json, fields_of
from .ids import SessionKey
from .journal import Opened
from .ledger import Ledger
from .log import Log
from .messages import (
    Attach,
    BecameBusy,
    BecameIdle,
    CloseReason,
    Detach,
    Leave,
    Publish,
    PublishAlone,
    PublishOnce,
    ReportRuns,
    Reroute,
    RunCommand,
    RunTimedOut,
    StoreAnswered,
    StoreTimedOut,
)
from .publication_desk import PublicationDesk
from .publications import PublicationMemory
from .run_keeper import RunKeeper
from .runs import Runs
from .session_node import SessionNode
from .snapshots import SnapshotPlan, Snapshotted

__all__ = ["Session"]

T = TypeVar("T")

# A page of the journal while a session is read back; bounds what that holds in memory.
PAGE_RECORDS = 1_000
PAGE_BYTES = 1_048_576

# How soon a restarting session asks a store that does not answer again; doubled each time, up to `store_seconds`.
RETRY_SECONDS = 0.1


class Session(Actor):
    """One user's session. Subclass it for state and commands of your own.

    ::

        class Counting(Session):
            ops = frozenset({"count"})
            count = 0

            def on_record(self, record):
                if record.type == "x.counted":
                    self.count = record.data()["count"]

            def on_command(self, op, data, run):
                self.publish("x.counted", {"count": self.count + 1})
                return {"count": self.count}
    """

    supervision: ClassVar[Supervision] = Supervision(Strategy.DYNAMIC)
    ops: ClassVar[frozenset[str]] = frozenset()
    """The names of the author's own commands."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__()
        self.key = key
        self._node = node
        self._limits = node.limits
        self.revived = False
        """Set by the supervisor before the start: it comes out of quarantine, and so has failed in this process."""
        self._at_work = False
        self._listens = type(self).on_record is not Session.on_record
        self._busy = False
        self._store_timer: Timer | None = None
        self._append_began = 0.0
        self._answer_came = trio.Event()
        self._log: Log
        self._ledger: Ledger
        self._attachments: Attachments
        self._keeper: RunKeeper
        self._desk: CommandDesk
        self._publications: PublicationDesk

    # -- for authors --------------------------------------------------------------------------------------------------

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        """Do one of `ops`, and give the answer, JSON data. Raise CommandRefused(code, message) to refuse.

        It runs once for each command id, whatever is sent again and whatever crashes: what a crash cut short is
        answered with ``interrupted``. Only a refusal with ``retry=True`` is not kept: its id may be sent again.
        """
        raise CommandRefused("unknown_op", f"{op!r:.80} is announced in `ops`, but `on_command` does not know it")

    def on_record(self, record: Record) -> None:
        """Take a record as having happened: keep what your own state needs of it.

        Called for each record of this session in order: when the session starts, with those that the journal keeps,
        then with each new one in the moment it gets its position. So state that is made here outlives a crash.

        What the journal does not keep any more is not told again: where that matters, or where reading all of it takes
        too long, define `dump` and `restore` too.
        """

    def dump(self) -> Any:
        """Your own state after all records so far, as JSON data. Define it together with `restore`.

        Then a session that comes back is given this state, and `on_record` is called with later records only. No record
        is dropped that the newest dump kept does not cover. It is called now and then, at the end of a turn.
        """

    def restore(self, state: Any) -> None:
        """Take a state that `dump` gave, perhaps that of an earlier version of your class; once, at the start."""

    def publish(self, type: str, data: Mapping[str, Any]) -> int:
        """Record an event of the author's own, ``x.…``, outside of any run; gives its seq. Call it in a handler.

        Raises:
            InvalidEvent: the type is not ``x.…``, or JSON cannot hold the data.
        """
        return self._publish(type, data).seq

    def _publish(self, type: str, data: Mapping[str, Any]) -> Record:
        if fields_of(type):
            raise InvalidEvent(f"event type {type!r} belongs to runs; outside of them authors say x.*")
        limits = self._limits
        event = Event.make(
            f"x/{self._ledger.next_seq}", type, None, data, max_bytes=limits.event_bytes, max_depth=limits.depth
        )
        return self._record(event)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's is plain
        """Open the journal, read the session back, and have what a crash left open closed.

        Raises:
            StoreUnavailable: the store gives or takes nothing. A session that crashed waits until it can be opened: its
                restarts are counted, and an outage is no fault of its own.
        """
        opened = await self._open()
        runs, memory = Runs(self._limits.context_exchanges), CommandMemory()
        plan = self._plan_snapshots(runs)
        last_at = await self._read_back(opened, runs, plan)
        for entry in opened.commands:
            memory.remember(entry)
        self._put_together(opened, runs, memory, plan, last_at)
        self._desk.answer_interrupted()
        failed_here = self.restarts or self.revived
        self._keeper.end_all("session_restarted" if failed_here else "node_lost", "the run was cut short")
        if not self._ledger.settled:
            with self._store_in_time():
                await self._settle()
        self._tell_supervisor(busy=False)

    async def _open(self) -> Opened:
        pause = RETRY_SECONDS
        while True:
            try:
                with self._store_in_time():
                    return await self._node.journal.open(self.key)
            except StoreUnavailable:
                if not self.restarts:
                    raise  # somebody waits for it, and is told
            await trio.sleep(pause)
            pause = min(2 * pause, self._limits.store_seconds)

    def _plan_snapshots(self, runs: Runs) -> SnapshotPlan:
        limits = self._limits

        def make() -> Snapshotted:
            state = self._author(self.dump) if self._dumps else None
            check_json(state, limits.depth, "dump()")
            return Snapshotted(self._ledger.last_at, runs.dump(), self._dumps, state)

        return SnapshotPlan(
            # Half of what is kept, so that what no snapshot covers is never much of it.
            every_records=min(limits.snapshot_records, max(1, limits.retained_records // 2)),
            every_bytes=limits.retained_bytes // 4,
            make=make,
        )

    @property
    def _dumps(self) -> bool:
        return type(self).dump is not Session.dump

    async def _read_back(self, opened: Opened, runs: Runs, plan: SnapshotPlan) -> int:
        """Make `_log`, `runs` and the author's state from snapshot and records; gives the newest record's time."""
        last_at = covered = told = 0
        limits = self._limits
        if opened.snapshot is not None:
            content = plan.begin(opened.snapshot)
            covered, last_at = opened.snapshot.seq, content.at
            runs.restore(content.runs)
            if content.authored and self._dumps:
                self._author(self.restore, content.state)
                told = covered
            elif type(self).on_record is Session.on_record:
                told = covered
        if self._dumps and not told:
            plan.at_once()
        log = Log(
            opened.epoch,
            opened.first,
            max(opened.first - 1, min(covered, told)),
            max_records=limits.tail_records,
            max_bytes=limits.tail_bytes,
        )
        self._log = log
        while log.head < opened.head:
            with self._store_in_time():
                page = await self._read(log.head, PAGE_BYTES)
            if not page or page[0].seq != log.head + 1:
                raise StoreUnavailable(f"the journal does not give record {log.head + 1} of {opened.head}")
            for record in page:
                if record.seq > covered:
                    runs.read_back(record)
                    plan.note(1, len(record.encoded))
                if record.seq > told:
                    self._author(self.on_record, record)
            log.extend(page, opened.first)
            last_at = page[-1].at
        return last_at

    def _put_together(
        self, opened: Opened, runs: Runs, memory: CommandMemory, plan: SnapshotPlan, last_at: int
    ) -> None:
        node = self._node
        self._ledger = ledger = Ledger(
            node.journal,
            opened,
            self._log,
            node.now_ms,
            last_at=last_at,
            added=self.want_turn_end,
            answered=self._store_answered,
            snapshots=plan,
        )
        self._attachments = attachments = Attachments(
            self.actor_ref,
            self._log,
            ledger,
            memory,
            history=self._limits.history,
            new_epoch=node.ids.epoch,
            read=self._read_older,
            changed=self._note_activity,
        )
        self._keeper = keeper = RunKeeper(
            self,
            node,
            runs,
            ledger,
            record=self._record,
            record_all=None if self._listens else ledger.add_all,
            changed=self._note_activity,
        )
        self._desk = CommandDesk(self, node, memory, ledger, keeper, attachments)
        self._publications = self._publication_desk(opened)
        self._at_work = True

    def _publication_desk(self, opened: Opened) -> PublicationDesk:
        limits = self._limits
        memory = PublicationMemory(
            keep_ms=int(limits.publication_seconds * 1000),
            per_service=limits.publications,
            services=limits.publishing_services,
        )
        memory.remember_all(opened.publications)
        return PublicationDesk(memory, self._ledger, limits, self._node.now_ms, self._publish)

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka's is plain
        """End the runs that are open, have all of it durable, and close the connections."""
        try:
            self._keeper.end_all("node_stopped", "the node stopped")
            # Whoever comes next reads no records, and what is too old of them can be dropped.
            self._ledger.conclude()
            # A session that leaves because it is idle has no other deadline, and who asks for it waits.
            with self._store_in_time():
                await self._settle()
        finally:
            self._come_to_an_end()
            self._attachments.wake_all()
            self._attachments.close_all(CloseReason.DRAINING)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Have the connections attach anew; their questions wait in the mailbox until the restart."""
        self.gone()

    def gone(self) -> None:
        """This incarnation is over, perhaps without a word: nobody is left waiting. Its supervisor calls it, too.

        A session that is killed while it stops gets no other hook.
        """
        if self._at_work:
            self._come_to_an_end()
            self._attachments.session_failed()

    def _come_to_an_end(self) -> None:
        self._at_work = False
        if self._store_timer is not None:
            self._store_timer.cancel()
        self._keeper.forsake()
        self._ledger.forsake()

    def _let_go(self) -> None:
        """Free the records in memory with the last cursor that shows them.

        This object and its parts hold each other, and the garbage collector comes seldom to what has lived for a while,
        by `serve`'s thresholds hardly ever: it counts objects, and a session's records are few objects of many bytes.
        """
        super()._let_go()
        self.gone()
        # Not `_log`, by which cursors go on to read.
        for part in ("_ledger", "_attachments", "_keeper", "_desk", "_publications"):
            vars(self).pop(part, None)

    def on_undelivered(self, message: Any, reply: Reply[Any] | None) -> bool:
        """Have a message that met the session on its way out routed once more."""
        if isinstance(message, Attach | RunCommand | PublishAlone | PublishOnce):
            if isinstance(message, RunCommand):
                message = attrs.evolve(message, log=None)  # this one ends in order, so the next one takes its place
            self._node.registry().notify(Reroute(self.key, message, reply))
            return True
        return False

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages`."""
        match message:
            case Publish():
                self._keeper.publish(message)
                address = self.take_over_reply()
                if address is not None:
                    self._ledger.acknowledge(address, message.seqs[-1])
            case StoreAnswered():
                self._take_answer()
            case RunCommand():
                self._desk.take(message)
            case Attach():
                self._attachments.attach(message, self.defer_reply())
            case Detach(connection):
                self._attachments.detach(connection)
            case PublishAlone():
                self._publish_alone(message)
            case PublishOnce():
                self._publications.take(message, self.defer_reply)
            case ActorExited():
                self._keeper.agent_gone(message)
            case RunTimedOut(run):
                self._keeper.timed_out(run)
            case StoreTimedOut():
                self._look_after_store()
            case Leave():
                self._leave()
            case ReportRuns():
                self._node.registry().notify(self._keeper.report())
            case _:
                raise TypeError(f"a session does not know {type(message).__name__}")
        return None

    # -- records ------------------------------------------------------------------------------------------------------

    def _record(self, event: Event) -> Record:
        record = self._ledger.add(event)
        if self._listens:
            self._author(self.on_record, record)
        return record

    def _author(self, hook: Callable[..., T], *arguments: Any) -> T:
        try:
            return hook(*arguments)
        except Refusal as error:
            # For the kernel an answer, after which the actor lives on: half a change would stay.
            raise RuntimeError(f"`{hook.__name__}` was refused something: {error}") from error

    def _publish_alone(self, message: PublishAlone) -> None:
        if self._ledger.undurable_bytes > self._limits.undurable_bytes:
            raise StoreUnavailable("too much is not durable yet")
        try:
            seq = self.publish(message.type, message.data)
        except InvalidEvent as error:
            raise EventRefused(str(error)) from None
        reply: Reply[Position] = self.defer_reply()

        def settled(error: BaseException | None) -> None:
            if error is not None:
                reply.offer_exception(error)
            else:
                reply.offer(Position(self._log.epoch, seq))

        self._ledger.when_durable(settled)

    async def _read(self, after: int, max_bytes: int) -> Sequence[Record]:
        return await self._node.journal.read(self.key.id, after, max_records=PAGE_RECORDS, max_bytes=max_bytes)

    async def _read_older(self, after: int, max_bytes: int) -> Sequence[Record]:
        """Read for a cursor that is behind what memory holds. What retention has dropped since is a gap to all."""
        log = self._log
        page = await self._read(after, max_bytes)
        if not page:
            log.dropped(log.tail_first)
        elif page[0].seq > after + 1:
            log.dropped(page[0].seq)
        return page

    # -- the store ----------------------------------------------------------------------------------------------------

    def on_turn_end(self) -> None:
        """Give the journal what this turn added; show it at once if the journal is as quick as that."""
        ledger = self._ledger
        while ledger.flush():
            if not ledger.take_answer():
                self._append_began = trio.current_time()
                # One timer serves all the appends of its time, as there are many.
                if self._store_timer is None:
                    self._watch_store(self._limits.store_seconds)
                return
            self._attachments.wake_all()

    def _take_answer(self) -> None:
        if self._ledger.take_answer():
            self._attachments.wake_all()
            self.want_turn_end()

    def _watch_store(self, seconds: float) -> None:
        me = self.actor_ref
        self._store_timer = self.system.timers.call_later(seconds, lambda: me.notify(StoreTimedOut()))

    def _look_after_store(self) -> None:
        if self._store_timer is not None:
            self._store_timer.cancel()
            self._store_timer = None
        if self._ledger.waiting:
            left = self._append_began + self._limits.store_seconds - trio.current_time()
            if left > 0:
                self._watch_store(left)
            else:
                self._ledger.give_up()

    def _store_answered(self) -> None:
        # Called by the journal, perhaps in the middle of a turn: the answer is taken up in a turn of its own, or by
        # the hook that waits for it.
        self._answer_came.set()
        self.actor_ref.notify(StoreAnswered())

    async def _settle(self) -> None:
        """In a hook, where the actor takes no turns: have all that was added made durable.

        Raises:
            StoreUnavailable: an append failed.
        """
        try:
            while not self._ledger.settled:
                self._answer_came = trio.Event()
                self._ledger.flush()
                if not self._ledger.take_answer():
                    await self._answer_came.wait()
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error

    @contextmanager
    def _store_in_time(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._limits.store_seconds):
                yield
        except trio.TooSlowError:
            raise StoreUnavailable(f"the journal did not answer in {self._limits.store_seconds} seconds") from None

    # -- leaving ------------------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        return bool(len(self._attachments) or self._keeper.busy)

    def _note_activity(self) -> None:
        busy = self._is_busy()
        if busy is not self._busy:
            self._tell_supervisor(busy=busy)

    def _tell_supervisor(self, *, busy: bool) -> None:
        self._busy = busy
        self._node.supervisor().notify((BecameBusy if busy else BecameIdle)(self.actor_ref))

    def _leave(self) -> None:
        if self._is_busy() or self.waiting_messages:
            # What waits may leave it as idle as it was: the supervisor hears of both.
            self._tell_supervisor(busy=True)
            self._note_activity()
        else:
            self.stop_now()
