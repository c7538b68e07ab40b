"""The kernel's workloads on stock pykka: a `ThreadingActor` each, a thread per actor."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pykka

from ..samples import Sample, Stopwatch, resident_kib
from .workload import BATCH, CROWD, RING, TELLS, check, set_context, split

__all__ = ["ask", "fan_out", "memory", "ring", "spawn_stop", "tell", "tell_100", "tell_context"]


class Counter(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        self.count += 1
        return self.count


class Link(pykka.ThreadingActor):
    def __init__(self, ring: list[pykka.ActorRef[Any]], number: int, finished: threading.Event) -> None:
        super().__init__()
        self.ring, self.next, self.finished = ring, (number + 1) % RING, finished

    def on_receive(self, message: int) -> None:
        if message:
            self.ring[self.next].tell(message - 1)
        else:
            self.finished.set()


class Worker(pykka.ThreadingActor):
    def on_receive(self, message: pykka.ActorRef[Any]) -> None:
        message.tell(None)


class Hub(pykka.ThreadingActor):
    def __init__(self, workers: list[pykka.ActorRef[Any]], rounds: int, finished: threading.Event) -> None:
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


def stop(*refs: pykka.ActorRef[Any]) -> int:
    """Stop them all and wait until they have stopped; how many were alive."""
    return sum(future.get() for future in [ref.stop(block=False) for ref in refs])


def tell(size: int) -> Sample:
    counter = Counter.start()
    count: Any = 0
    watch = Stopwatch()
    for _ in range(split(size, TELLS + 1)):
        for number in range(TELLS):
            counter.tell(number)
        count = counter.ask(None)
    sample = watch.sample(count)
    check(split(size, TELLS + 1) * (TELLS + 1), count)
    stop(counter)
    return sample


def tell_100(size: int) -> Sample:
    counters = [Counter.start() for _ in range(CROWD)]
    count: Any = 0
    watch = Stopwatch()
    for _ in range(split(size, (TELLS + 1) * CROWD)):
        for number in range(TELLS):
            for counter in counters:
                counter.tell(number)
        count = sum([counter.ask(None) for counter in counters])
    sample = watch.sample(count)
    check(split(size, (TELLS + 1) * CROWD) * (TELLS + 1) * CROWD, count)
    stop(*counters)
    return sample


def tell_context(size: int) -> Sample:
    set_context()
    return tell(size)


def ask(size: int) -> Sample:
    counter = Counter.start()
    count: Any = 0
    watch = Stopwatch()
    for number in range(size):
        count = counter.ask(number)
    sample = watch.sample(count)
    check(size, count)
    stop(counter)
    return sample


def ring(size: int) -> Sample:
    finished = threading.Event()
    ring: list[pykka.ActorRef[Any]] = []
    for number in range(RING):
        ring.append(Link.start(ring, number, finished))
    watch = Stopwatch()
    ring[0].tell(size)
    finished.wait()
    sample = watch.sample(size)
    stop(*ring)
    return sample


def fan_out(size: int) -> Sample:
    finished = threading.Event()
    rounds = split(size, 2 * CROWD)
    workers = [Worker.start() for _ in range(CROWD)]
    hub = Hub.start(workers, rounds, finished)
    watch = Stopwatch()
    hub.tell(None)
    finished.wait()
    sample = watch.sample(rounds * 2 * CROWD)
    stop(hub, *workers)
    return sample


def spawn_stop(size: int) -> Sample:
    batches = split(size, BATCH)
    watch = Stopwatch()
    for _ in range(batches):
        check(BATCH, stop(*[Counter.start() for _ in range(BATCH)]))
    return watch.sample(batches * BATCH)


def memory(size: int) -> Sample:
    refs: list[pykka.ActorRef[Any] | None] = [None] * size
    gc.collect()
    before = resident_kib()
    watch = Stopwatch()
    for number in range(size):
        refs[number] = Counter.start()
    sample = watch.sample(size, (resident_kib() - before) / size)
    stop(*[ref for ref in refs if ref is not None])
    return sample
