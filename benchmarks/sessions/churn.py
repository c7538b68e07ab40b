"""``python -m benchmarks churn``: sessions that come, are used, and go."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import rich_click as click
import trio

import callboard
from callboard import Agent

from ..contenders import CALLBOARD
from ..options import Settings, common, run
from ..samples import Sample, Stopwatch, resident_kib
from ..trials import Case, Scenario, Trial
from ..worker import measure_in_process
from .verdict import say_target

__all__ = ["command", "visits"]

CASE = Case("come, be used, go", "sessions", "started from the journal, given an event, passivated")
# Users who come again and again: whoever is back has a history.
USERS = 500
TARGET_KIB = 0.05


@click.command("churn")
@click.option("--sessions", type=click.IntRange(2), default=40_000, show_default=True, help="Visits in all.")
@common
def command(settings: Settings, sessions: int) -> None:
    """Measure sessions started, used and passivated, and whether memory stays where it is.

    500 users come, each session is started from the journal on disk and given an event, which is durable before the
    next; all idle out; and they come again. The growth of memory is that of the second half, for each visit.
    """
    sessions = 2 * USERS if settings.quick else sessions
    collector = settings.collectors[-1]
    measure = partial(
        measure_in_process, "benchmarks.sessions.churn", "visits", sessions, collector, settings.deadline_seconds
    )
    seen = run(
        Scenario("churn", "Churn: sessions that come and go", [Trial(CASE, CALLBOARD, measure, {"gc": collector})]),
        settings,
    )
    growth = [result.sample.details["KiB grown a visit"] for result in seen.results]
    say_target(seen, "memory grown a visit", growth, TARGET_KIB, unit=" KiB")


class Silent(Agent):
    """Nobody asks it anything."""

    async def run(self, message: object) -> str:
        """Say nothing."""
        return ""


def visits(size: int) -> Sample:
    """So many visits, in this process."""

    async def work(folder: Path) -> Sample:
        limits = callboard.Limits(idle_seconds=0.1)
        async with callboard.open(agents={"silent": Silent}, journal=folder / "journal.db", limits=limits) as board:
            rounds = max(2, size // USERS)
            watch, half = Stopwatch(), 0.0
            for number in range(rounds):
                if number == rounds // 2:
                    half = resident_kib()
                for user in range(USERS):
                    position = await board.publish(f"u{user}", "x.visit", {"number": number})
                    assert position.seq == number + 1, f"visit {number} of u{user} is record {position.seq}"
                while (await board.report())["sessions"]:  # noqa: ASYNC110 - from outside there is no other way
                    await trio.sleep(0.02)
            sample = watch.sample(rounds * USERS)
            grown = (resident_kib() - half) / ((rounds - rounds // 2) * USERS)
        return Sample(sample.count, sample.wall_seconds, sample.cpu_seconds, None, {"KiB grown a visit": grown})

    with TemporaryDirectory(dir=Path(__file__).parent) as name:
        return trio.run(work, Path(name))
