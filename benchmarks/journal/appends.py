"""``python -m benchmarks appends``: how many appends a journal takes, and how late the answer to one comes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import rich_click as click
import trio

from callboard.actors import Appended, Batch, Journal, MemoryJournal, Opened, SessionKey, SqliteJournal

from ..machine import version_of
from ..options import Settings, common, run
from ..samples import Sample, Stopwatch
from ..sessions.load import percentiles
from ..trials import Case, Contender, Scenario, Trial
from ..worker import measure_in_process
from .layouts import EPOCH, folder, record

__all__ = ["append", "command"]

JOURNALS = {
    "memory": "MemoryJournal",
    "process": "SqliteJournal; records outlive the process",
    "power": "SqliteJournal; each commit is synced to the disk",
}
BATCHES = (1, 8, 64)
SESSIONS = (1, 100)
# Appends of one measurement.
APPENDS = 20_000
# Appends in one moment: the latency's load is given in steps of this, each append with its own time.
TICK_SECONDS = 0.001


@click.command("appends")
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, help="Records.  [default: 1, 8, 64]")
@click.option("--sessions", "numbers", type=click.IntRange(1), multiple=True, help="[default: 1, 100]")
@common
def command(settings: Settings, batches: tuple[int, ...], numbers: tuple[int, ...]) -> None:
    """Measure appends through the journal's port, from trio: in memory, in a file, in a file that is synced.

    First with an append of each session in flight at any moment, which gives the rate. Then at half of that rate (by
    the clock) in an open loop, which gives the latencies: each counts from when its append was to be made.
    """
    size = 200 if settings.quick else APPENDS
    collector = settings.collectors[0]
    trials = [
        Trial(
            Case(f"{batch} a batch, {number} sessions" if number > 1 else f"{batch} a batch, 1 session", "records", ""),
            Contender(name, meaning, partial(version_of, "apsw" if name != "memory" else "callboard")),
            partial(
                measure_in_process,
                "benchmarks.journal.appends",
                f"append:{name}:{batch}:{number}",
                size,
                collector,
                settings.deadline_seconds,
            ),
            {"appends": size, "gc": collector},
        )
        for number in numbers or SESSIONS
        for batch in batches or BATCHES
        for name, meaning in JOURNALS.items()
    ]
    run(Scenario("appends", "Appends: the journal's port", trials), settings)


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Journal]:
    """A journal of that name, new and empty."""
    if name == "memory":
        yield MemoryJournal(lambda: EPOCH)
        return
    with folder() as path:
        journal = await SqliteJournal.start(
            path / "journal.db",
            new_epoch=lambda: EPOCH,
            now_ms=lambda: 0,
            durability="power" if name == "power" else "process",
        )
        try:
            yield journal
        finally:
            await journal.aclose()


class Writers:
    """Sessions that append, and what they were answered."""

    def __init__(self, journal: Journal, per_append: int) -> None:
        self._journal = journal
        self._per_append = per_append
        self._opened: list[Opened] = []
        self.heads: list[int] = []
        self.answered = 0
        self._wanted = 0
        self._all = trio.Event()

    async def open(self, number: int) -> None:
        """Open so many sessions."""
        self._opened = [await self._journal.open(SessionKey(f"user{each}")) for each in range(number)]
        self.heads = [0] * number

    def append(self, session: int, then: Callable[[], None]) -> None:
        """Append to a session, and call `then` when that is durable."""
        first = self.heads[session] + 1
        self.heads[session] += self._per_append
        batch = Batch(tuple(record(first + each) for each in range(self._per_append)))

        def done(outcome: Appended | BaseException) -> None:
            assert isinstance(outcome, Appended), outcome
            self.answered += 1
            then()
            if self.answered == self._wanted:
                self._all.set()

        self._journal.append(self._opened[session].token, first, batch, done)

    async def until(self, answered: int) -> None:
        """Wait until so many appends are durable."""
        self._wanted, self._all = answered, trio.Event()
        if self.answered < answered:
            await self._all.wait()


def append(name: str, per_append: str, sessions: str, size: int) -> Sample:
    """Append `size` times, in this process."""

    async def work() -> Sample:
        async with opened(name) as journal:
            number = int(sessions)
            writers = Writers(journal, int(per_append))
            await writers.open(number)
            each = max(1, size // number)
            watch = Stopwatch()
            async with trio.open_nursery() as nursery:
                for session in range(number):
                    nursery.start_soon(_one_after_the_other, writers, session, each)
            sample = watch.sample(each * number * int(per_append))
            late = await _at_a_rate(writers, number, each * number, each * number / sample.wall_seconds / 2)
            for session, head in enumerate(writers.heads):
                found = (await journal.open(SessionKey(f"user{session}"))).head
                assert found == head, f"session {session} has {found} records, not {head}"
        details = percentiles(late)
        return Sample(sample.count, sample.wall_seconds, sample.cpu_seconds, None, details)

    return trio.run(work)


async def _one_after_the_other(writers: Writers, session: int, number: int) -> None:
    for _ in range(number):
        durable = trio.Event()
        writers.append(session, durable.set)
        await durable.wait()


async def _at_a_rate(writers: Writers, sessions: int, number: int, rate: float) -> list[float]:
    """Appends at times that are fixed now; gives how long after its time each was durable."""
    late: list[float] = []
    start = time.perf_counter() + TICK_SECONDS
    made, goal = 0, writers.answered + number
    while made < number:
        now = time.perf_counter()
        while made < number and (moment := start + made / rate) <= now:
            writers.append(made % sessions, partial(_note, late, moment))
            made += 1
        await trio.sleep(TICK_SECONDS)
    await writers.until(goal)
    return late


def _note(late: list[float], moment: float) -> None:
    late.append(time.perf_counter() - moment)
