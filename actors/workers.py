"""The workers of remote agents: which processes offer to do runs, which run is where, and who is waited for. No I/O.

A *worker* is a process elsewhere that does runs for this node. It names the agents that it has and how many runs it
takes at once. A run goes to the least loaded worker that has its agent; where none has room it waits, in a bounded
queue. Whoever speaks for a run in its session (`RemoteAgent`) holds an `Assignment`: what the worker says comes out of
it, in order, and what it is to be told goes in.

A worker whose connection is lost may come back within some seconds and goes on with what it had. After that it is gone
for good: its assignments are lost, and when it comes back nevertheless, what it still says of them is refused. Each
assignment has a number, its run's attempt, so that a stale worker is told from the one that took its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import attrs
import trio

from ..runtime import Timer
from .errors import AgentError
from .limits import Limits
from .messages import Message

__all__ = ["WINDOW", "Assignment", "BrokenRule", "Ended", "Said", "Worker", "WorkerLine", "WorkerLost", "Workers"]

# Events of one run that a worker may have sent and that are not acknowledged; as many as a local agent says in a row.
WINDOW = 64


class WorkerLost(Exception):
    """The worker of a run is gone for good."""


class BrokenRule(Exception):
    """A worker said what it may not; its connection ends."""


@attrs.frozen
class Said:
    """The n-th thing that a worker says of a run: an event."""

    n: int
    type: str
    data: dict[str, Any]
    size: int


@attrs.frozen
class Ended:
    """The last thing that a worker says of a run: its result, or an error with code and message."""

    n: int
    result: Any
    error: tuple[str, str] | None
    size: int


class WorkerLine(Protocol):
    """A worker's connection. All methods are plain, never wait, and never raise."""

    def order(self, assignment: Assignment) -> None:
        """Have this run done."""

    def acknowledge(self, assignment: Assignment, n: int) -> None:
        """What was said up to the n-th is settled."""

    def refuse(self, assignment: Assignment, n: int, message: str) -> None:
        """The n-th did not become a record."""

    def cancel(self, run: str, attempt: int, reason: str) -> None:
        """Nothing of this run is wanted any more: ``cancelled`` or ``fenced``."""

    def supersede(self) -> None:
        """The same worker has come on another connection."""


class Worker:
    """One process that does runs."""

    def __init__(self, id: str, service: str, agents: Mapping[str, bool], capacity: int) -> None:
        self.id = id
        self.service = service
        self.agents = agents
        """The names of the agents that it has, and whether a run of it may begin again elsewhere."""
        self.capacity = capacity
        self.assigned: dict[str, Assignment] = {}
        self.line: WorkerLine | None = None
        """Its connection; None while it is away."""
        self.away: Timer | None = None


