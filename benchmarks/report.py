"""What a run is shown as: a table with medians, spread and ratios, and a plot as PNG and SVG.

A ratio is taken round by round, between two measurements that are neighbours in time; above 1 callboard is better,
whether more or less of the unit is. The spread is the least and the greatest, not a deviation: there are few rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table

from .rounds import Result, Run
from .trials import OURS, Trial

__all__ = ["Summary", "draw", "show", "summaries"]


# One colour for callboard, quiet ones for its peers.
PEER_COLOURS = ("#4f6d8a", "#7d99b0", "#a9bdcc", "#6f8f7f", "#a3b8a5", "#8d83a6")


@attrs.frozen
class Summary:
    """One contender at one case, over all rounds."""

    trial: Trial
    unit: str
    values: tuple[float, ...]
    ratios: tuple[float, ...]
    """How many times better callboard is, by round; empty for callboard itself, or if it was not measured."""
    details: Mapping[str, float]
    """The medians of the samples' details."""

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The distance from the least to the greatest value, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


def summaries(run: Run) -> list[Summary]:
    """In the order of the scenario's trials."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in run.results:
        found.setdefault((result.trial.case.name, result.trial.contender.name), []).append(result)
    return [_summary(results, found.get((case, OURS), [])) for (case, _), results in _as_declared(run, found)]


def _as_declared(run: Run, found: dict[tuple[str, str], list[Result]]) -> list[tuple[tuple[str, str], list[Result]]]:
    keys = [(trial.case.name, trial.contender.name) for trial in run.scenario.trials]
    return [(key, found[key]) for key in keys if key in found]


def _summary(results: Sequence[Result], ours: Sequence[Result]) -> Summary:
    trial = results[0].trial
    own = {result.round: result.value for result in ours}
    ratios = []
    if trial.contender.name != OURS:
        for result in results:
            pair = (own.get(result.round), result.value)
            better, worse = pair[::-1] if trial.case.less_is_better else pair
            if better is not None and worse:
                ratios.append(better / worse)
    details = {
        name: statistics.median(result.sample.details[name] for result in results) for name in results[0].sample.details
    }
    return Summary(trial, results[0].unit, tuple(result.value for result in results), tuple(ratios), details)


def figure(value: float) -> str:
    """Three digits that can be read at a glance: ``1.23 M``, ``45.6 k``, ``7.89``."""
    for scale, suffix in ((1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{value / scale:.3g}{suffix}" if value < 100 * scale else f"{value / scale:.0f}{suffix}"
    return f"{value:.3g}"


def show(run: Run, console: Console) -> None:
    """Print the table. A unit that all cases share stands in its title."""
    found = summaries(run)
    units = {summary.unit for summary in found}
    title = f"{run.scenario.title} ({units.pop()})" if len(units) == 1 else run.scenario.title
    table = Table(title=title, title_justify="left", caption_justify="left", caption=_caption(run))
    for column in ("case", "contender", *(("unit",) if units else ()), "median", "spread"):
        table.add_column(column, justify="right" if column in ("median", "spread") else "left", no_wrap=True)
    details = list(dict.fromkeys(name for summary in found for name in summary.details))
    for column in ("callboard is better by", *details):
        table.add_column(column, justify="right", min_width=max(map(len, column.split())))
    case = None
    for summary in found:
        name = summary.trial.case.name
        if case is not None and name != case:
            table.add_section()
        ratio = ""
        if summary.ratios:
            ratio = f"{statistics.median(summary.ratios):.2f} times"
            if len(summary.ratios) > 1:
                ratio += f" ({min(summary.ratios):.2f} to {max(summary.ratios):.2f})"
        table.add_row(
            name if name != case else "",
            summary.trial.contender.name,
            *((summary.unit,) if units else ()),
            figure(summary.median),
            f"{summary.spread:.0%}" if len(summary.values) > 1 else "",
            ratio,
            *(figure(summary.details[name]) if name in summary.details else "" for name in details),
        )
        case = name
    console.print(table)


def _caption(run: Run) -> str:
    lines = [run.machine.one_line()]
    lines.append("contenders: " + ", ".join(f"{name} {version}" for name, version in run.versions.items()))
    if run.quick:
        lines.append("A quick run: it shows that everything works. Its figures mean nothing.")
    return "\n".join(lines)


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw one panel a case, a bar a contender with its least and greatest; gives the files written."""
    # Late: it takes most of a second, and the processes that measure must not load it.
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "callboard"  # the same figures give the same file
    from matplotlib import pyplot

    found = summaries(run)
    cases = list(dict.fromkeys(summary.trial.case.name for summary in found))
    names = list(dict.fromkeys(summary.trial.contender.name for summary in found))
    peers = [name for name in names if name != OURS]
    colours = {name: PEER_COLOURS[index % len(PEER_COLOURS)] for index, name in enumerate(peers)} | {OURS: "#c8452d"}
    columns = min(3, len(cases)) or 1
    rows = -(-len(cases) // columns) or 1
    height = max(2.4, 0.28 * len(names) + 0.9)
    picture, panels = pyplot.subplots(
        rows, columns, figsize=(max(4.6 * columns, 9.2), height * rows + 1.2), squeeze=False
    )
    for panel in panels.flat[len(cases) :]:
        panel.set_visible(False)
    for panel, case in zip(panels.flat, cases, strict=False):
        here = [summary for summary in found if summary.trial.case.name == case][::-1]
        medians = [summary.median for summary in here]
        errors = [
            [summary.median - min(summary.values) for summary in here],
            [max(summary.values) - summary.median for summary in here],
        ]
        labels = [summary.trial.contender.name for summary in here]
        bars = panel.barh(
            labels, medians, xerr=errors, color=[colours[label] for label in labels], ecolor="#00000080", height=0.7
        )
        panel.bar_label(bars, [figure(median) for median in medians], padding=4, fontsize=8)
        panel.set_title(case, fontsize=10, loc="left")
        less = "less is better" if here[0].trial.case.less_is_better else "more is better"
        panel.set_xlabel(f"{here[0].unit} ({less})", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.margins(x=0.18)
        panel.xaxis.set_major_formatter(lambda value, _: figure(value) if value else "0")
        panel.spines[["top", "right"]].set_visible(False)
    title = run.scenario.title + (" (a quick run: its figures mean nothing)" if run.quick else "")
    picture.suptitle(title, fontsize=12, x=0.01, ha="left")
    picture.text(0.01, 0.005, _wrapped(_caption(run)), fontsize=6, va="bottom", color="#555555")
    picture.tight_layout(rect=(0, 0.55 / (height * rows + 1.2), 1, 1))
    files = []
    for suffix in ("png", "svg"):
        files.append(folder / f"{run.scenario.name}.{suffix}")
        picture.savefig(files[-1], dpi=144, metadata={"Date": None} if suffix == "svg" else None)
    pyplot.close(picture)
    return files


def _wrapped(text: str, width: int = 200) -> str:
    import textwrap

    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, width))
