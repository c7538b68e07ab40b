"""The kernel's workloads as a user of callboard would write them, with the defaults of every class."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from callboard.runtime import Actor, ActorSystem, ChildSpec, Ref, open_system

from ..samples import Sample, Stopwatch, resident_kib
from .workload import BATCH, CROWD, RING, TELLS, check, set_context, split

__all__ = ["ask", "fan_out", "memory", "ring", "spawn_stop", "tell", "tell_100", "tell_context"]


class Counter(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        self.count += 1
        return self.count


class Link(Actor):
    def __init__(self, ring: list[Ref[Any]], number: int, finished: trio.Event) -> None:
        super().__init__()
        self.ring, self.next, self.finished = ring, (number + 1) % RING, finished

    def on_receive(self, message: int) -> None:
        if message:
            self.ring[self.next].tell(message - 1)
        else:
            self.finished.set()


class Worker(Actor):
    def on_receive(self, message: Ref[Any]) -> None:
        message.tell(None)


class Hub(Actor):
    def __init__(self, workers: list[Ref[Any]], rounds: int, finished: trio.Event) -> None:
        super().__init__()
        self.workers, self.rounds, self.finished = workers, rounds, finished
        self.waiting = 1

    def on_receive(self, message: None) -> None:
        self.waiting -= 1
        if self.waiting:
            return
        if not self.rounds:
            self.finished.set()
            return
        self.rounds -= 1
        self.waiting = len(self.workers)
        for worker in self.workers:
            worker.tell(self.actor_ref)


class Nest(Actor):
    """A supervisor that starts a batch of children and stops them, again and again."""

    def __init__(self, batches: int, finished: trio.Event) -> None:
        super().__init__()
        self.batches, self.finished = batches, finished
        self.gone = 0

    def on_receive(self, message: None) -> None:
        if not self.batches:
            self.finished.set()
            return
        self.batches -= 1
        self.gone = 0
        for number in range(BATCH):
            self.start_child(ChildSpec(f"{number}", Counter))
        for number in range(BATCH):
            self.stop_child(f"{number}", self.child_gone)

    def child_gone(self) -> None:
        self.gone += 1
        if self.gone == BATCH:
            self.actor_ref.tell(None)


def in_system(body: Callable[[ActorSystem], Awaitable[Sample]]) -> Sample:
    async def main() -> Sample:
        async with open_system("bench") as system:
            return await body(system)
        raise AssertionError("the system ended early")

    return trio.run(main)


def tell(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        counter = await system.spawn(Counter, id="counter")
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, TELLS + 1)):
            for number in range(TELLS):
                counter.tell(number)
            count = await counter.ask_async(None)
        sample = watch.sample(count)
        check(split(size, TELLS + 1) * (TELLS + 1), count)
        return sample

    return in_system(body)


def tell_100(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        counters = [await system.spawn(Counter, id=f"{number}") for number in range(CROWD)]
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, (TELLS + 1) * CROWD)):
            for number in range(TELLS):
                for counter in counters:
                    counter.tell(number)
            count = sum([await counter.ask_async(None) for counter in counters])
        sample = watch.sample(count)
        check(split(size, (TELLS + 1) * CROWD) * (TELLS + 1) * CROWD, count)
        return sample

    return in_system(body)


def tell_context(size: int) -> Sample:
    set_context()
    return tell(size)


def ask(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        counter = await system.spawn(Counter, id="counter")
        count = 0
        watch = Stopwatch()
        for number in range(size):
            count = await counter.ask_async(number)
        sample = watch.sample(count)
        check(size, count)
        return sample

    return in_system(body)


def ring(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        finished = trio.Event()
        ring: list[Ref[Any]] = []
        for number in range(RING):
            ring.append(await system.spawn(partial(Link, ring, number, finished), id=f"{number}"))
        watch = Stopwatch()
        ring[0].tell(size)
        await finished.wait()
        return watch.sample(size)

    return in_system(body)


def fan_out(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        finished = trio.Event()
        rounds = split(size, 2 * CROWD)
        workers = [await system.spawn(Worker, id=f"{number}") for number in range(CROWD)]
        hub = await system.spawn(lambda: Hub(workers, rounds, finished), id="hub")
        watch = Stopwatch()
        hub.tell(None)
        await finished.wait()
        return watch.sample(rounds * 2 * CROWD)

    return in_system(body)


def spawn_stop(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        finished = trio.Event()
        batches = split(size, BATCH)
        nest = await system.spawn(lambda: Nest(batches, finished), id="nest")
        watch = Stopwatch()
        nest.tell(None)
        await finished.wait()
        return watch.sample(batches * BATCH)

    return in_system(body)


def memory(size: int) -> Sample:
    async def body(system: ActorSystem) -> Sample:
        refs: list[Ref[Any] | None] = [None] * size
        gc.collect()
        before = resident_kib()
        watch = Stopwatch()
        for number in range(size):
            refs[number] = await system.spawn(Counter, id=f"{number}")
        return watch.sample(size, (resident_kib() - before) / size)

    return in_system(body)
