"""A storm over a random tree of actors: crashes, kills, stops, cancellations and time-outs at random moments.

Everything is drawn from one seed: the tree and its policies, what the clients do and when, how long each hook takes,
and the order in which trio takes its tasks. However it goes, afterwards no ask is unanswered, no message unaccounted
for, no actor stuck, no task or timer left, and nobody was restarted more often than is tolerated.

``python -m tests.runtime.storm SEED`` replays one, with its failures logged.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections import Counter
from random import Random
from typing import Any

import attrs
import pykka
import trio

from callboard.runtime import (
    Actor,
    ActorExited,
    ActorSystem,
    AskCycle,
    AskTimeout,
    Backoff,
    ChildSpec,
    DeadLetter,
    DeathReason,
    Killed,
    MailboxFull,
    NotRunning,
    Overflow,
    Ref,
    Refusal,
    Reply,
    Restart,
    RestartsExhausted,
    Strategy,
    Supervision,
    Timer,
    open_system,
)
from callboard.runtime.testing import frozen_clock, run, settle

__all__ = ["weather"]

KINDS = {
    "plain": 8,
    "sleep": 5,
    "ask": 5,
    "crash": 4,
    "sleep crash": 2,
    "refuse": 1,
    "kill": 1,
    "stop": 0.3,
    "stop now": 0.3,
    "stop child": 1,
    "start child": 1,
    "defer": 2,
}
# What a question may end with, beside its answer.
OUTCOMES = (pykka.ActorDeadError, MailboxFull, AskTimeout, AskCycle, Refusal, Killed)


class Thunder(Exception):
    """What actors of the storm raise."""


@attrs.frozen
class Order:
    """A message: who sent it as the how manieth to this actor, and what the handler is to do."""

    id: int
    sender: str
    kind: str
    seconds: float


class World:
    """What a storm is drawn from, and what it has done."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.refs: list[Ref[Any]] = []
        self.orders = 0
        self.accepted: set[int] = set()
        self.unsent: set[int] = set()
        self.begun: Counter[int] = Counter()
        self.buried: dict[int, list[DeathReason]] = {}
        self.inside: Counter[str] = Counter()
        self.heard: dict[tuple[str, str, int], int] = {}
        self.made: Counter[int] = Counter()
        self.restarted: dict[tuple[int, int], list[float]] = {}
        self.asks: Counter[str] = Counter()
        self.timers: list[Timer] = []
        self.problems: list[str] = []

    def order(self, sender: str) -> Order:
        """The next message of a sender."""
        self.orders += 1
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        return Order(self.orders, sender, kind, self.rng.choice([0.0, 0.5, 1.0, 4.0, 30.0]))

    def bury(self, letter: DeadLetter) -> None:
        """A dead letter."""
        if isinstance(letter.message, Order):
            self.buried.setdefault(letter.message.id, []).append(letter.reason)
            stopped = letter.reason is DeathReason.STOPPED
            if stopped and any(ref.path == letter.path and ref.is_alive() for ref in self.refs):
                self.problems.append(f"{letter}, but its receiver lives")

    def spec(self, id: str, depth: int) -> ChildSpec:
        """A random actor, with random children below."""
        rng = self.rng
        backoff = Backoff(0.5, factor=3, cap_seconds=4, jitter=rng.random()) if rng.random() < 0.3 else None
        policy = Supervision(rng.choice(list(Strategy)), rng.randrange(6), rng.choice([1.0, 5.0, 50.0]), backoff)
        children = [self.spec(str(n), depth - 1) for n in range(rng.randrange(4))] if depth else []
        restart = rng.choice([Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY])
        return ChildSpec(id, lambda: Cloud(self, policy, children), restart, rng.choice([0.0, 1.0, 5.0]))

    async def ask(self, ref: Ref[Any], sender: str) -> None:
        """Ask and see that it ends, once, with what an ask may end with."""
        order = self.order(sender)
        self.asks["begun"] += 1
        seconds = self.rng.choice([None, 0.5, 2.0, 10.0])
        outcome = "cancelled"
        with trio.move_on_after(self.rng.choice([0.25, 3.0, math.inf])):
            try:
                answer = await ref.ask_async(order, timeout_seconds=seconds)
                outcome = "answer"
                if answer != order.id:
                    self.problems.append(f"{order} was answered with {answer!r}")
            except (*OUTCOMES, Thunder) as error:
                outcome = type(error).__name__
            finally:
                self.asks[outcome] += 1
                self.asks["ended"] += 1

    def tell(self, ref: Ref[Any], sender: str) -> None:
        """Tell, and remember it if it was taken."""
        order = self.order(sender)
        try:
            if ref.tell_if_alive(order):
                self.accepted.add(order.id)
        except MailboxFull:
            pass


