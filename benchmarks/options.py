"""What every scenario takes on the command line, and the way from there to table and plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import rich_click as click
from rich.console import Console

from .report import draw, show
from .rounds import Run, perform
from .trials import Scenario
from .worker import COLLECTOR_SETTINGS

__all__ = ["Settings", "common", "run"]


@attrs.frozen
class Settings:
    """The options that all scenarios share."""

    quick: bool
    rounds: int
    clock: str
    collectors: tuple[str, ...]
    deadline_seconds: float
    out: Path
    json_lines: bool


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all scenarios share; the command gets them as `settings`."""
    options = (
        click.option("--quick", is_flag=True, help="A smoke test: tiny sizes, one round. Its figures mean nothing."),
        click.option(
            "--rounds", type=click.IntRange(min=1), help="How often each is measured.  [default: 3; quick: 1]"
        ),
        click.option(
            "--clock",
            type=click.Choice(["cpu", "wall"]),
            default="cpu",
            show_default=True,
            help="What rates are counted by; the JSON lines have both. CPU time bears a noisy machine better.",
        ),
        click.option(
            "--gc",
            "collectors",
            type=click.Choice([*COLLECTOR_SETTINGS, "both"]),
            help="Python's collector as it comes, or tuned as `callboard serve` does, for all Python contenders "
            "alike.  [default: both; quick: default]",
        ),
        click.option(
            "--deadline",
            "deadline_seconds",
            type=click.FloatRange(min=1),
            default=300.0,
            show_default=True,
            help="Seconds for one measurement; then it is killed and counts as a failure.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("benchmarks/results"),
            show_default=True,
            help="Where NAME.jsonl, NAME.png and NAME.svg go.",
        ),
        click.option("--json", "json_lines", is_flag=True, help="Print the JSON lines instead of the table."),
    )

    def wrapped(quick: bool, rounds: int | None, collectors: str | None, clock: str, **others: Any) -> Any:
        chosen = collectors or ("default" if quick else "both")
        settings = Settings(
            quick=quick,
            rounds=rounds or (1 if quick else 3),
            clock=clock,
            collectors=COLLECTOR_SETTINGS if chosen == "both" else (chosen,),
            **{name: others.pop(name) for name in ("deadline_seconds", "out", "json_lines")},
        )
        return command(settings=settings, **others)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def run(scenario: Scenario, settings: Settings) -> Run:
    """Measure a scenario, print what it saw, draw it, and give it; ends with status 1 if a measurement failed."""
    console = Console(stderr=True)
    seen = perform(
        scenario,
        rounds=settings.rounds,
        clock=settings.clock,
        quick=settings.quick,
        folder=settings.out,
        console=console,
    )
    if settings.json_lines:
        for line in (settings.out / f"{scenario.name}.jsonl").read_text(encoding="utf-8").splitlines():
            print(json.dumps(json.loads(line)))
    else:
        show(seen, Console())
    if seen.results:
        for file in draw(seen, settings.out):
            console.print(f"drawn: {file}")
    if seen.failures:
        raise click.ClickException(f"{len(seen.failures)} measurements failed; they stand above and in the JSON lines")
    return seen
