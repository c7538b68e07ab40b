"""The runs of a session at work: starting their agents, taking their events, and writing how each of them ends.

Each run's agent is a child of the session. When it dies, hangs or is cancelled, the one terminal event is written here,
open tool calls are closed before it, and no further event of that run is taken (law S6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pykka

from ..runtime import ActorExited, ChildSpec, Killed, Ref, Refusal, Restart, Timer
from .agent import RESERVED, Agent
from .errors import CommandRefused, EventRefused, GrammarError, InvalidEvent, RunEnded, UnknownRun
from .events import TERMINALS, TURNING, Event, Record
from .ledger import Ledger
from .messages import Message, Perform, Publish, RunOpened, RunsReported, RunTimedOut
from .runs import OpenRun, Runs
from .session_node import SessionNode
from .thread_agent import ThreadAgent

if TYPE_CHECKING:
    from .session import Session

__all__ = ["RunKeeper"]


@attrs.frozen(eq=False)
class _AtWork:
    """An agent, and the timer of its deadline."""

    agent: Ref[Any]
    timer: Timer


class RunKeeper:
    """Keeps the runs of one incarnation of a session.

    Args:
        session: the actor whose children the agents are.
        node: what the session has of its node.
        runs: the runs as the session's records tell them.
        ledger: says when an end is durable.
        record: gives an event its position.
        record_all: gives many their positions, where nobody wants to hear of each; None where somebody does.
        changed: called when runs or agents came or went.
    """

    def __init__(
        self,
        session: Session,
        node: SessionNode,
        runs: Runs,
        ledger: Ledger,
        *,
        record: Callable[[Event], Record],
        record_all: Callable[[Sequence[Event]], Sequence[int]] | None,
        changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._node = node
        self._limits = node.limits
        self._runs = runs
        self._ledger = ledger
        self._record = record
        self._record_all = record_all
        self._changed = changed
        # By run; also of runs that have ended, until the agent is gone.
        self._agents: dict[str, _AtWork] = {}
        # Runs of whose start the observer has heard, and not of their end.
        self._observed: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether runs are open, or agents are still there."""
        return bool(self._runs.open or self._agents)

    # -- how a run begins ---------------------------------------------------------------------------------------------

    def begin(self, text: str, agent: str) -> tuple[str, Record]:
        """Record that a run begins; gives its id, and the record. Raises CommandRefused."""
        limit = self._limits.runs
        if len(self._runs.open) >= limit:
            raise CommandRefused("busy", f"{limit} runs are open, which is the limit", retry=True)
        if len(self._agents) >= 2 * limit:
            # A run that was ended from outside leaves its agent to clean up; that must not pile up.
            raise CommandRefused("busy", "agents of ended runs have not stopped yet", retry=True)
        run = self._node.ids.run()
        try:
            event = self._event(f"{run}/0", "agent_started", run, {"agent": agent, "input": text, "by": "session"})
        except InvalidEvent as error:
            raise CommandRefused("bad_command", str(error)) from None
        record = self._record(event)
        self._runs.apply(event, record)
        self._changed()
        return run, record

    def start(self, run_id: str, text: str, name: str) -> None:
        """Start the agent of a run whose beginning is durable now."""
        run = self._runs.open.get(run_id)
        if run is None:
            return  # cancelled before its beginning was durable
        node, session = self._node, self._session

        def make() -> Agent:
            made = node.agents[name]()
            agent = ThreadAgent(made) if isinstance(made, pykka.ThreadingActor) else made
            if not isinstance(agent, Agent):
                raise TypeError(f"the factory of agent {name!r} made {type(agent).__name__}, which is no Agent")
            agent.prepare(node.registry(), self._limits)
            return agent

        self._observed.add(run_id)
        node.observer.run_started(run_id, session.key.id, name)
        try:
            # An agent that is stopped in order has nothing to drain: its run ends, and the session says how.
            ref = session.start_child(ChildSpec(run_id, make, Restart.TEMPORARY, stop_seconds=0.0))
        except Exception as error:  # noqa: BLE001 - the author's factory; a terminal event tells of it
            self._failed(run, error)
            return
        session.watch(ref)
        node.registry().notify(RunOpened(run_id, session.key, ref))
        me = session.actor_ref
        timer = session.system.timers.call_later(self._limits.run_seconds, lambda: me.notify(RunTimedOut(run_id)))
        self._agents[run_id] = _AtWork(ref, timer)
        history = self._runs.history(before=run_id)
        ref.tell(Perform(Message(text, run_id, session.key.id, session.key.user, name, history)))

    # -- what an agent says -------------------------------------------------------------------------------------------

    def publish(self, message: Publish) -> None:
        """Record what an agent says; `message` hears how much of it was taken, and why no more.

        Raises:
            RunEnded, UnknownRun, EventRefused: none of it was.
        """
        message.taken = True
        run = self._runs.open.get(message.run)
        if run is not None and self._record_all is not None and self._are_plain(run, message):
            run.last_n = message.first + len(message.events) - 1
            message.seqs = self._record_all(message.events)
            return
        message.seqs = seqs = []
        n = message.first
        for event in message.events:
            try:
                seqs.append(self._take(message.run, n, event).seq)
            except Refusal as refused:
                message.refused = refused
                if not seqs:
                    raise
                return
            n += 1

    def _are_plain(self, run: OpenRun, message: Publish) -> bool:
        """Whether these events follow what was said, and change nothing in how far their run has come."""
        grammar = run.grammar
        if message.first <= run.last_n or not grammar.started or grammar.ended:
            return False
        id = run.id
        for event in message.events:  # noqa: SIM110 - the generator of an `all` would cost more than the look
            if event.type in TURNING or event.run != id:
                return False
        return True

    def _take(self, run_id: str, n: int, event: Event) -> Record:
        run, type = self._runs.open.get(run_id), event.type
        if run is None:
            if self._runs.ended(run_id):
                raise RunEnded(f"run {run_id} has ended; {type} is not recorded")
            raise UnknownRun(f"run {run_id} is not one of this session; {type} is not recorded")
        if event.run != run_id or n <= run.last_n:
            raise EventRefused(f"{type} is number {n} of run {run_id}, after {run.last_n}")
        if type in RESERVED:
            raise EventRefused(f"{type} is said by the session, not by an agent")
        try:
            run.grammar.apply(type, event.call, event.tool)
        except GrammarError as error:
            raise EventRefused(str(error)) from None
        run.last_n = n
        record = self._record(event)
        self._runs.note(run, type, event.call, record)
        if type in TERMINALS:
            self._ended(run, type)
        return record

    def report(self) -> RunsReported:
        """The open runs that have agents."""
        runs = tuple((run, self._agents[run].agent) for run in self._runs.open if run in self._agents)
        return RunsReported(self._session.key.id, runs)

    # -- how a run ends -----------------------------------------------------------------------------------------------

    def cancel(self, run_id: str) -> int | None:
        """End a run because its user wants so; gives the seq of its terminal event, None if it has ended already.

        Raises:
            CommandRefused: it is not one of this session.
        """
        run = self._runs.open.get(run_id)
        if run is not None:
            return self._end(run, "agent_cancelled", {"by": "user", "reason": "cancelled by the user"})
        if self._runs.ended(run_id):
            return None
        raise CommandRefused("unknown_run", f"run {run_id[:80]!r} is not one of this session")

    def agent_gone(self, notice: ActorExited) -> None:
        """An agent is gone: if its run is open, it gets its terminal event."""
        run_id = notice.ref.path.rpartition("/")[2]
        at_work = self._agents.pop(run_id, None)
        if at_work is None:
            return  # of an earlier incarnation
        at_work.timer.cancel()
        run = self._runs.open.get(run_id)
        if run is not None:
            self._failed(run, notice.reason)
        self._changed()

    def timed_out(self, run_id: str) -> None:
        """A run's deadline has passed."""
        run = self._runs.open.get(run_id)
        if run is not None:
            text = f"the agent took longer than {self._limits.run_seconds:g} seconds"
            self._end(run, "agent_error", {"code": "deadline", "message": text})
        elif run_id in self._agents:
            self._agents[run_id].agent.kill()  # it has said its end, and does not come to it

    def end_all(self, code: str, text: str) -> None:
        """End all open runs with an error of the supervisor's."""
        for run in list(self._runs.open.values()):
            self._end(run, "agent_error", {"code": code, "message": text})

    def forsake(self) -> None:
        """This incarnation is over: what of it is not written by now, the next one writes."""
        for at_work in self._agents.values():
            at_work.timer.cancel()
        for run_id in sorted(self._observed):
            self._observe_end(run_id, "agent_error")

    def _failed(self, run: OpenRun, reason: BaseException | None) -> None:
        if isinstance(reason, Killed):
            code, text = "agent_killed", "the agent was killed"
        else:
            # The type only: what an exception says may be about anything, and not for this user's eyes.
            kind = "no exception" if reason is None else type(reason).__name__
            code, text = "agent_failed", f"the agent ended without a result ({kind})"
        self._end(run, "agent_error", {"code": code, "message": text})

    def _end(self, run: OpenRun, type: str, data: dict[str, Any]) -> int:
        """Write what ends a run from outside, and end its agent; gives the seq of the terminal event."""
        for call, tool in list(run.grammar.open_calls.items()):
            run.last_n += 1
            now = self._node.now_ms()
            closing = {
                "call": call,
                "tool": tool,
                "ok": False,
                "result": None,
                "duration_ms": max(0, now - run.started_ms.get(call, now)),
                "by": "supervisor",
            }
            event = self._event(f"{run.id}/{run.last_n}", "tool_completed", run.id, closing)
            self._runs.apply(event, self._record(event), tool)
        event = self._event(f"{run.id}/end", type, run.id, {"by": "supervisor", **data})
        record = self._record(event)
        self._runs.apply(event, record)
        if run.id in self._agents:
            self._agents[run.id].agent.kill()
        self._ended(run, type)
        return record.seq

    def _ended(self, run: OpenRun, terminal: str) -> None:
        self._ledger.when_durable(lambda error: self._observe_end(run.id, terminal) if error is None else None)
        self._changed()

    def _observe_end(self, run_id: str, terminal: str) -> None:
        if run_id in self._observed:
            self._observed.discard(run_id)
            self._node.observer.run_ended(run_id, self._session.key.id, terminal)

    def _event(self, id: str, type: str, run: str, data: dict[str, Any]) -> Event:
        # What a supervisor says is short, and has to fit however small the bound of what agents say is set.
        max_bytes = self._limits.event_bytes if type == "agent_started" else max(self._limits.event_bytes, 4_096)
        return Event.make(id, type, run, data, max_bytes=max_bytes, max_depth=self._limits.depth)