class Cloud(Actor):
    """Does what an order says, and writes down what it is given."""

    def __init__(self, world: World, policy: Supervision, children: list[ChildSpec]) -> None:
        self.mailbox_capacity = world.rng.choice([2, 20])  # type: ignore[misc]
        self.mailbox_overflow = world.rng.choice(list(Overflow))  # type: ignore[misc]
        super().__init__()
        self.world, self.specs = world, children
        self.supervision = policy  # type: ignore[misc]
        cell = self._cell
        if not cell.restarts:
            world.refs.append(cell.ref)
        elif cell.parent is not None and isinstance(cell.parent.actor, Cloud):
            world.restarted.setdefault((id(cell.parent.actor), id(cell)), []).append(trio.current_time())
            self._check_window(cell.parent.actor)
        world.made[id(cell)] += 1
        if world.made[id(cell)] != cell.restarts + 1:
            world.problems.append(f"{cell.path}: made {world.made[id(cell)]} times, restarted {cell.restarts} times")

    def _check_window(self, parent: Cloud) -> None:
        policy = parent.supervision
        if policy.strategy.together:
            return  # their restarts come some time after the failures that are counted
        now = trio.current_time()
        times = [
            at
            for (supervisor, child), all_times in self.world.restarted.items()
            if supervisor == id(parent) and (policy.strategy is Strategy.ONE_FOR_ONE or child == id(self._cell))
            for at in all_times
            if now - at < policy.period_seconds
        ]
        # A back-off of one child may begin before and end after another one's restart.
        if len(times) > policy.intensity and policy.backoff is None:
            self.world.problems.append(f"{self._cell.path}: restarted at {times} under {policy}")

    def on_start(self) -> Any:
        for spec in self.specs:
            self.start_child(spec)
        dice = self.world.rng.random()
        if dice < 0.2:
            return self._slow_start(dice < 0.05)
        if dice > 0.95 and self.restarts:
            raise Thunder("start")
        return None

    async def _slow_start(self, fails: bool) -> None:
        await trio.sleep(self.world.rng.choice([0.5, 3.0]))
        if fails:
            raise Thunder("slow start")

    def on_stop(self) -> Any:
        dice = self.world.rng.random()
        if dice < 0.3:
            return trio_sleep(self.world.rng.choice([0.5, 2.0, 60.0]))
        if dice > 0.9:
            raise Thunder("stop")
        return None

    def on_receive(self, order: Order) -> Any:
        world, path = self.world, self._cell.path
        world.begun[order.id] += 1
        world.inside[path] += 1
        if world.inside[path] != 1:
            world.problems.append(f"{path} handles two messages at a time")
        stream = (order.sender, path, id(self._cell))
        if world.heard.get(stream, 0) >= order.id:
            world.problems.append(f"{path} heard {order} after {world.heard[stream]}")
        world.heard[stream] = order.id
        if order.kind in ("sleep", "sleep crash", "ask"):
            return self._slowly(order)
        try:
            return self._at_once(order)
        finally:
            world.inside[path] -= 1

    def _at_once(self, order: Order) -> Any:
        match order.kind:
            case "crash":
                raise Thunder(order.id)
            case "refuse":
                raise Refusal(order.id)
            case "kill":
                self.actor_ref.kill()
            case "stop":
                self.stop()
            case "stop now":
                self.stop_now()
            case "stop child" if children := list(self.children()):
                self.stop_child(self.world.rng.choice(children))
            case "start child" if len(self.world.refs) < 60:
                self.start_child(self.world.spec(f"new {order.id}", 0))
            case "defer":
                reply: Reply[Any] = self.defer_reply()
                self.world.timers.append(self.system.timers.call_later(order.seconds, lambda: late(reply, order.id)))
        return order.id

    async def _slowly(self, order: Order) -> Any:
        try:
            await trio.sleep(order.seconds)
            if order.kind == "sleep crash":
                raise Thunder(order.id)
            if order.kind == "ask":
                await self.world.ask(self.world.rng.choice(self.world.refs), self._cell.path)
            return order.id
        finally:
            self.world.inside[self._cell.path] -= 1


def late(reply: Reply[Any], answer: int) -> None:
    """Answer a question that was put off, unless it has ended."""
    reply.offer(answer)


async def trio_sleep(seconds: float) -> None:
    """For plain hooks that are slow now and then."""
    await trio.sleep(seconds)


class Watcher(Actor):
    """Counts the deaths it is told of."""

    mailbox_capacity = 10_000

    def __init__(self, told: Counter[int]) -> None:
        super().__init__()
        self.told = told

    def on_receive(self, message: ActorExited) -> None:
        self.told[id(message.ref)] += 1


