"""The kernel's workloads with what asyncio itself offers: a task and a bounded queue for each actor."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from ..samples import Sample, Stopwatch, resident_kib
from .workload import BATCH, CAPACITY, CROWD, RING, TELLS, check, set_context, split

__all__ = ["ask", "fan_out", "memory", "ring", "spawn_stop", "tell", "tell_100", "tell_context"]

STOP = object()


class QueueActor:
    """A task that takes messages out of a queue."""

    def __init__(self) -> None:
        self._queue = asyncio.Queue[tuple[Any, asyncio.Future[Any] | None]](CAPACITY)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            message, answer = await self._queue.get()
            if message is STOP:
                return
            result = self.receive(message)
            # Whoever asked may have been cancelled meanwhile.
            if answer is not None and not answer.done():
                answer.set_result(result)

    def receive(self, message: Any) -> Any:
        raise NotImplementedError

    def tell(self, message: Any) -> None:
        self._queue.put_nowait((message, None))

    async def ask(self, message: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((message, answer))
        return await answer

    def stop(self) -> None:
        self._queue.put_nowait((STOP, None))


class Counter(QueueActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def receive(self, message: Any) -> int:
        self.count += 1
        return self.count


class Link(QueueActor):
    def __init__(self, ring: list[Link], number: int, finished: asyncio.Event) -> None:
        super().__init__()
        self.ring, self.next, self.finished = ring, (number + 1) % RING, finished

    def receive(self, message: int) -> None:
        if message:
            self.ring[self.next].tell(message - 1)
        else:
            self.finished.set()


class Worker(QueueActor):
    def receive(self, message: QueueActor) -> None:
        message.tell(None)


class Hub(QueueActor):
    def __init__(self, workers: list[Worker], rounds: int, finished: asyncio.Event) -> None:
        super().__init__()
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


async def stop(*actors: QueueActor) -> None:
    for actor in actors:
        actor.stop()
    for actor in actors:
        await actor.task


def tell(size: int) -> Sample:
    async def main() -> Sample:
        counter = Counter()
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, TELLS + 1)):
            for number in range(TELLS):
                counter.tell(number)
            count = await counter.ask(None)
        sample = watch.sample(count)
        check(split(size, TELLS + 1) * (TELLS + 1), count)
        await stop(counter)
        return sample

    return asyncio.run(main())


def tell_100(size: int) -> Sample:
    async def main() -> Sample:
        counters = [Counter() for _ in range(CROWD)]
        count = 0
        watch = Stopwatch()
        for _ in range(split(size, (TELLS + 1) * CROWD)):
            for number in range(TELLS):
                for counter in counters:
                    counter.tell(number)
            count = sum([await counter.ask(None) for counter in counters])
        sample = watch.sample(count)
        check(split(size, (TELLS + 1) * CROWD) * (TELLS + 1) * CROWD, count)
        await stop(*counters)
        return sample

    return asyncio.run(main())


def tell_context(size: int) -> Sample:
    set_context()
    return tell(size)


def ask(size: int) -> Sample:
    async def main() -> Sample:
        counter = Counter()
        count = 0
        watch = Stopwatch()
        for number in range(size):
            count = await counter.ask(number)
        sample = watch.sample(count)
        check(size, count)
        await stop(counter)
        return sample

    return asyncio.run(main())


def ring(size: int) -> Sample:
    async def main() -> Sample:
        finished = asyncio.Event()
        ring: list[Link] = []
        for number in range(RING):
            ring.append(Link(ring, number, finished))
        await asyncio.sleep(0)  # each has started
        watch = Stopwatch()
        ring[0].tell(size)
        await finished.wait()
        sample = watch.sample(size)
        await stop(*ring)
        return sample

    return asyncio.run(main())


def fan_out(size: int) -> Sample:
    async def main() -> Sample:
        finished = asyncio.Event()
        rounds = split(size, 2 * CROWD)
        workers = [Worker() for _ in range(CROWD)]
        hub = Hub(workers, rounds, finished)
        watch = Stopwatch()
        hub.tell(None)
        await finished.wait()
        sample = watch.sample(rounds * 2 * CROWD)
        await stop(hub, *workers)
        return sample

    return asyncio.run(main())


def spawn_stop(size: int) -> Sample:
    async def main() -> Sample:
        batches = split(size, BATCH)
        watch = Stopwatch()
        for _ in range(batches):
            counters = [Counter() for _ in range(BATCH)]
            await asyncio.sleep(0)  # each has started
            await stop(*counters)
        return watch.sample(batches * BATCH)

    return asyncio.run(main())


def memory(size: int) -> Sample:
    async def main() -> Sample:
        actors: list[Counter | None] = [None] * size
        gc.collect()
        before = resident_kib()
        watch = Stopwatch()
        for number in range(size):
            actors[number] = Counter()
        await asyncio.sleep(0)
        sample = watch.sample(size, (resident_kib() - before) / size)
        await stop(*[actor for actor in actors if actor is not None])
        return sample

    return asyncio.run(main())
