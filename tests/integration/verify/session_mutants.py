"""Nodes whose sessions break a law: subclasses that change one thing each."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import attrs
import msgspec
import trio

from callboard.actors import (
    Attach,
    Batch,
    CommandMemory,
    Detach,
    Done,
    Event,
    MemoryJournal,
    Opened,
    Record,
    Result,
    RunCommand,
    Runs,
    Session,
    SessionKey,
    SessionNode,
    StartFrom,
    Token,
    Verdict,
)
from callboard.actors.messages import StoreAnswered
from callboard.actors.snapshots import SnapshotPlan
from callboard.runtime import Actor, ChildSpec
from callboard.transport.verify import Line
from tests.integration.verify.nodes import Mutant

__all__ = ["SESSION_MUTANTS"]

TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")


class Recording(Session):
    """Has a look at each event on its way into the record."""

    def event(self, id: str, type: str, run: str | None, data: dict[str, Any]) -> Event:
        return Event.make(id, type, run, data, max_bytes=self._limits.event_bytes, max_depth=self._limits.depth)

    def on_record(self, record: Record) -> None:
        """A session that listens gives positions one by one, so nothing goes past `_record`."""

    def _record(self, event: Event) -> Record:
        return self.record(event)

    def record(self, event: Event) -> Record:
        return super()._record(event)


class EndsTwice(Recording):
    def record(self, event: Event) -> Record:
        record = super().record(event)
        if event.type == "agent_completed":
            super().record(self.event(f"{event.run}/end2", event.type, event.run, record.data()))
        return record


class GoesOnAfterTheEnd(Recording):
    def record(self, event: Event) -> Record:
        record = super().record(event)
        if event.type == "agent_completed":
            super().record(self.event(f"{event.run}/after", "agent_delta", event.run, {"text": "…"}))
        return record


class NeverEnds(Recording):
    def record(self, event: Event) -> Record:
        if event.type == "agent_completed":
            event = self.event(event.id, "agent_delta", event.run, {"text": "…"})
        return super().record(event)


class StartsTwice(Recording):
    def record(self, event: Event) -> Record:
        record = super().record(event)
        if event.type == "agent_thinking":
            data = {"agent": "works", "input": "again", "by": "session"}
            super().record(self.event(f"{event.run}/again", "agent_started", event.run, data))
        return record


class SaysWhatIsNoEvent(Recording):
    def record(self, event: Event) -> Record:
        if event.type == "agent_thinking":
            body = event.body.replace(b'"agent_thinking"', b'"agent_pondering"')
            event = msgspec.structs.replace(event, type="agent_pondering", body=body)
        return super().record(event)


class MixesUpCalls(Recording):
    def record(self, event: Event) -> Record:
        if event.type == "tool_completed":
            data = {"call": "another", "tool": "outer", "ok": True, "result": None, "duration_ms": 1}
            event = self.event(event.id, event.type, event.run, data)
        return super().record(event)


class LeavesCallsOpen(Recording):
    def record(self, event: Event) -> Record:
        if event.type == "tool_completed":
            event = self.event(event.id, "agent_delta", event.run, {"text": "it was done"})
        return super().record(event)


class UsesIdsTwice(Recording):
    def record(self, event: Event) -> Record:
        record = super().record(event)
        return super().record(event) if event.type == "agent_delta" else record


class SharesItsLog(Recording):
    """What an agent says is recorded in another user's session too."""

    said: ClassVar[dict[str, Event]] = {}

    def record(self, event: Event) -> Record:
        record = super().record(event)
        if event.type == "agent_thinking":
            for user in [user for user in self.said if user != self.key.user]:
                super().record(self.said.pop(user))
            self.said[self.key.user] = event
        return record


class TellsTheWrongInput(Recording):
    def record(self, event: Event) -> Record:
        if event.type == "agent_started":
            data = {"agent": "works", "input": "what somebody else said", "by": "session"}
            event = self.event(event.id, event.type, event.run, data)
        return super().record(event)


class Beginning(Session):
    """Begins runs that no result tells of."""

    def begin(self, text: str) -> None:
        run, _ = self._keeper.begin(text, self._node.default_agent)
        self._ledger.when_durable(lambda error: self._keeper.start(run, text, self._node.default_agent))


class RunsTwice(Beginning):
    """A message is worked on twice, though it has one result."""

    taken = False

    def on_receive(self, message: Any) -> Any:
        answer = super().on_receive(message)
        if isinstance(message, RunCommand) and message.op == "user_message" and not self.taken:
            self.taken = True
            self.begin(message.data["text"])
        return answer