async def client(world: World, name: str, system: ActorSystem) -> None:
    """Somebody outside of the tree, who asks, tells, sends, kills and stops."""
    rng = world.rng
    for _ in range(rng.randrange(3, 9)):
        await trio.sleep(rng.choice([0.0, 0.0, 0.25, 1.0, 5.0]))
        ref = rng.choice(world.refs)
        dice = rng.random()
        if dice < 0.4:
            await world.ask(ref, name)
        elif dice < 0.8:
            world.tell(ref, name)
        elif dice < 0.9:
            order = world.order(name)
            with trio.move_on_after(rng.choice([0.5, math.inf])) as scope:
                try:
                    await ref.send(order)
                    world.accepted.add(order.id)
                except pykka.ActorDeadError:
                    pass
            if scope.cancelled_caught:
                world.unsent.add(order.id)
        elif dice < 0.97:
            ref.kill()
        else:
            with trio.move_on_after(rng.choice([0.5, math.inf])):
                await ref.stop(block=False)


async def storm(rng: Random) -> World:
    """One storm, to the end of its system."""
    world = World(rng)
    told: Counter[int] = Counter()
    before = trio.lowlevel.current_statistics().tasks_living
    systems: list[ActorSystem] = []
    quiet = rng.random() < 0.7
    try:
        async with trio.open_nursery() as nursery:  # noqa: SIM117 - clients see the end of the system
            async with open_system(slice_clock=frozen_clock, rng=Random(rng.random())) as system:
                systems.append(system)
                system.dead_letters.listen(world.bury)
                watcher = await system.spawn(lambda: Watcher(told), id="watcher")
                try:
                    spec = world.spec("tree", 2)
                    await system.spawn(spec.factory, id="tree", stop_seconds=spec.stop_seconds)
                except Thunder:
                    return world
                for ref in world.refs:
                    ref._cell.watch(watcher._cell, ref)
                watched = list(world.refs)
                for number in range(rng.randrange(1, 6)):
                    nursery.start_soon(client, world, f"client {number}", system)
                if not quiet:
                    await trio.sleep(rng.random() * 10)  # the end comes in the middle of everything
                else:
                    await trio.sleep(5_000)
                    await settle(system)
                    check_at_rest(world, system)
                    gone = Counter({id(ref): 1 for ref in watched if not ref.is_alive()})
                    if told != gone:
                        world.problems.append(f"watchers were told {told}, and {gone} are gone")
    except* (RestartsExhausted, NotRunning):
        pass  # given up to the caller: then the system has ended in order
    check_after_the_end(world, systems[0], before)
    return world


def check_at_rest(world: World, system: ActorSystem) -> None:
    """Every actor that is not gone has come back, and has handled what it was sent."""
    for actor in system.statistics().actors:
        if actor.state != "running" or actor.mailbox:
            world.problems.append(f"{actor} is stuck")
    if system.statistics().tasks or system.statistics().timers:
        world.problems.append(f"at rest there are {system.statistics().tasks} tasks, {system.timers} timers")


def check_after_the_end(world: World, system: ActorSystem, tasks: int) -> None:
    """Nothing is left, and everything is accounted for."""
    statistics = system.statistics()
    timers = statistics.timers - sum(timer.callback is not None for timer in world.timers)
    if statistics.actors or statistics.tasks or timers or system.waits._targets or system.waits.handlers:
        world.problems.append(f"left behind: {statistics} {system.waits._targets}")
    if trio.lowlevel.current_statistics().tasks_living > tasks:
        world.problems.append("tasks are left behind")
    if world.asks["begun"] != world.asks["ended"]:
        world.problems.append(f"asks: {world.asks}")
    for order, times in world.begun.items():
        if times > 1:
            world.problems.append(f"order {order} was handled {times} times")
    for order, reasons in world.buried.items():
        handled = order in world.begun
        if len(reasons) > 1 or handled != (reasons[0] in (DeathReason.CRASHED, DeathReason.INTERRUPTED)):
            world.problems.append(f"order {order}, {handled=}, is in dead letters as {reasons}")
    if sent := world.unsent & (world.begun.keys() | world.buried.keys()):
        world.problems.append(f"orders {sent} were sent although their senders were cancelled")
    lost = world.accepted - world.begun.keys() - world.buried.keys()
    if lost:
        world.problems.append(f"orders {lost} are lost")
    if any(world.inside.values()):
        world.problems.append(f"handlers that never ended: {+world.inside}")


def weather(seed: int) -> World:
    """The storm of that seed; raises AssertionError with all that went wrong, and how to see it again."""
    threads = threading.active_count()
    try:
        world = run(storm, Random(seed), seed=seed, limit_seconds=1_000_000.0)
    except BaseException as error:
        error.add_note(f"replay it with: python -m tests.runtime.storm {seed}")
        raise
    if threading.active_count() > threads:
        world.problems.append(f"threads are left behind: {threading.enumerate()}")
    told = "\n".join(world.problems)
    assert not told, f"the storm of seed {seed}:\n{told}\nreplay it with: python -m tests.runtime.storm {seed}"
    return world


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    logging.info("it passed: %s", weather(int(sys.argv[1])).asks)
