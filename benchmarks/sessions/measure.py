"""A server and its crowd of clients, each on a core of its own, for the time of one measurement."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import rich_click as click

from ..contenders import CALLBOARD
from ..launch import cpu_seconds, descriptors, environment, line_of, port_of, running
from ..machine import version_of
from ..trials import OURS, Contender
from ..worker import Failed

__all__ = [
    "BARE",
    "OURS_IN_MEMORY",
    "OURS_ON_DISK",
    "Answer",
    "Crowd",
    "Host",
    "app_option",
    "enough",
    "served",
    "serving",
]

APP = "benchmarks.sessions.app:board"
# One machine is one address here, tickets are got beforehand, and what fell is to come back soon enough to fall again.
LIMITS = {"connections_per_address": 20_000, "ticket_seconds": 600, "quarantine_seconds": 1}
# Files of a process that are no connections.
OTHER_DESCRIPTORS = 256


@attrs.frozen
class Host:
    """One who serves: callboard's node, or a peer."""

    contender: Contender
    command: Sequence[str]
    ours: bool


def node(app: str = APP, journal: str = ":memory:") -> Sequence[str]:
    """The command line of a node as `callboard serve` runs it, on a port of the system's choosing."""
    return (sys.executable, "-m", "callboard", "serve", "--app", app, "--port", "0", "--journal", journal)


def served(app: str) -> Host:
    """A node that serves somebody's own app, as `serve` does by default: with its journal on disk."""
    return Host(Contender(OURS, f"a node that serves {app}", CALLBOARD.version), node(app, "journal.db"), ours=True)


OURS_IN_MEMORY = Host(CALLBOARD, node(), ours=True)
OURS_ON_DISK = Host(
    Contender("callboard on disk", "the same with the journal that `serve` has by default", CALLBOARD.version),
    node(journal="journal.db"),
    ours=True,
)
BARE = Host(
    Contender("trio-websocket", "connections alone: no sessions, no tickets", lambda: version_of("trio-websocket")),
    (sys.executable, "-m", "benchmarks.sessions.on_trio_websocket"),
    ours=False,
)


@attrs.frozen
class Answer:
    """What the crowd said to one order, and what the server used meanwhile."""

    said: Mapping[str, float]
    server_cpu_seconds: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.said["seconds"]

    @property
    def load_percent(self) -> float:
        """The load generator's part of its core."""
        return 100 * self.said["cpu_seconds"] / self.said["seconds"]


@attrs.frozen
class Crowd:
    """The clients of a measurement, and the server that they are at."""

    server_pid: int
    _process: subprocess.Popen[str]

    def do(self, order: str, **details: Any) -> Answer:
        """Have the crowd do something, and wait until it is done.

        Raises:
            Failed: a client missed something, or got what it should not have.
        """
        assert self._process.stdin is not None
        before = cpu_seconds(self.server_pid)
        self._process.stdin.write(json.dumps({"do": order} | details) + "\n")
        self._process.stdin.flush()
        said = json.loads(line_of(self._process))
        if "error" in said:
            raise Failed(said["error"])
        return Answer(said, cpu_seconds(self.server_pid) - before)


@contextmanager
def serving(
    host: Host, deadline_seconds: float, *, limits: Mapping[str, float] = LIMITS, agent: str | None = None
) -> Iterator[Crowd]:
    """Start a server and a crowd for the body of a ``with``."""
    cores = sorted(os.sched_getaffinity(0))
    key = secrets.token_hex(32)
    environ = environment(key, limits if host.ours else {})
    # Somebody's own app is looked for where the command was given.
    environ["PYTHONPATH"] += f":{Path.cwd()}"
    with (
        tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder,
        running(host.command, cores[0], Path(folder), environ, deadline_seconds) as server,
    ):
        spec = {"ours": host.ours, "url": f"127.0.0.1:{port_of(server)}", "key": key, "agent": agent}
        command = [sys.executable, "-m", "benchmarks.sessions.load", json.dumps(spec)]
        with running(command, cores[-1], Path(folder), environ, deadline_seconds) as load:
            yield Crowd(server.pid, load)


def app_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option for somebody's own app."""
    return click.option("--app", metavar="MODULE:NAME", help="Measure a node that serves this app, and no peers.")(
        command
    )


def enough(wanted: int, besides: int) -> int:
    """As many connections as this machine's bound of open files allows, which is raised as far as it goes.

    Says so where that is fewer than wanted.
    """
    allowed = descriptors(wanted + besides + OTHER_DESCRIPTORS) - besides - OTHER_DESCRIPTORS
    if allowed < 1:
        raise click.ClickException("too few open files are allowed here; see `ulimit -Hn`")
    if allowed < wanted:
        click.echo(
            f"{allowed:,} connections instead of {wanted:,}: no more files may be open here (ulimit -Hn)", err=True
        )
    return min(wanted, allowed)