class RefusesAndRuns(Beginning):
    """A message under the id of another is refused, and worked on all the same."""

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, RunCommand) and message.op == "user_message":
            first = self.texts.setdefault((message.device, message.id), message.data["text"])
            if first != message.data["text"]:
                self.begin(message.data["text"])
        return super().on_receive(message)

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.texts: dict[tuple[str, int], str] = {}


class Forgetful(CommandMemory):
    """Does a known command once more."""

    def judge(self, device: str, id: int, fingerprint: bytes) -> tuple[Verdict, Result | None]:
        verdict, known = super().judge(device, id, fingerprint)
        return (Verdict.NEW, None) if verdict is Verdict.KNOWN else (verdict, known)


class Careless(CommandMemory):
    """Goes by the id only, whatever the command says."""

    def judge(self, device: str, id: int, fingerprint: bytes) -> tuple[Verdict, Result | None]:
        verdict, known = super().judge(device, id, fingerprint)
        if verdict is Verdict.CONFLICT:
            return Verdict.KNOWN, self._devices[device].entries[id].result
        return verdict, known


class Remembering(Session):
    memory: ClassVar[type[CommandMemory]] = CommandMemory

    def _put_together(
        self, opened: Opened, runs: Runs, memory: CommandMemory, plan: SnapshotPlan, last_at: int
    ) -> None:
        super()._put_together(opened, runs, self.memory(), plan, last_at)


class ForgetsCommands(Remembering):
    memory = Forgetful


class MixesUpCommands(Remembering):
    memory = Careless


class KnowsItsRuns(Session):
    """Keeps which runs are open and which have ended."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.open_runs: dict[str, None] = {}
        self.ended_runs: set[str] = set()

    def on_record(self, record: Record) -> None:
        if record.run is not None and record.type == "agent_started":
            self.open_runs[record.run] = None
        elif record.run is not None and record.type in TERMINALS:
            self.open_runs.pop(record.run, None)
            self.ended_runs.add(record.run)


class PromisesToCancel(KnowsItsRuns):
    """Says that it cancels, and lets the run go on."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.promised: set[str | None] = set()

    def on_receive(self, message: Any) -> Any:
        cancel = isinstance(message, RunCommand) and message.op == "cancel"
        if cancel and message.run in self.open_runs and message.run not in self.promised:
            self.promised.add(message.run)
            message.connection.deliver(Result(message.id, ok={"state": "cancelling"}))
            return None
        return super().on_receive(message)


class ForgetsEndedRuns(KnowsItsRuns):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, RunCommand) and message.op == "cancel" and message.run in self.ended_runs:
            error = Result(message.id, error_code="unknown_run", error_message="which run?")
            message.connection.deliver(error)
            return None
        return super().on_receive(message)


class CancelsWhatIsLeft(KnowsItsRuns):
    """Takes the end of the last connection for the end of the wish."""

    def on_receive(self, message: Any) -> Any:
        answer = super().on_receive(message)
        if isinstance(message, Detach) and not len(self._attachments):
            for run in list(self.open_runs):
                self._keeper.cancel(run)
        return answer


class Attaching(Session):
    """Begins somewhere else than it was asked to."""

    def elsewhere(self, start: StartFrom) -> StartFrom:
        raise NotImplementedError

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Attach):
            message = attrs.evolve(message, start=self.elsewhere(message.start))
        return super().on_receive(message)


class ResumesTooEarly(Attaching):
    def elsewhere(self, start: StartFrom) -> StartFrom:
        return attrs.evolve(start, seq=max(0, start.seq - 1)) if start.seq is not None else start


class ResumesTooLate(Attaching):
    def elsewhere(self, start: StartFrom) -> StartFrom:
        return attrs.evolve(start, seq=min(start.seq + 1, self._log.head)) if start.seq is not None else start


class ResumesAnew(Attaching):
    def elsewhere(self, start: StartFrom) -> StartFrom:
        return StartFrom(epoch="0" * 16, seq=start.seq) if start.seq is not None else start


class ForgetsItsFirst(Attaching):
    def elsewhere(self, start: StartFrom) -> StartFrom:
        return StartFrom(last=3) if start.first else start


class GivesOneMore(Attaching):
    def elsewhere(self, start: StartFrom) -> StartFrom:
        return StartFrom(last=start.last + 1) if start.last is not None else start


