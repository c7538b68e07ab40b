"""``python -m benchmarks NAME …``: one command a scenario, several in a row if wanted."""

from __future__ import annotations

import rich_click as click

from .delivery.command import command as delivery
from .journal.appends import command as appends
from .journal.command import command as journal
from .kernel.command import command as kernel
from .savina.command import command as savina
from .sessions.churn import command as churn
from .sessions.growth import command as growth
from .sessions.idle import command as idle
from .sessions.neighbour import command as neighbour
from .sessions.reconnect import command as reconnect
from .sessions.storm import command as storm
from .sessions.tokens import command as tokens

SCENARIOS = (kernel, savina, delivery, journal, appends, tokens, storm, reconnect, idle, neighbour, churn, growth)


@click.group(chain=True, subcommand_metavar="NAME [OPTIONS] ...")
def main() -> None:
    """Measure callboard and its peers side by side, in turns, in one run.

    Results go to benchmarks/results: JSON lines, a PNG and an SVG for each scenario. `NAME --help` tells more.
    """


for scenario in SCENARIOS:
    main.add_command(scenario)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
