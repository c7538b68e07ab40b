"""`Session`: one user's ordered stream of records, and the actor that owns it.

Theory of operation. Whatever changes a session comes as a message, gets its position in the ledger, and is given to the
journal at the end of the turn, all that came in one turn together. When the journal answers, records are shown to the
connections, publishers and devices get their answers, and agents start: nothing is seen or done before it is durable.

The session supervises its runs: each run's agent is its child. When an agent dies, hangs or is cancelled, the session
writes the run's one terminal event, closing open tool calls first, and takes no further event of that run (law S6).
After a crash of its own it reads its records back and closes the runs that were open.

A connection is only a cursor into `log`; the session wakes it and knows nothing of sockets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Protocol

import attrs
import msgspec
import trio

from ..runtime import Actor, ActorExited, ChildSpec, Killed, Ref, Reply, Restart, Strategy, Supervision
from .agent import Agent
from .commands import CommandEntry, CommandMemory, Result, Verdict
from .errors import CommandRefused, EventRefused, GrammarError, InvalidEvent, RunEnded
from .events import TERMINALS, Event, Position
from .ids import Ids, SessionKey
from .journal import Appended, Journal
from .ledger import Ledger
from .limits import Limits
from .log import Log
from .messages import (
    Attach,
    Attached,
    BecameBusy,
    BecameIdle,
    CloseReason,
    Connection,
    Detach,
    Leave,
    Message,
    Mode,
    Perform,
    Publish,
    PublishAlone,
    ReportRuns,
    Reroute,
    RunCommand,
    RunOpened,
    RunTimedOut,
    StoreAnswered,
    StoreTimedOut,
)
from .runs import OpenRun, Runs

__all__ = ["RunObserver", "Session", "SessionNode"]

# A page of the journal while a session is read back; bounds what that holds in memory.
PAGE_RECORDS = 1_000
PAGE_BYTES = 1_048_576


class RunObserver(Protocol):
    """Hears of each run's beginning and end, without content; plain, and it must not raise."""

    def run_started(self, run: str, session: str, agent: str) -> None:
        """The agent of a run was started."""

    def run_ended(self, run: str, session: str, terminal: str) -> None:
        """The terminal event of a run was written; also of one that a crash left open before this process began."""


@attrs.frozen(eq=False)
class SessionNode:
    """What a session gets of its node. `agents` makes an agent by name; `now_ms` gives Unix milliseconds."""

    journal: Journal
    registry: Callable[[], Ref[Any]]
    supervisor: Callable[[], Ref[Any]]
    agents: Mapping[str, Callable[[], Agent]]
    default_agent: str
    limits: Limits
    ids: Ids
    now_ms: Callable[[], int]
    observer: RunObserver


