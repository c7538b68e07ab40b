"""The load generator: a crowd of clients in a process of their own, which does as it is told on standard input.

``python -m benchmarks.sessions.load SPEC``: SPEC and each order are JSON maps, one a line, and so is each answer. An
answer has the seconds that the order took and the CPU that this process used for it. Whatever a client got that it
should not have, or missed, is the answer's `error`, and ends the process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from ..delivery.load import Tickets
from .clients import Device, Plain

__all__ = ["Crowd", "main", "percentiles"]

# At most one a second, says the protocol.
ACK_SECONDS = 1.0
# Connections that are being opened at the same time.
IN_FLIGHT = 128
# From an order to the first event's moment: what all clients need to say theirs.
LEAD_SECONDS = 1.0
# What is said to a client that does not read: more than the sockets of both ends hold.
STUCK_EVENTS = 5_000
# How often a session is made to fall.
FALL_SECONDS = 0.2


class Lost(Exception):
    """Something did not come, or came wrong."""


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """The usual ones, in milliseconds: the least value that so many parts of all are not above."""
    values = sorted(seconds)
    if not values:
        return {}
    at = {
        name: values[max(0, math.ceil(part * len(values)) - 1)]
        for name, part in (("p50 ms", 0.5), ("p99 ms", 0.99), ("p99.9 ms", 0.999), ("max ms", 1.0))
    }
    return {name: value * 1_000 for name, value in at.items()}


class Crowd:
    """All clients, and what they can be told to do: each method named in `ORDERS`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._ours: bool = spec["ours"]
        self._url: str = spec["url"]
        self._agent: str | None = spec.get("agent")
        self._checked = self._agent is None
        self._key: str = spec["key"]
        self._clients: list[Plain] = []
        self._tickets: Tickets | None = None
        self._where = ""
        self._acks = 0

    def _devices(self) -> list[Device]:
        return [client for client in self._clients if isinstance(client, Device)]

    async def tickets(self, number: int, first: int = 0) -> dict[str, float]:
        """Get a ticket for each of so many clients, one after the other on one connection, as `number` pages would."""
        while len(self._clients) < first + number:
            kind = Device if self._ours else Plain
            self._clients.append(kind(f"u{len(self._clients):05d}", checked=self._checked))
        if not self._ours:
            return {}
        if self._tickets is None:
            self._tickets = Tickets(self._url, self._key)
        for client in self._devices()[first : first + number]:
            self._where, client.ticket = self._tickets.take(client.name)
        return {}

    async def connect(self, number: int, first: int = 0, in_flight: int = IN_FLIGHT) -> dict[str, float]:
        """Connect so many clients, up to the welcome, `in_flight` of them at any moment."""
        waiting = iter(self._clients[first : first + number])
        took: list[float] = []

        async def some() -> None:
            for client in waiting:
                began = time.perf_counter()
                await self._connect(client)
                took.append(time.perf_counter() - began)

        await self._together(some() for _ in range(min(in_flight, number)))
        return percentiles(took)

    async def _connect(self, client: Plain) -> None:
        if self._ours:
            await client.connect(self._where, {"Sec-WebSocket-Protocol": "callboard.v1.json"})
        else:
            await client.connect(f"ws://{self._url}/{client.name}", {})
        if client.error is not None or client.closed is not None:
            raise Lost(client.error or f"{client.name} was closed with {client.closed}")

    async def pace(self, rate: float, count: int, first: int = 0, number: int | None = None) -> dict[str, float]:
        """Have `count` events said to each client, `rate` a second, at times that are fixed now."""
        clients = self._clients[first:] if number is None else self._clients[first : first + number]
        start = time.perf_counter() + LEAD_SECONDS
        for client in clients:
            client.latencies.clear()
        for index, client in enumerate(clients):
            client.order(f"pace {rate} {count} {start} {index}")
        goals = [client.got + count for client in clients]
        gc.collect()
        gc.freeze()
        async with _ticking(self._acknowledge):
            await self._together(client.until(goal) for client, goal in zip(clients, goals, strict=True))
        self._check(clients)
        # Whether the load was borne shows at the end: what falls behind does so more and more.
        last = [latency for client in clients for latency in client.latencies[-max(1, count // 10) :]]
        return percentiles(latency for client in clients for latency in client.latencies) | {
            "late ms": percentiles(last)["p50 ms"],
            "events": float(count * len(clients)),
        }

    async def say(self, count: int, first: int = 0, number: int | None = None) -> dict[str, float]:
        """Have each client's agent say so many events as fast as it can, to the end of its run."""
        clients = self._devices()[first:] if number is None else self._devices()[first : first + number]
        for client in clients:
            client.order(f"say {count}")
        await self._together(client.until_ended(client.ended + 1) for client in clients)
        self._check(clients)
        return {}

    async def cut(self) -> dict[str, float]:
        """Break all connections off at once."""
        for client in self._clients:
            client.cut()
        await asyncio.sleep(0)
        return {}

    async def resume(self, behind: int) -> dict[str, float]:
        """Connect all at once, each `behind` records back, and wait until all have caught up."""
        devices = self._devices()
        took: list[float] = []
        began = time.perf_counter()

        async def one(device: Device) -> None:
            device.start = {"epoch": device.epoch, "seq": device.applied - behind}
            goal = device.applied
            await self._connect(device)
            await device.caught_up()
            if device.applied < goal:
                raise Lost(device.error or f"{device.name} resumed and got {device.applied} of {goal}")
            took.append(time.perf_counter() - began)

        await self._together(one(device) for device in devices)
        self._check(devices)
        return percentiles(took)

    async def rest(self, seconds: float) -> dict[str, float]:
        """Do nothing but answer pings."""
        await asyncio.sleep(seconds)
        self._check(self._clients)
        return {}

    async def misbehave(self, stuck: int, seconds: float) -> dict[str, float]:
        """Let the first `stuck` clients stop reading, the next one crash its session again and again, one flood."""
        devices = self._devices()
        for device in devices[:stuck]:
            assert device.transport is not None
            device.transport.underlying_transport.pause_reading()
            device.order(f"say {STUCK_EVENTS}")
        crasher, flooder = devices[stuck], devices[stuck + 1]
        flooder.order(f"flood {seconds}")
        crasher.checked = False
        self._bad = asyncio.create_task(self._fall_again_and_again(crasher, time.perf_counter() + seconds))
        return {}

    async def _fall_again_and_again(self, device: Device, until: float) -> None:
        assert self._tickets is not None
        while time.perf_counter() < until:
            if device.closed is not None:
                _, device.ticket = self._tickets.take(device.name)
                await device.connect(self._where, {"Sec-WebSocket-Protocol": "callboard.v1.json"})
            if device.closed is None:
                device.command("fall", {})
            await asyncio.sleep(FALL_SECONDS)

    async def _together(self, works: Iterable[Awaitable[None]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(_as_coroutine(work))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _check(self, clients: Sequence[Plain]) -> None:
        for client in clients:
            if client.error is not None:
                raise Lost(client.error)
            if client.closed is not None and not client.leaving:
                raise Lost(f"{client.name} was closed with {client.closed}")

    def _acknowledge(self) -> None:
        for client in self._clients:
            client.acknowledge()


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


class _ticking:
    """Calls something once a second for the body of an ``async with``."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._tick())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS)
            self._call()


ORDERS = ("tickets", "connect", "pace", "say", "cut", "resume", "rest", "misbehave")


async def _run(spec: dict[str, Any]) -> int:
    crowd = Crowd(spec)
    loop = asyncio.get_running_loop()
    gc.disable()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        do = getattr(crowd, order.pop("do"))
        began, cpu = time.perf_counter(), time.process_time()
        try:
            answer = await do(**order)
        except Lost as lost:
            print(json.dumps({"error": str(lost)}), flush=True)
            return 1
        answer |= {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps(answer), flush=True)
    return 0


def main() -> int:
    """Do as told until standard input ends."""
    return asyncio.run(_run(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
