"""The kernel's workloads with what trio itself offers: a task in a nursery and a memory channel for each actor.

It is what one writes without an actor library: a bounded channel, a loop that takes messages out, an answer in an
event. No supervision, no death notices, no cancellation that travels.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..samples import Sample, Stopwatch, resident_kib
from .workload import BATCH, CAPACITY, CROWD, RING, TELLS, check, set_context, split

__all__ = ["ask", "fan_out", "memory", "ring", "spawn_stop", "tell", "tell_100", "tell_context"]


class Answer:
    """Where an answer is put and waited for."""

    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value
        self.event.set()

    async def wait(self) -> Any:
        await self.event.wait()
        return self.value


class ChannelActor:
    """A task that takes messages out of a channel."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._into, self._out_of = trio.open_memory_channel[tuple[Any, Answer | None]](CAPACITY)
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        async for message, answer in self._out_of:
            result = self.receive(message)
            if answer is not None:
                answer.set(result)

    def receive(self, message: Any) -> Any:
        raise NotImplementedError

    def tell(self, message: Any) -> None:
        self._into.send_nowait((message, None))

    async def ask(self, message: Any) -> Any:
        answer = Answer()
        self._into.send_nowait((message, answer))
        return await answer.wait()

    def stop(self) -> None:
        self._into.close()


class Counter(ChannelActor):
    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.count = 0

    def receive(self, message: Any) -> int:
        self.count += 1
        return self.count


class Link(ChannelActor):
    def __init__(self, nursery: trio.Nursery, ring: list[Link], number: int, finished: trio.Event) -> None:
        super().__init__(nursery)
        self.ring, self.next, self.finished = ring, (number + 1) % RING, finished

    def receive(self, message: int) -> None:
        if message:
            self.ring[self.next].tell(message - 1)
        else:
            self.finished.set()


class Worker(ChannelActor):
    def receive(self, message: ChannelActor) -> None:
        message.tell(None)


class Hub(ChannelActor):
    def __init__(self, nursery: trio.Nursery, workers: list[Worker], rounds: int, finished: trio.Event) -> None:
        super().__init__(nursery)
        self.workers, self.rounds, self.finished = workers, rounds, finished
        self.waiting = 1

    def receive(self, message: None) -> None:
        self.waiting -= 1
        if self.waiting:
            return
        if not self.rounds:
            self.finished.set()
            return
        self.rounds -= 1
        self.waiting = len(self.workers)
        for worker in self.workers:
            worker.tell(self)


def in_nursery(body: Callable[[trio.Nursery], Awaitable[Sample]]) -> Sample:
    async def main() -> Sample:
        async with trio.open_nursery() as nursery:
            sample = await body(nursery)
            nursery.cancel_scope.cancel()
        return sample

    return trio.run(main)


def tell(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        counter = Counter(nursery)
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, TELLS + 1)):
            for number in range(TELLS):
                counter.tell(number)
            count = await counter.ask(None)
        sample = watch.sample(count)
        check(split(size, TELLS + 1) * (TELLS + 1), count)
        return sample

    return in_nursery(body)


def tell_100(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        counters = [Counter(nursery) for _ in range(CROWD)]
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, (TELLS + 1) * CROWD)):
            for number in range(TELLS):
                for counter in counters:
                    counter.tell(number)
            count = sum([await counter.ask(None) for counter in counters])
        sample = watch.sample(count)
        check(split(size, (TELLS + 1) * CROWD) * (TELLS + 1) * CROWD, count)
        return sample

    return in_nursery(body)


def tell_context(size: int) -> Sample:
    set_context()
    return tell(size)


def ask(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        counter = Counter(nursery)
        count = 0
        watch = Stopwatch()
        for number in range(size):
            count = await counter.ask(number)
        sample = watch.sample(count)
        check(size, count)
        return sample

    return in_nursery(body)


def ring(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        finished = trio.Event()
        ring: list[Link] = []
        for number in range(RING):
            ring.append(Link(nursery, ring, number, finished))
        await trio.lowlevel.checkpoint()  # each has started
        watch = Stopwatch()
        ring[0].tell(size)
        await finished.wait()
        return watch.sample(size)

    return in_nursery(body)


def fan_out(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        finished = trio.Event()
        rounds = split(size, 2 * CROWD)
        workers = [Worker(nursery) for _ in range(CROWD)]
        hub = Hub(nursery, workers, rounds, finished)
        watch = Stopwatch()
        hub.tell(None)
        await finished.wait()
        return watch.sample(rounds * 2 * CROWD)

    return in_nursery(body)


def spawn_stop(size: int) -> Sample:
    async def main() -> Sample:
        batches = split(size, BATCH)
        watch = Stopwatch()
        for _ in range(batches):
            async with trio.open_nursery() as nursery:
                counters = [Counter(nursery) for _ in range(BATCH)]
                await trio.lowlevel.checkpoint()  # each has started
                for counter in counters:
                    counter.stop()
        return watch.sample(batches * BATCH)

    return trio.run(main)


def memory(size: int) -> Sample:
    async def body(nursery: trio.Nursery) -> Sample:
        actors: list[Counter | None] = [None] * size
        gc.collect()
        before = resident_kib()
        watch = Stopwatch()
        for number in range(size):
            actors[number] = Counter(nursery)
        await trio.lowlevel.checkpoint()  # each has started
        return watch.sample(size, (resident_kib() - before) / size)

    return in_nursery(body)