class Assignment:
    """One attempt at a run, at one worker.

    Args:
        message: the run.
        attempt: counts from 1.
        worker: who does it.
        window_bytes: how much of what it said may wait for its acknowledgement, and one thing more.
    """

    def __init__(self, message: Message, attempt: int, worker: Worker, window_bytes: int) -> None:
        self.message = message
        self.attempt = attempt
        self.worker = worker
        self._window_bytes = window_bytes
        self._waiting: deque[Said | Ended] = deque()
        self._unsettled: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._seen = 0
        self._settled = 0
        self._lost = False
        self._changed = trio.Event()

    @property
    def restartable(self) -> bool:
        """Whether another worker may begin it again."""
        return self.worker.agents[self.message.agent]

    # -- for the connection -------------------------------------------------------------------------------------------

    def take(self, said: Said | Ended) -> None:
        """Take what the worker says; a repetition is acknowledged, and nothing else. Raises BrokenRule."""
        if said.n <= self._seen:
            if said.n <= self._settled and self.worker.line is not None:
                self.worker.line.acknowledge(self, self._settled)
            return
        if said.n != self._seen + 1:
            raise BrokenRule(f"number {said.n} of run {self.message.run} after {self._seen}")
        if len(self._unsettled) >= WINDOW or self._bytes > self._window_bytes:
            raise BrokenRule(f"more than {WINDOW} events, or {self._window_bytes} bytes, are not acknowledged")
        self._seen = said.n
        self._unsettled.append((said.n, said.size))
        self._bytes += said.size
        self._waiting.append(said)
        self._wake()

    def lose(self) -> None:
        """The worker is gone for good."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # -- for whoever speaks for the run -------------------------------------------------------------------------------

    async def next(self) -> Said | Ended:
        """The next thing that the worker says. Raises WorkerLost once all that came is taken."""
        while not self._waiting:
            if self._lost:
                raise WorkerLost(f"worker {self.worker.id} is gone")
            await self._changed.wait()
        return self._waiting.popleft()

    def settle(self, n: int) -> None:
        """All up to the n-th is durable, or was refused."""
        self._settled = n
        while self._unsettled and self._unsettled[0][0] <= n:
            self._bytes -= self._unsettled.popleft()[1]
        if self.worker.line is not None:
            self.worker.line.acknowledge(self, n)

    def refuse(self, n: int, message: str) -> None:
        """The n-th did not become a record."""
        if self.worker.line is not None:
            self.worker.line.refuse(self, n, message)


@attrs.define(eq=False)
class _Waiting:
    message: Message
    attempt: int
    came: trio.Event = attrs.field(factory=trio.Event)
    assignment: Assignment | None = None


class Workers:
    """All workers of a node.

    Args:
        limits: `workers`, `worker_seconds`, `worker_queue` and `worker_wait_seconds` are used.
        names: the agents that are remote here.
        later: calls a function so many seconds later.
    """

    def __init__(
        self, limits: Limits, names: Collection[str], later: Callable[[float, Callable[[], None]], Timer]
    ) -> None:
        self.names = frozenset(names)
        self._limits = limits
        self._later = later
        self._workers: dict[str, Worker] = {}
        self._waiting: dict[_Waiting, None] = {}

    def __len__(self) -> int:
        """How many workers there are, with those that are away for a moment."""
        return len(self._workers)

    @property
    def waiting(self) -> int:
        """Runs that wait for a worker."""
        return len(self._waiting)

    @property
    def assigned(self) -> int:
        """Runs that a worker has."""
        return sum(len(worker.assigned) for worker in self._workers.values())

    # -- for connections ----------------------------------------------------------------------------------------------

    def full_for(self, id: str) -> bool:
        """Whether a worker of this id finds no room."""
        return id not in self._workers and len(self._workers) >= self._limits.workers

    def owner(self, id: str) -> str | None:
        """Whose worker has this id; None if nobody's."""
        worker = self._workers.get(id)
        return None if worker is None else worker.service

    def join(self, worker: Worker, line: WorkerLine) -> Worker:
        """A worker has come, or come back: then it is the one that it was. Gives it; call `resume` next."""
        known = self._workers.get(worker.id)
        if known is None:
            self._workers[worker.id] = known = worker
        else:
            known.agents = {**known.agents, **worker.agents}
            known.capacity = worker.capacity
            if known.away is not None:
                known.away.cancel()
                known.away = None
            if known.line is not None:
                known.line.supersede()
        known.line = line
        return known

    def resume(self, worker: Worker, has: Iterable[tuple[str, int]]) -> None:
        """The worker was welcomed: order what it has not heard of, fence what it has no more, and give it work."""
        assert worker.line is not None
        has = set(has)
        for assignment in worker.assigned.values():
            if (assignment.message.run, assignment.attempt) not in has:
                worker.line.order(assignment)
        for run, attempt in sorted(has):
            if self.find(worker, run, attempt) is None:
                worker.line.cancel(run, attempt, "fenced")
        self._place_waiting()

    def find(self, worker: Worker, run: str, attempt: int) -> Assignment | None:
        """What this worker may speak for."""
        assignment = worker.assigned.get(run)
        return assignment if assignment is not None and assignment.attempt == attempt else None

    def left(self, worker: Worker, line: WorkerLine, *, for_good: bool) -> None:
        """A connection has ended; a worker that said goodbye does not come back."""
        if worker.line is not line:
            return  # it has another one
        worker.line = None
        if for_good:
            self._gone(worker)
        else:
            worker.away = self._later(self._limits.worker_seconds, lambda: self._gone(worker))

    def _gone(self, worker: Worker) -> None:
        if worker.line is None and self._workers.get(worker.id) is worker:
            del self._workers[worker.id]
            assigned, worker.assigned = worker.assigned, {}
            for assignment in assigned.values():
                assignment.lose()

    # -- for runs -----------------------------------------------------------------------------------------------------

    async def assign(self, message: Message, attempt: int) -> Assignment:
        """Give a run to a worker, waiting for one if need be.

        Raises:
            AgentError: too many wait already (``busy``), or nobody came in time (``no_worker``).
        """
        if sum(each.message.agent == message.agent for each in self._waiting) >= self._limits.worker_queue:
            raise AgentError("busy", f"{self._limits.worker_queue} runs wait for a worker already; try again later.")
        waiting = _Waiting(message, attempt)
        self._waiting[waiting] = None
        self._place_waiting()
        try:
            with trio.move_on_after(self._limits.worker_wait_seconds):
                await waiting.came.wait()
        except BaseException:
            if waiting.assignment is not None:
                self.release(waiting.assignment)
            raise
        finally:
            self._waiting.pop(waiting, None)
        if waiting.assignment is None:
            raise AgentError("no_worker", "nobody is there to do this now; try again later.")
        return waiting.assignment

    def release(self, assignment: Assignment) -> None:
        """Nothing more is wanted of an assignment: its worker, if it is at it still, is told."""
        worker, run = assignment.worker, assignment.message.run
        if worker.assigned.get(run) is assignment:
            del worker.assigned[run]
            if worker.line is not None:
                worker.line.cancel(run, assignment.attempt, "cancelled")
            self._place_waiting()

    def finish(self, assignment: Assignment) -> None:
        """The worker has said its last word of it, and that is durable."""
        worker, run = assignment.worker, assignment.message.run
        if worker.assigned.get(run) is assignment:
            del worker.assigned[run]
            self._place_waiting()

    def _place_waiting(self) -> None:
        for waiting in list(self._waiting):
            worker = self._least_loaded(waiting.message.agent)
            if worker is None or worker.line is None:
                continue
            del self._waiting[waiting]
            assignment = Assignment(waiting.message, waiting.attempt, worker, self._limits.window_bytes)
            worker.assigned[waiting.message.run] = waiting.assignment = assignment
            waiting.came.set()
            worker.line.order(assignment)

    def _least_loaded(self, agent: str) -> Worker | None:
        free = [
            worker
            for worker in self._workers.values()
            if worker.line is not None and agent in worker.agents and len(worker.assigned) < worker.capacity
        ]
        return min(free, key=lambda worker: len(worker.assigned) / worker.capacity, default=None)