class AnswersLater(MemoryJournal):
    """Answers in a turn of its own, as one on disk does: the sessions below look at how its answers come."""

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        super().append(token, first_seq, batch, lambda outcome: soon(done, outcome))


class WaitsForTheSlowest(Session):
    """Shows nobody anything while one connection has bytes that its socket does not take."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.attached: dict[Any, None] = {}

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Attach):
            self.attached[message.connection] = None
        elif isinstance(message, Detach):
            self.attached.pop(message.connection, None)
        elif isinstance(message, StoreAnswered) and any(connection.waiting_bytes for connection in self.attached):
            me = self.actor_ref
            self.system.timers.call_later(0.05, lambda: me.notify(message))
            return None
        return super().on_receive(message)


class LingersForTheSlowest(Session):
    """Gives a connection whose socket takes nothing three seconds before each run, and then goes on."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.attached: dict[Any, None] = {}
        self.to_linger = False

    def on_receive(self, message: Any) -> Any:
        match message:
            case Attach(connection):
                self.attached[connection] = None
            case Detach(connection):
                self.attached.pop(connection, None)
            case RunCommand():
                self.to_linger = any(connection.waiting_bytes for connection in self.attached)
            case StoreAnswered() if self.to_linger:
                self.to_linger = False
                me = self.actor_ref
                self.system.timers.call_later(3.0, lambda: me.notify(message))
                return None
        return super().on_receive(message)


class Sleeper(Actor):
    async def on_receive(self, message: Any) -> None:
        await trio.sleep_forever()


class LeavesATask(Session):
    """Something of each session goes on when its clients have left."""

    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, node)
        self.sleeping = False

    def on_receive(self, message: Any) -> Any:
        answer = super().on_receive(message)
        if isinstance(message, Detach) and not self.sleeping:
            self.sleeping = True
            self.start_child(ChildSpec("sleeper", Sleeper, stop_seconds=0.0)).tell("sleep")
        return answer


class _Deaf:
    """Hears how runs begin, and never that they end."""

    def __init__(self, node: SessionNode) -> None:
        self.run_started = node.observer.run_started

    def run_ended(self, run: str, session: str, terminal: str) -> None:
        return


class CountsRunsOnly(Session):
    def __init__(self, key: SessionKey, node: SessionNode) -> None:
        super().__init__(key, attrs.evolve(node, observer=_Deaf(node)))


def _mutant(session: type[Session], line: Line, **limits: Any) -> Mutant:
    return Mutant(name=session.__name__, line=line, session=session, limits=limits)


def _answers_later() -> AnswersLater:
    return AnswersLater(lambda: os.urandom(8).hex())


SESSION_MUTANTS = (
    _mutant(SharesItsLog, Line.OWN),
    _mutant(TellsTheWrongInput, Line.OWN),
    _mutant(EndsTwice, Line.TERMINAL),
    _mutant(GoesOnAfterTheEnd, Line.TERMINAL),
    _mutant(NeverEnds, Line.TERMINAL),
    _mutant(StartsTwice, Line.GRAMMAR),
    _mutant(SaysWhatIsNoEvent, Line.GRAMMAR),
    _mutant(MixesUpCalls, Line.TOOL_PAIRS),
    _mutant(LeavesCallsOpen, Line.TOOL_PAIRS),
    _mutant(UsesIdsTwice, Line.IDS),
    _mutant(RunsTwice, Line.REPEAT),
    _mutant(ForgetsCommands, Line.REPEAT),
    _mutant(MixesUpCommands, Line.CONFLICT),
    _mutant(RefusesAndRuns, Line.CONFLICT),
    _mutant(PromisesToCancel, Line.CANCEL),
    _mutant(ForgetsEndedRuns, Line.CANCEL_ENDED),
    _mutant(CancelsWhatIsLeft, Line.DISCONNECT),
    _mutant(ResumesTooEarly, Line.RESUME),
    _mutant(ResumesTooLate, Line.RESUME),
    _mutant(ResumesAnew, Line.RESUME),
    _mutant(ForgetsItsFirst, Line.FIRST),
    _mutant(GivesOneMore, Line.LAST),
    attrs.evolve(_mutant(WaitsForTheSlowest, Line.SLOW), journal=_answers_later),
    attrs.evolve(_mutant(LingersForTheSlowest, Line.SLOW), journal=_answers_later),
    _mutant(LeavesATask, Line.TASKS_BACK),
    _mutant(CountsRunsOnly, Line.RUNS_BACK),
)
