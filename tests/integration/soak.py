"""A soak: a real node under churn for as long as one likes, and whether all of it is back at the baseline afterwards.

    python -m tests.integration.soak --minutes 60       (or: make soak MINUTES=60)

Users come and go, with new sessions all the time; some of their sockets are cut, some read nothing while others of
their user have an agent talk, some are closed in order. It goes on in rounds. After a first round, which fills caches
and memory pools, and after the last one, all clients leave, and the node is asked once its sessions have left memory:
actors, registry, connections, tickets, timers and tasks have to be as they were, threads and descriptors too, and its
resident memory within a stated bound of what it was. Exit code 1 if something is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import trio
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration.boards import ask_http
from tests.integration.faults.strict_device import StrictDevice
from tests.integration.node_process import NodeProcess, node_process
from tests.integration.test_signals import port_of
from tests.transport.peer import Peer

__all__ = ["Soaked", "soak"]

# As many visits at the same time as keep two cores of a small machine busy, and leave it some air.
AT_ONCE = 12
WARM_UP_SECONDS = 20.0
# Sessions leave memory soon, so that the end of the soak shows what they leave behind.
LIMITS = {
    "idle_seconds": 2,
    "write_seconds": 1,
    "close_seconds": 1,
    "ticket_seconds": 5,
    "ticket_memory_seconds": 5,
    "connections_per_user": 8,
    "keep_alive_seconds": 1,
    "retained_seconds": 60,
}
# What may be added to the memory that the node had after the first round: a tenth, for what the allocator keeps, and
# what goes on filling up to bounds of its own: the page cache of the journal's writer (32 MiB, `CACHE_KIB`), the places
# of 20,000 sessions that it remembers (some 20 MB, `REMEMBERED`), and garbage below the collector's thresholds.
MEMORY_SHARE = 0.10
MEMORY_BYTES = 64 * 2**20
SETTLE_SECONDS = 60.0


@attrs.frozen
class Baseline:
    """What the node holds when nobody is there."""

    memory: int
    threads: int
    descriptors: int
    counts: dict[str, Any]


@attrs.frozen
class Soaked:
    """How a soak came out: what was done, and what the node held after the first round and at the end."""

    did: Counter[str]
    before: Baseline
    after: Baseline
    wrong: list[str]


class _Soak:
    def __init__(self, node: NodeProcess, folder: Path, rng: random.Random) -> None:
        self.port = port_of(node)
        self.pid = node.process.pid
        self.did: Counter[str] = Counter()
        self.wrong: list[str] = []
        text = (folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()
        self._key = OctKey.import_key(bytes.fromhex(text))
        self._rng = rng
        self._name = secrets.token_hex(4)

    def token(self, user: str, scope: str = "") -> str:
        return jwt.encode({"alg": "HS256"}, {"sub": user, "exp": 2**34, "scope": scope}, self._key)

    # -- churn --------------------------------------------------------------------------------------------------------

    async def churn(self, seconds: float) -> None:
        """Visits, so many at once, until the time is over; each comes to its end."""
        until = trio.current_time() + seconds

        async def visitor() -> None:
            while trio.current_time() < until:
                self.did["users"] += 1
                visit = self._rng.choice((self._talk, self._talk, self._be_cut, self._read_nothing, self._cancel))
                with trio.move_on_after(120) as scope:
                    await visit(f"soak-{self._name}-{self.did['users']}")
                if scope.cancelled_caught:
                    self.wrong.append(f"a visit hung: {visit.__name__}")

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(visitor)

    async def _ask(self, device: StrictDevice, text: str, agent: str) -> str:
        result = await device.command("user_message", {"text": text, "agent": agent})
        self.did["runs"] += 1
        run: str = result["ok"]["run"]
        return run

    async def _talk(self, user: str) -> None:
        devices = [StrictDevice(self.port, self.token(user)) for _ in range(self._rng.randint(1, 3))]
        async with trio.open_nursery() as nursery:
            for device in devices:
                nursery.start_soon(device.run)
            for number in range(self._rng.randint(1, 5)):
                agent = self._rng.choice(("steps", "steps", "fails", "talks"))
                run = await self._ask(devices[0], "20" if agent == "talks" else str(number), agent)
                for device in devices:
                    await device.news.until(lambda device=device, run=run: run in device.ended)  # type: ignore[misc]
            nursery.cancel_scope.cancel()
        self._left(devices)

    async def _be_cut(self, user: str) -> None:
        device = StrictDevice(self.port, self.token(user))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.run)
            run = await self._ask(device, "200", "talks")
            for _ in range(3):
                seen = device.applied
                await device.news.until(lambda seen=seen: device.applied > seen or run in device.ended)  # type: ignore[misc]
                device.cut()
                self.did["cuts"] += 1
            await device.news.until(lambda: run in device.ended)
            nursery.cancel_scope.cancel()
        self._left([device])

    async def _read_nothing(self, user: str) -> None:
        device = StrictDevice(self.port, self.token(user))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.run)
            await device.news.until(lambda: device.peer is not None)
            slow = await Peer.connect(self.port, receive_buffer=4_096)
            async with slow.stream:
                await slow.hello(await device.ticket(), "e" * 32)
                run = await self._ask(device, "500", "talks")
                await device.news.until(lambda: run in device.ended)
                self.did["slow readers"] += 1
            nursery.cancel_scope.cancel()
        self._left([device])

    async def _cancel(self, user: str) -> None:
        device = StrictDevice(self.port, self.token(user))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.run)
            run = await self._ask(device, "hold on", "waits")
            await device.command("cancel", {}, run=run)
            await device.news.until(lambda: run in device.ended)
            nursery.cancel_scope.cancel()
        self.did["cancelled"] += 1
        self._left([device])

    def _left(self, devices: list[StrictDevice]) -> None:
        for device in devices:
            self.did["records"] += len(device.records)
            self.did["connections"] += device.welcomes
            self.wrong += device.breaches

    # -- what is left -------------------------------------------------------------------------------------------------

    async def _report(self) -> dict[str, Any]:
        request = (
            "GET /v1/statistics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.token('soak', 'operator')}\r\n\r\n"
        )
        answer = await ask_http(self.port, request.encode())
        report: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return report

    async def baseline(self) -> Baseline:
        """Wait until nothing of any visit is left, and give what the node holds then."""
        until = trio.current_time() + SETTLE_SECONDS
        while True:
            report = await self._report()
            if _empty(report) or trio.current_time() > until:
                break
            await trio.sleep(0.5)
        if not _empty(report):
            self.wrong.append(f"after {SETTLE_SECONDS:g} s there is still something: {_counts(report)}")
        process = Path(f"/proc/{self.pid}")
        return Baseline(
            memory=int(report["process"]["memory_bytes"]),
            threads=len(os.listdir(process / "task")),
            descriptors=len(os.listdir(process / "fd")),
            counts=_counts(report),
        )


def _empty(report: dict[str, Any]) -> bool:
    # The one that asks is a connection itself.
    return not report["sessions"] and not report["tickets"] and report["connections"]["tcp"] == 1


def _counts(report: dict[str, Any]) -> dict[str, Any]:
    connections = report["connections"]
    return {
        "sessions": report["sessions"],
        "users": report["users"],
        "open runs": report["runs"]["open"],
        "connections": connections["open"],
        "tcp": connections["tcp"],
        "waiting bytes": connections["waiting_bytes"],
        "tickets": report["tickets"],
        "actors": report["actors_in_all"],
        "tasks": report["tasks"],
        "timers": report["timers"],
        "abandoned": report["abandoned"]["at_work"],
    }


def _compare(before: Baseline, after: Baseline) -> list[str]:
    wrong = [
        f"{name}: {before.counts[name]} after the first round, {after.counts[name]} at the end"
        for name in before.counts
        if before.counts[name] != after.counts[name]
    ]
    allowed = before.memory * (1 + MEMORY_SHARE) + MEMORY_BYTES
    if after.memory > allowed:
        wrong.append(f"memory: {after.memory:,} bytes at the end; {allowed:,.0f} are allowed after {before.memory:,}")
    # Threads that wait for work come and go; they are bounded by what the first round had at most.
    for what in ("threads", "descriptors"):
        was, now = getattr(before, what), getattr(after, what)
        if now > was + 2:
            wrong.append(f"{what}: {was} after the first round, {now} at the end")
    return wrong


async def soak(node: NodeProcess, folder: Path, seconds: float, rng: random.Random) -> Soaked:
    """Churn for so long, after a first round; then compare."""
    soaking = _Soak(node, folder, rng)
    await soaking.churn(min(WARM_UP_SECONDS, seconds))
    before = await soaking.baseline()
    soaking.did.clear()
    await soaking.churn(seconds)
    after = await soaking.baseline()
    return Soaked(soaking.did, before, after, soaking.wrong + _compare(before, after))


def soaked(seconds: float, seed: int) -> Soaked:
    """The same with a node of its own, and what came out on standard output."""
    with tempfile.TemporaryDirectory() as folder, node_process(Path(folder), limits=LIMITS) as node:
        outcome = trio.run(soak, node, Path(folder), seconds, random.Random(seed))
        traces = [line for line in node.lines if "Traceback" in line or " ERROR " in line]
    for name, value in sorted(outcome.did.items()):
        print(f"{value:>12,}  {name}")
    for name in ("memory", "threads", "descriptors"):
        was, now = getattr(outcome.before, name), getattr(outcome.after, name)
        print(f"{was:>12,}  {name} after the first round; {now:,} at the end")
    print(f"{'':>12}  held at the end: {outcome.after.counts}")
    outcome.wrong.extend(f"the node said: {line}" for line in traces[:10])
    return outcome


def main() -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long, after a first round of 20 seconds")
    parser.add_argument("--seed", type=int, default=None, help="who does what; drawn if not given")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"a soak of {arguments.minutes:g} minutes, seed {seed}", flush=True)
    outcome = soaked(60 * arguments.minutes, seed)
    for what in outcome.wrong[:20]:
        print(f"WRONG: {what}")
    print("all is back at the baseline" if not outcome.wrong else f"{len(outcome.wrong)} things are wrong")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