class Session(Actor):
    """One user's session. Subclass it for state and commands of your own.

    ::

    class Counting(Session):
        ops = frozenset({"count"})
        count = 0

        def on_command(self, op, data, run):
            self.count += 1
            self.publish("x.counted", {"count": self.count})
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
        self._connections: dict[Connection, str] = {}
        self._devices: dict[str, Connection] = {}
        self._memory = CommandMemory()
        self._runs = Runs(node.limits.context_exchanges)
        self._agents: dict[Ref[Any], str] = {}
        self._busy = False
        self._stopping = False
        self._store_watched = False
        self._answer: tuple[int, Appended | BaseException] | None = None
        self._answer_came = trio.Event()
        self._log: Log
        self._ledger: Ledger

    # -- for authors --------------------------------------------------------------------------------------------------

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        """Do one of `ops`, and give the answer, JSON data. Raise CommandRefused(code, message) to refuse.

        It runs once for each command id, whatever is sent again and whatever crashes: what a crash cut short is
        answered with ``interrupted``.
        """
        raise CommandRefused("unknown_op", f"{op!r:.80} is announced in `ops`, but `on_command` does not know it")

    def publish(self, type: str, data: Mapping[str, Any]) -> int:
        """Record an event of the author's own, ``x.…``, outside of any run; gives its seq. Call it in a handler.

        Raises:
            InvalidEvent: the type is not ``x.…``, or JSON cannot hold the data.
        """
        if not type.startswith("x."):
            raise InvalidEvent(f"event type {type!r:.80} belongs to runs; outside of them authors say x.*")
        seq = self._ledger.next_seq
        record = self._ledger.add(self._event(f"x/{seq}", type, None, dict(data)))
        self.want_turn_end()
        return record.seq

    # -- life ---------------------------------------------------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's is plain
        """Open the journal, read the session back, and close the runs that a crash left open."""
        node, limits = self._node, self._limits
        opened = await node.journal.open(self.key)
        self._log = Log(
            opened.epoch,
            opened.first,
            opened.first - 1,
            max_records=limits.tail_records,
            max_bytes=limits.tail_bytes,
        )
        while self._log.head < opened.head:
            page = await node.journal.read(self.key.id, self._log.head, max_records=PAGE_RECORDS, max_bytes=PAGE_BYTES)
            for record in page:
                self._runs.read_back(record)
            self._log.extend(page, opened.first)
        self._ledger = Ledger(node.journal, opened, self._log, node.now_ms, self._store_answered)
        for entry in opened.commands:
            self._memory.remember(entry)
        for entry in self._memory.under_way():
            result = Result(entry.id, error_code="interrupted", error_message="a crash cut this command short")
            self._remember(attrs.evolve(entry, result=result))
        for run in list(self._runs.open.values()):
            code = "session_restarted" if self.restarts else "node_lost"
            self._end_by_supervisor(run, "agent_error", {"code": code, "message": "the run was cut short"})
        self._flush()

    async def on_stop(self) -> None:  # type: ignore[override]  # pykka's is plain
        """End the runs that are open, have all of it durable, and close the connections."""
        self._stopping = True
        for run in list(self._runs.open.values()):
            self._end_by_supervisor(run, "agent_error", {"code": "node_stopped", "message": "the node stopped"})
        while not self._ledger.settled:
            self._flush()
            while self._answer is None:
                await self._answer_came.wait()
            answer, self._answer = self._answer, None
            self._answer_came = trio.Event()
            self._ledger.answer(*answer)
        self._wake_all()
        for connection in list(self._connections):
            connection.close(CloseReason.DRAINING)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Have the connections attach anew; their questions wait in the mailbox until the restart."""
        for run in self._runs.open.values():
            if run.timer is not None:
                run.timer.cancel()
        for connection in self._connections:
            connection.session_failed()

    def on_undelivered(self, message: Any, reply: Reply[Any] | None) -> bool:
        """Have a message that met the session on its way out routed once more."""
        if isinstance(message, Attach | RunCommand | PublishAlone):
            self._node.registry().notify(Reroute(self.key, message, reply))
            return True
        return False

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages`."""
        match message:
            case Publish():
                self._publish(message)
            case StoreAnswered(append, outcome):
                self._ledger.answer(append, outcome)
                self._wake_all()
                self.want_turn_end()
                self._note_activity()
            case RunCommand():
                self._command(message)
            case Attach():
                self._attach(message)
            case Detach(connection):
                self._detach(connection)
            case PublishAlone():
                self._publish_alone(message.type, message.data)
            case ActorExited(ref, reason):
                self._agent_gone(ref, reason)
            case RunTimedOut(run):
                self._run_timed_out(run)
            case StoreTimedOut(append):
                self._store_timed_out(append)
            case Leave():
                self._leave()
            case ReportRuns():
                for open_run in self._runs.open.values():
                    if open_run.agent is not None:
                        self._node.registry().notify(RunOpened(open_run.id, self.key, open_run.agent))
            case _:
                raise TypeError(f"a session does not know {type(message).__name__}")
        return None

    def on_turn_end(self) -> None:
        """Give the journal what this turn added."""
        self._flush()

    def _flush(self) -> None:
        if self._ledger.flush() and not self._store_watched and not self._stopping:
            self._watch_store()

    def _watch_store(self) -> None:
        """Look again after `store_seconds`; one timer for all the appends of that time, as there are many."""
        me, number = self.actor_ref, self._ledger.appends
        self._store_watched = True
        self.system.timers.call_later(self._limits.store_seconds, lambda: me.notify(StoreTimedOut(number)))

    def _store_timed_out(self, number: int) -> None:
        self._store_watched = False
        self._ledger.time_out(number)
        if self._ledger.waiting:
            self._watch_store()  # an answer came, and the append in flight is a younger one

    def _store_answered(self, number: int, outcome: Appended | BaseException) -> None:
        # Called by the journal, perhaps in the middle of a turn: the answer is taken up in a turn of its own.
        if self._stopping:
            self._answer = (number, outcome)
            self._answer_came.set()
        else:
            self.actor_ref.notify(StoreAnswered(number, outcome))

    # -- connections --------------------------------------------------------------------------------------------------

    def _attach(self, message: Attach) -> None:
        start, log = message.start, self._log
        previous = self._devices.get(message.device)
        if previous is not None and previous is not message.connection:
            self._detach(previous)
            previous.close(CloseReason.SUPERSEDED)
        self._connections[message.connection] = message.device
        self._devices[message.device] = message.connection
        self._note_activity()
        reply = self.defer_reply()
        if start.epoch == log.epoch and start.seq is not None and start.seq > log.head:
            # It has seen records that the journal does not have: this history is not the one that it saw.
            self._ledger.renew(self._node.ids.epoch())
            self._ledger.when_durable(lambda error: self._renewed(error, message, reply))
            self.want_turn_end()
            return
        reply.set(self._verdict(message))

    def _renewed(self, error: BaseException | None, message: Attach, reply: Reply[Attached]) -> None:
        if error is not None:
            if not reply.abandoned:
                reply.set_exception(error)
            return
        for connection in [other for other in self._connections if other is not message.connection]:
            # What the others hold is of the old epoch; they come back and hear so.
            self._detach(connection)
            connection.close(CloseReason.DRAINING)
        if not reply.abandoned:
            reply.set(self._verdict(message))

    def _verdict(self, message: Attach) -> Attached:
        start, log = message.start, self._log
        if start.epoch is not None and start.epoch == log.epoch and start.seq is not None and start.seq <= log.head:
            mode, cursor = Mode.REPLAY, start.seq
        else:
            mode = Mode.FRESH if start.epoch is None else Mode.RESET
            if start.first:
                cursor = log.first - 1
            else:
                cursor = max(log.first - 1, log.head - (self._limits.history if start.last is None else start.last))
        return Attached(log, mode, cursor, self._memory.highest(message.device), self._read)

    async def _read(self, after: int, max_bytes: int) -> Any:
        return await self._node.journal.read(self.key.id, after, max_records=PAGE_RECORDS, max_bytes=max_bytes)

    def _detach(self, connection: Connection) -> None:
        device = self._connections.pop(connection, None)
        if device is not None and self._devices.get(device) is connection:
            del self._devices[device]
        self._note_activity()

    def _wake_all(self) -> None:
        for connection in list(self._connections):
            connection.wake()

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, message: RunCommand) -> None:
        fingerprint = hashlib.sha256(
            msgspec.json.encode([message.op, message.run, message.data], order="sorted")
        ).digest()
        verdict, known = self._memory.judge(message.device, message.id, fingerprint)
        match verdict:
            case Verdict.KNOWN:
                assert known is not None
                message.connection.deliver(known)
            case Verdict.UNDER_WAY:
                pass  # its answer goes to the device's connection as soon as it is durable
            case Verdict.EXPIRED:
                self._refuse(message, "expired_id", "this id is too old to be known; take a new device id")
            case Verdict.CONFLICT:
                self._refuse(message, "id_conflict", "this id was used for another command")
            case Verdict.NEW:
                self._new_command(message, fingerprint)

    def _new_command(self, message: RunCommand, fingerprint: bytes) -> None:
        under_way = CommandEntry(message.device, message.id, fingerprint, None)
        then: Callable[[], None] | None = None
        try:
            if self._ledger.undurable_bytes > self._limits.undurable_bytes:
                raise CommandRefused("store_unavailable", "too much is not durable yet", retry=True)
            if message.op == "user_message":
                result, then = self._user_message(message)
            elif message.op == "cancel":
                result = self._cancel(message)
            elif message.op in self.ops:
                self._author_command(message, under_way)
                return
            else:
                allowed = ", ".join(("user_message", "cancel", *sorted(self.ops)))
                raise CommandRefused("unknown_op", f"{message.op!r:.80} is unknown; there are {allowed}")
        except CommandRefused as refused:
            if refused.retry:
                self._refuse(message, refused.code, refused.message, retry=True)
                return
            result = Result(message.id, error_code=refused.code, error_message=refused.message)
        self._accept(attrs.evolve(under_way, result=result), then)

    def _accept(self, entry: CommandEntry, then: Callable[[], None] | None = None) -> None:
        """Keep a command with its result; when both are durable, answer and go on with `then`."""
        assert entry.result is not None
        result = entry.result
        # Until it is durable the id is known, but not its answer: a repetition waits like the first one.
        self._memory.remember(attrs.evolve(entry, result=None))
        self._ledger.remember(entry)

        def settled(error: BaseException | None) -> None:
            if error is not None:
                failed = Result(entry.id, error_code="store_unavailable", error_message=str(error), retry=True)
                self._deliver(entry.device, failed)
                return
            self._memory.remember(entry)
            self._deliver(entry.device, result)
            if then is not None:
                then()

        self._ledger.when_durable(settled)
        self.want_turn_end()

    def _remember(self, entry: CommandEntry) -> None:
        self._memory.remember(entry)
        self._ledger.remember(entry)

    def _deliver(self, device: str, result: Result) -> None:
        connection = self._devices.get(device)
        if connection is not None:
            connection.deliver(result)

    def _refuse(self, message: RunCommand, code: str, text: str, *, retry: bool = False) -> None:
        message.connection.deliver(Result(message.id, error_code=code, error_message=text, retry=retry))

    def _user_message(self, message: RunCommand) -> tuple[Result, Callable[[], None]]:
        text, agent = message.data.get("text"), message.data.get("agent", self._node.default_agent)
        if not isinstance(text, str) or not text.strip():
            raise CommandRefused("bad_command", "user_message needs `text`, a text that is not empty")
        if not isinstance(agent, str) or agent not in self._node.agents:
            raise CommandRefused(
                "bad_command", f"agent {agent!r:.80} is unknown; there are {', '.join(sorted(self._node.agents))}"
            )
        if len(self._runs.open) >= self._limits.runs:
            raise CommandRefused("busy", f"{self._limits.runs} runs are open, which is the limit", retry=True)
        run = self._node.ids.run()
        try:
            event = self._event(f"{run}/0", "agent_started", run, {"agent": agent, "input": text, "by": "session"})
        except InvalidEvent as error:
            raise CommandRefused("bad_command", str(error)) from None
        record = self._ledger.add(event)
        self._runs.apply(event, record)
        self._note_activity()
        return Result(message.id, ok={"run": run}, seq=record.seq), lambda: self._start_agent(run, text, agent)

    def _cancel(self, message: RunCommand) -> Result:
        if not isinstance(message.run, str):
            raise CommandRefused("bad_command", "cancel needs `run`, the id of a run")
        run = self._runs.open.get(message.run)
        if run is not None:
            seq = self._end_by_supervisor(run, "agent_cancelled", {"by": "user", "reason": "cancelled by the user"})
            return Result(message.id, ok={"state": "cancelling"}, seq=seq)
        if self._runs.ended(message.run):
            return Result(message.id, ok={"state": "ended"})
        raise CommandRefused("unknown_run", f"run {message.run!r:.80} is not one of this session")

    def _author_command(self, message: RunCommand, under_way: CommandEntry) -> None:
        # That the op begins is durable before it runs: if it crashes, it is known and does not run again (law S5).
        self._remember(under_way)

        def begin(error: BaseException | None) -> None:
            if error is not None:
                self._refuse(message, "store_unavailable", str(error), retry=True)
                return
            try:
                ok = self.on_command(message.op, message.data, message.run)
                result = Result(message.id, ok=ok)
            except CommandRefused as refused:
                result = Result(message.id, error_code=refused.code, error_message=refused.message, retry=refused.retry)
            self._accept(attrs.evolve(under_way, result=result))

        self._ledger.when_durable(begin)
        self.want_turn_end()

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _start_agent(self, run_id: str, text: str, name: str) -> None:
        run = self._runs.open.get(run_id)
        if run is None:
            return  # cancelled before its beginning was durable
        node = self._node

        def make() -> Agent:
            agent = node.agents[name]()
            if not isinstance(agent, Agent):
                raise TypeError(f"the factory of agent {name!r} made {type(agent).__name__}, which is no Agent")
            agent.prepare(node.registry(), self._limits)
            return agent

        node.observer.run_started(run_id, self.key.id, name)
        try:
            # An agent that is stopped in order has nothing to drain: its run ends, and the session says how.
            run.agent = ref = self.start_child(ChildSpec(run_id, make, Restart.TEMPORARY, stop_seconds=0.0))
        except Exception as error:  # noqa: BLE001 - the author's factory; a terminal event tells of it
            self._agent_failed(run, error)
            return
        self._agents[ref] = run_id
        self.watch(ref)
        node.registry().notify(RunOpened(run_id, self.key, ref))
        me = self.actor_ref
        run.timer = self.system.timers.call_later(self._limits.run_seconds, lambda: me.notify(RunTimedOut(run_id)))
        history = self._runs.history(before=run_id)
        ref.tell(Perform(Message(text, run_id, self.key.id, self.key.user, name, history)))

    def _publish(self, message: Publish) -> None:
        event = message.event
        run = self._runs.open.get(message.run)
        if run is None:
            raise RunEnded(f"run {message.run} has ended; {event.type} is not recorded")
        if event.run != message.run or message.n <= run.last_n:
            raise EventRefused(f"{event.type} is number {message.n} of run {message.run}, after {run.last_n}")
        try:
            run.grammar.check(event.type, event.call)
        except GrammarError as error:
            raise EventRefused(str(error)) from None
        run.last_n = message.n
        record = self._ledger.add(event)
        self._runs.apply(event, record, message.tool)
        if event.type in TERMINALS:
            self._run_ended(run, event.type)
        self._answer_when_durable(record.seq)

    def _publish_alone(self, type: str, data: dict[str, Any]) -> None:
        try:
            seq = self.publish(type, data)
        except InvalidEvent as error:
            raise EventRefused(str(error)) from None
        self._answer_when_durable(seq)

    def _answer_when_durable(self, seq: int) -> None:
        reply = self.defer_reply()

        def settled(error: BaseException | None) -> None:
            if reply.abandoned or reply.done:
                return
            if error is not None:
                reply.set_exception(error)
            else:
                reply.set(Position(self._log.epoch, seq))

        self._ledger.when_durable(settled)
        self.want_turn_end()

    def _agent_gone(self, ref: Ref[Any], reason: BaseException | None) -> None:
        run = self._runs.open.get(self._agents.pop(ref, ""))
        if run is not None:
            self._agent_failed(run, reason)
        self._note_activity()

    def _agent_failed(self, run: OpenRun, reason: BaseException | None) -> None:
        if isinstance(reason, Killed):
            code, text = "agent_killed", "the agent was killed"
        else:
            # The type only: what an exception says may be about anything, and not for this user's eyes.
            kind = "no exception" if reason is None else type(reason).__name__
            code, text = "agent_failed", f"the agent ended without a result ({kind})"
        self._end_by_supervisor(run, "agent_error", {"code": code, "message": text})

    def _run_timed_out(self, run_id: str) -> None:
        run = self._runs.open.get(run_id)
        if run is not None:
            text = f"the agent took longer than {self._limits.run_seconds:g} seconds"
            self._end_by_supervisor(run, "agent_error", {"code": "deadline", "message": text})

    def _end_by_supervisor(self, run: OpenRun, type: str, data: dict[str, Any]) -> int:
        """Write what ends a run from outside, and end its agent; gives the seq of the terminal event."""
        for call, tool in list(run.grammar.open_calls.items()):
            run.last_n += 1
            closing = {
                "call": call,
                "tool": tool,
                "ok": False,
                "result": None,
                "duration_ms": max(0, self._node.now_ms() - run.started_ms.get(call, self._node.now_ms())),
                "by": "supervisor",
            }
            event = self._event(f"{run.id}/{run.last_n}", "tool_completed", run.id, closing)
            self._runs.apply(event, self._ledger.add(event), tool)
        event = self._event(f"{run.id}/end", type, run.id, {"by": "supervisor", **data})
        record = self._ledger.add(event)
        self._runs.apply(event, record)
        if run.agent is not None:
            run.agent.kill()
        self._run_ended(run, type)
        self.want_turn_end()
        return record.seq

    def _run_ended(self, run: OpenRun, type: str) -> None:
        if run.timer is not None:
            run.timer.cancel()
        self._node.observer.run_ended(run.id, self.key.id, type)

    def _event(self, id: str, type: str, run: str | None, data: dict[str, Any]) -> Event:
        return Event.make(id, type, run, data, max_bytes=self._limits.event_bytes, max_depth=self._limits.depth)

    # -- leaving ------------------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        return bool(self._connections or self._runs.open or self._agents or not self._ledger.settled)

    def _note_activity(self) -> None:
        busy = self._is_busy()
        if busy is not self._busy:
            self._busy = busy
            self._node.supervisor().notify(BecameBusy(self.key.id) if busy else BecameIdle(self.key.id))

    def _leave(self) -> None:
        if self._is_busy() or self.waiting_messages:
            self._node.supervisor().notify(BecameBusy(self.key.id))
        else:
            self.stop_now()
