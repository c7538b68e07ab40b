"""`callboard simulate`: many seeds, or one step by step."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..simulation import Outcome, simulate
from .console import err, out

__all__ = ["run_one", "run_simulate"]

# Lines of the trace that are shown before the end of a run that failed; `--seed` shows all.
TRACE_LINES = 40
INTERRUPTED = 130


def run_simulate(first: int, count: int, *, keep_going: bool) -> int:
    """Run seeds; gives the exit code: 0 if all laws held in all of them, 1 if not.

    Args:
        first: the first seed.
        count: how many.
        keep_going: run the others too when one has failed.
    """
    logging.disable(logging.CRITICAL)  # a simulated world is full of failures, and all of them are meant
    began = time.monotonic()
    failed: list[Outcome] = []
    done = records = lives = 0
    with ExitStack() as stack:
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[rate]}[/]"),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        stack.enter_context(progress)
        bar = progress.add_task("simulating", total=count, rate="")
        try:
            for seed in range(first, first + count):
                outcome = simulate(seed, keep=TRACE_LINES)
                done += 1
                records += outcome.records
                lives += outcome.lives
                if outcome.wrong:
                    failed.append(outcome)
                    progress.console.print(f"[red]seed {seed}[/]: {escape(outcome.wrong[0])}", soft_wrap=True)
                    if not keep_going:
                        break
                rate = f"{done / (time.monotonic() - began):.1f} seeds/s, {len(failed)} failed"
                progress.update(bar, advance=1, rate=rate)
        except KeyboardInterrupt:
            err.print("[yellow]interrupted[/]")
            _summary(done, records, lives, failed, time.monotonic() - began)
            return INTERRUPTED
    if failed:
        _tell(failed[0], all_of_it=False)
    _summary(done, records, lives, failed, time.monotonic() - began)
    return 1 if failed else 0


def run_one(seed: int) -> int:
    """Run one seed and show every step; gives the exit code."""
    logging.disable(logging.CRITICAL)
    outcome = simulate(seed, keep=None)
    _tell(outcome, all_of_it=True)
    lives = "1 life" if outcome.lives == 1 else f"{outcome.lives} lives"
    verdict = "[red]failed[/]" if outcome.wrong else "[green]all laws held[/]"
    out.print(
        f"seed {seed}: {verdict}; {outcome.events} steps, {outcome.records} records, "
        f"{lives} of the node, digest {outcome.digest}",
        soft_wrap=True,
    )
    return 1 if outcome.wrong else 0


def _tell(outcome: Outcome, *, all_of_it: bool) -> None:
    for line in outcome.trace if all_of_it else outcome.trace[-TRACE_LINES:]:
        out.print(escape(line), soft_wrap=True)
    for wrong in outcome.wrong:
        out.print(f"[red]{escape(wrong)}[/]", soft_wrap=True)


def _summary(done: int, records: int, lives: int, failed: list[Outcome], seconds: float) -> None:
    rate = done / seconds
    told = f"{done:,} seeds, {records:,} records, {lives:,} lives of nodes in {seconds:.0f} s ({rate:.1f} seeds/s)"
    if failed:
        first = failed[0].seed
        out.print(
            f"[red]{len(failed)} failed[/] of {told}; the first is {first}: callboard simulate --seed {first}",
            soft_wrap=True,
        )
    else:
        out.print(f"[green]all laws held[/]: {told}", soft_wrap=True)
