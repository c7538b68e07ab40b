"""`callboard serve`, and the run of a board from its first line on the terminal to its last."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio
from rich.markup import escape

from ...actors import App, Durability, Limits
from ..api import Handler
from ..board import Board, open_board
from ..config import Config, dev_key, journal_path
from ..errors import ConfigError
from ..keys import KeySource
from ..tls import FileCertificate
from .apps import load_app
from .console import err, out, show_log

__all__ = ["Serving", "run_board", "run_serve"]

logger = logging.getLogger("callboard")

# Net allocations before the youngest are looked at; and how often that is done before older ones are, and all. What
# connections, sessions and runs leave behind holds itself in circles that only the last of these finds, which Python
# puts off further until there is a quarter more of what is old. So what waits for it is half a million objects or that.
COLLECTOR_THRESHOLDS = (50_000, 5, 2)

# File descriptors that are no connections: listeners, the log, what agents open.
OTHER_DESCRIPTORS = 256


@attrs.frozen(kw_only=True)
class Serving:
    """What is served, and how it is announced. `announce` prints the first lines once the node serves."""

    app: App
    host: str
    port: int
    key: bytes | KeySource
    origins: tuple[str, ...]
    journal: Path | None
    limits: Limits
    announce: Callable[[Board], None]
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    tls: FileCertificate | None = None
    routes: Callable[[Board], Mapping[tuple[str, str], Handler]] | None = None
    durability: Durability = "process"


def run_serve(config: Config, home: Path, *, verbose: bool) -> None:
    """Serve until SIGTERM or Ctrl-C. In `home` lies what no setting has a place for."""
    app = load_app(config.app)
    key, note = config.key, ""
    if config.dev:
        if key is not None:
            raise ConfigError("--dev uses the development key; a real key is given too: leave one of them out")
        key, path, minted = dev_key(home, os.urandom)
        note = f"development key {'minted in' if minted else 'of'} {path}; tokens: callboard token --user NAME"
    if key is None:
        raise ConfigError(
            "no key to verify tokens with: give --key-file FILE or CALLBOARD_KEY (openssl rand -hex 32), "
            "or --dev for a development key"
        )

    journal = journal_path(config.journal, home, "callboard.db")

    def announce(board: Board) -> None:
        what, where = escape(config.app), escape(board.url)
        out.print(
            f"[bold green]callboard[/] serves [bold]{what}[/] on [bold]{where}[/]  (Ctrl-C drains)", soft_wrap=True
        )
        out.print(f"[dim]{escape(kept_where(journal, config.durability))}[/]", soft_wrap=True)
        if config.public_url is not None:
            out.print(f"from outside it is [bold]{escape(config.public_url)}[/]", soft_wrap=True)
        if note:
            out.print(f"[yellow]development mode[/], loopback only: {escape(note)}", soft_wrap=True)

    show_log(logging.DEBUG if verbose else logging.INFO, tracebacks=config.dev)
    serving = Serving(
        app=app,
        host=config.host,
        port=config.port,
        key=key,
        origins=config.origins,
        journal=journal,
        durability=config.durability,
        limits=config.limits,
        announce=announce,
        public_url=config.public_url,
        trusted_proxies=config.trusted_proxies,
        tls=config.tls,
    )
    trio.run(run_board, serving)


def kept_where(journal: Path | None, durability: Durability) -> str:
    """Where sessions are kept, and what they outlive."""
    if journal is None:
        return "sessions are kept in memory, and forgotten at the end"
    return f"sessions are kept in {journal} (durability: {durability})"


async def run_board(serving: Serving) -> None:
    """Serve, drain at the first SIGINT or SIGTERM, and end at once at the second."""
    # The collector walks all objects of all connections again and again: with the imported code set aside and a higher
    # threshold it does so less often. Only here, as this process is the node's own.
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_board(
            serving.app,
            host=serving.host,
            port=serving.port,
            key=serving.key,
            origins=serving.origins,
            journal=serving.journal,
            durability=serving.durability,
            limits=_within_descriptors(serving.limits),
            routes=serving.routes,
            public_url=serving.public_url,
            trusted_proxies=serving.trusted_proxies,
            tls=serving.tls,
        ) as board:
            with dump_at_sigusr1(board):
                serving.announce(board)
                await _until_stopped(board, signals)


async def _until_stopped(board: Board, signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        break
    err.print("[yellow]draining[/]: open runs may end; once more to stop at once")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, board, nursery.cancel_scope)
        async for _ in signals:
            err.print("[yellow]stopping at once[/]")
            break
        nursery.cancel_scope.cancel()


@contextmanager
def dump_at_sigusr1(board: Board) -> Iterator[None]:
    """Write the whole tree with its stacks to standard error at each SIGUSR1.

    By Python's own handler, which runs on this thread between two steps of whatever runs: also when a handler never
    gives the loop back, which is when one wants to know most.
    """

    def dump(number: int, frame: object) -> None:
        try:
            text = board.system.dump()
        except Exception as error:  # noqa: BLE001 - raised here it would strike whatever code runs just now
            text = f"the dump failed: {error!r}"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    before = signal.signal(signal.SIGUSR1, dump)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _within_descriptors(limits: Limits) -> Limits:
    """Take as many file descriptors as the connections need, and no more connections than there are descriptors.

    At the system's own bound nothing could be accepted or opened any more, not even to refuse it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = limits.connections + OTHER_DESCRIPTORS
    if resource.RLIM_INFINITY not in (soft, hard):
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    connections = max(1, needed - OTHER_DESCRIPTORS)
    if connections < limits.connections:
        logger.info("%d connections at most, as the system allows %d open files", connections, hard)
        return attrs.evolve(limits, connections=connections)
    return limits


async def _drain(board: Board, done: trio.CancelScope) -> None:
    report = await board.drain()
    cut = f", {_count(report.runs_cut, 'run')} cut short" if report.runs_cut else ""
    err.print(
        f"[green]drained[/]: {_count(report.connections, 'connection')} closed, "
        f"{_count(report.runs_finished, 'run')} finished{cut}"
    )
    done.cancel()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
