"""The workers of a node under random programs, in virtual time: work is given, shared, lost and refused as promised."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import (
    AgentError,
    Assignment,
    BrokenRule,
    Ended,
    Limits,
    Message,
    Said,
    Worker,
    WorkerLost,
    Workers,
)
from callboard.runtime import open_system

LIMITS = Limits(worker_seconds=5, worker_wait_seconds=20, worker_queue=3, window_bytes=100)
OFFERS = {"w1": {"a": True}, "w2": {"a": False, "b": False}, "w3": {"b": True}}
CAPACITY = {"w1": 1, "w2": 2, "w3": 2}


class Line:
    """A connection that writes down what it is told."""

    def __init__(self) -> None:
        self.orders: list[Assignment] = []
        self.told: Counter[str] = Counter()
        self.acknowledged: list[int] = []

    def order(self, assignment: Assignment) -> None:
        self.orders.append(assignment)

    def acknowledge(self, assignment: Assignment, n: int) -> None:
        self.acknowledged.append(n)

    def refuse(self, assignment: Assignment, n: int, message: str) -> None:
        self.told["refuse"] += 1

    def cancel(self, run: str, attempt: int, reason: str) -> None:
        self.told[reason] += 1

    def supersede(self) -> None:
        self.told["supersede"] += 1


@attrs.define(eq=False)
class Job:
    """One run: what became of it."""

    agent: str
    assignment: Assignment | None = None
    error: str = ""
    waited: float = 0.0
    over: bool = False


class Machine:
    """Carries a program out, and looks after each step."""

    def __init__(self, workers: Workers, nursery: trio.Nursery) -> None:
        self.workers = workers
        self.nursery = nursery
        self.here: dict[str, tuple[Worker, Line]] = {}
        self.jobs: list[Job] = []

    async def step(self, step: tuple[str, Any]) -> None:
        match step:
            case ("come", id):
                line = Line()
                worker = self.workers.join(Worker(id, "lab", OFFERS[id], CAPACITY[id]), line)
                self.workers.resume(worker, [])
                self.here[id] = (worker, line)
            case ("leave" | "goodbye" as how, id):
                known = self.here.pop(id, None)
                if known is not None:
                    self.workers.left(*known, for_good=how == "goodbye")
            case ("run", agent):
                job = Job(agent)
                self.jobs.append(job)
                self.nursery.start_soon(self._run, job, f"run-{len(self.jobs)}")
            case ("end", which):
                at_work = [job for job in self.jobs if job.assignment is not None and not job.over]
                if at_work:
                    job = at_work[which % len(at_work)]
                    assert job.assignment is not None
                    job.over = True
                    (self.workers.finish if which % 2 else self.workers.release)(job.assignment)
            case ("pass", seconds):
                await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()
        self.look()

    async def _run(self, job: Job, run: str) -> None:
        began = trio.current_time()
        try:
            job.assignment = await self.workers.assign(Message("x", run, "s", "ada", job.agent), 1)
        except AgentError as error:
            job.error, job.waited = error.code, round(trio.current_time() - began, 6)
            return
        try:
            await job.assignment.next()
        except WorkerLost:
            job.over = True

    def look(self) -> None:
        """What holds whenever nothing moves."""
        mine: Counter[str] = Counter()
        for job in self.jobs:
            if job.assignment is not None and not job.over:
                worker = job.assignment.worker
                assert job.agent in worker.agents
                mine[worker.id] += 1
        for id, count in mine.items():
            assert count <= CAPACITY[id], "more than it takes"
        assert self.workers.assigned == sum(mine.values())
        waiting = [job for job in self.jobs if job.assignment is None and not job.error]
        assert len(waiting) == self.workers.waiting
        for agent in ("a", "b"):
            assert sum(job.agent == agent for job in waiting) <= LIMITS.worker_queue
        for job in waiting:
            free = [id for id in self.here if job.agent in OFFERS[id] and mine[id] < CAPACITY[id]]
            assert not free, f"a run waits although {free} have room"


ids = st.sampled_from(sorted(OFFERS))
steps = st.one_of(
    st.tuples(st.just("come"), ids),
    st.tuples(st.sampled_from(("leave", "goodbye")), ids),
    st.tuples(st.just("run"), st.sampled_from("ab")),
    st.tuples(st.just("run"), st.sampled_from("ab")),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sampled_from((0.1, 3.0, 5.0, 21.0))),
)


# S13 A12
@settings(max_examples=150)
@given(st.lists(steps, max_size=30))
async def test_work_goes_where_there_is_room(program: list[tuple[str, Any]]) -> None:
    """Red if a worker gets too much, a run waits beside a free one or for ever, or one is lost without a word."""
    async with open_system("test") as system, trio.open_nursery() as nursery:
        machine = Machine(Workers(LIMITS, ("a", "b"), system.timers.call_later), nursery)
        for step in program:
            await machine.step(step)
        for id in list(machine.here):
            await machine.step(("leave", id))
        await machine.step(("pass", 30.0))
        assert (len(machine.workers), machine.workers.assigned, machine.workers.waiting) == (0, 0, 0)
        assert all(job.over or job.error for job in machine.jobs)
        assert {job.waited for job in machine.jobs if job.error == "busy"} <= {0.0}
        assert {job.waited for job in machine.jobs if job.error == "no_worker"} <= {LIMITS.worker_wait_seconds}
        nursery.cancel_scope.cancel()


# S5 S13
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(1, 60), st.booleans()), max_size=40))
async def test_what_a_worker_says_is_taken_once_and_in_order(program: list[tuple[int, int, bool]]) -> None:
    """Red if a repetition is taken again, a hole is, or more than the window."""
    line = Line()
    worker = Worker("w", "lab", {"a": True}, 1)
    worker.line = line
    assignment = Assignment(Message("x", "r", "s", "ada", "a"), 1, worker, LIMITS.window_bytes)
    taken: list[int] = []
    unsettled: list[int] = []
    seen = 0
    for shift, size, settles in program:
        n = max(1, seen + 1 + shift)
        try:
            assignment.take(Said(n, "x.a", {}, size) if size % 2 else Ended(n, None, None, size))
        except BrokenRule:
            assert n > seen + 1 or (n == seen + 1 and sum(unsettled) > LIMITS.window_bytes)
        else:
            assert n <= seen or sum(unsettled) <= LIMITS.window_bytes
            if n == seen + 1:
                seen = n
                unsettled.append(size)
        if settles and unsettled:
            taken.append((await assignment.next()).n)
            assignment.settle(taken[-1])
            del unsettled[0]
            assert line.acknowledged[-1] == taken[-1]
    assert taken == [*range(1, len(taken) + 1)]
