"""Holds and stops many idle actors in a process of its own: ``python -m tests.integration.runtime.many COUNT``.

Prints the process's resident MiB while they stand, and the CPU seconds that it took to stop them in random order.
"""

import json
import random
import sys
import time
from typing import Any

import trio

from benchmarks.samples import resident_kib
from callboard.runtime import Actor, ChildSpec, open_system


class Idle(Actor):
    """Waits for a message."""


class Nest(Actor):
    """Does what it is told to."""

    def on_receive(self, message: Any) -> Any:
        return message(self)


async def main(count: int) -> None:
    """Start them, look, stop them, look."""
    gone, left = trio.Event(), count

    def start(nest: Nest) -> None:
        for number in range(count):
            nest.start_child(ChildSpec(str(number), Idle))

    def one_gone() -> None:
        nonlocal left
        left -= 1
        if not left:
            gone.set()

    def stop(nest: Nest) -> None:
        order = list(range(count))
        random.Random(count).shuffle(order)
        for number in order:
            nest.stop_child(str(number), one_gone)

    async with open_system() as system:
        nest = await system.spawn(Nest, id="nest")
        await nest.ask_async(start)
        mib = resident_kib() / 1024
        before = time.process_time()
        await nest.ask_async(stop)
        await gone.wait()
        seconds = time.process_time() - before
        alive = len(system.statistics().actors)
    sys.stdout.write(json.dumps({"mib": mib, "seconds": seconds, "alive": alive}))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
