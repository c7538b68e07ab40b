"""`callboard verify`: the outside of the verification: tokens, progress, the table, and the exit code."""

from __future__ import annotations

import os
import random
import resource
import shlex
import signal
import ssl
from collections.abc import Callable
from contextlib import ExitStack

import trio
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ..auth import Authenticator
from ..client import Unreachable
from ..errors import ConfigError
from ..verify import Plan, Report, Status, Tokens, Watch, evidence_lines, outcome_table, verify
from .console import clock, err, out
from .story import clean

__all__ = ["run_verify"]

# A command that asks a login service; one that takes longer hangs.
TOKEN_COMMAND_SECONDS = 30
# Each is a process of its own.
TOKEN_COMMANDS_AT_ONCE = 4
INTERRUPTED = 130
# More of one reason are not named one by one: their lines are marked in the table.
MOST_NAMED = 5
# File descriptors that are no connections: requests, the terminal, commands that print tokens.
OTHER_DESCRIPTORS = 256
# A name may have 200 characters; some are added for a second session of the same user.
MAX_SESSION = 180


def run_verify(
    plan: Plan,
    command: str | None,
    key: Callable[[], bytes],
    seed: int | None,
    tls: ssl.SSLContext | None = None,
    *,
    as_json: bool,
) -> int:
    """Verify a node and show how that came out; gives the exit code.

    Args:
        plan: what is to be done.
        command: a command line that prints a token for ``{user}`` with ``{scope}``; None for the development key.
        key: gives the development key, asked for only if there is no command.
        seed: where sockets are cut and the like; drawn if None.
        tls: how the node's certificate is verified; by the system's authorities if None.
        as_json: show JSON instead of the table.

    Raises:
        ConfigError: there are no tokens to be had, or the plan is none that a node could take part in.
    """
    if not plan.text.strip():
        raise ConfigError(f"--text is {plan.text!r:.80}; it has to say something")
    if not 1 <= len(plan.session) <= MAX_SESSION or not plan.session.isprintable():
        raise ConfigError(f"--session is {plan.session!r:.80}; it has to be 1 to {MAX_SESSION} printable characters")
    _make_room(plan.users * plan.devices + OTHER_DESCRIPTORS)
    tokens = _from_command(command) if command is not None else _from_key(key())
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    try:
        report = trio.run(_verify, plan, tokens, random.Random(seed), tls)
    except Unreachable as error:
        err.print(f"[bold red]callboard:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    if report is None:
        err.print("[yellow]interrupted[/]: nothing is said about the node")
        return INTERRUPTED
    if as_json:
        out.print_json(data={**report.as_json(), "seed": seed})
    else:
        _show(report, seed)
    return 0 if report.passed else 1


async def _verify(plan: Plan, tokens: Tokens, rng: random.Random, tls: ssl.SSLContext | None) -> Report | None:
    """Verify until done; None if a signal came first."""
    report: Report | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, ExitStack() as stack:
        watch = stack.enter_context(_Bars(plan.url)) if err.is_terminal else _Lines(trio.current_time())
        error: BaseException | None = None
        async with trio.open_nursery() as nursery:

            async def stop_at_a_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_a_signal)
            try:
                report = await verify(plan, tokens, random_bytes=os.urandom, rng=rng, watch=watch, tls=tls)
            except (ConfigError, Unreachable) as raised:
                error = raised  # raised again outside of the nursery, which would wrap it into a group
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
    return report


def _make_room(descriptors: int) -> None:
    """Take as many file descriptors as the connections need. Raises ConfigError if the system does not give them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and descriptors > hard:
        raise ConfigError(f"so many devices need {descriptors} open files; the system allows {hard}")
    if soft != resource.RLIM_INFINITY and descriptors > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


# -- tokens -----------------------------------------------------------------------------------------------------------


def _from_key(key: bytes) -> Tokens:
    authenticator = Authenticator(key, clock)

    async def token(user: str, scope: str) -> str:
        return authenticator.token(user, scope=scope)

    return token


def _from_command(command: str) -> Tokens:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--token-command is {command!r:.200}, which is no command line: {error}") from None
    if "{user}" not in command:
        raise ConfigError(f"--token-command is {command!r:.200}; it needs {{user}}, as users of its own are made up")
    limiter = trio.CapacityLimiter(TOKEN_COMMANDS_AT_ONCE)

    async def token(user: str, scope: str) -> str | None:
        if scope and "{scope}" not in command:
            return None
        line = [word.replace("{user}", user).replace("{scope}", scope) for word in words]
        async with limiter:
            return await _printed(line)

    return token


async def _printed(line: list[str]) -> str:
    """What a command prints. Raises ConfigError if it fails, or prints nothing."""
    try:
        with trio.fail_after(TOKEN_COMMAND_SECONDS):
            done = await trio.run_process(line, capture_stdout=True, capture_stderr=True, check=False)
    except (OSError, trio.TooSlowError) as error:
        raise ConfigError(f"--token-command {line[0]!r} did not run: {str(error) or type(error).__name__}") from None
    token = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0 or not token:
        said = done.stderr.decode("utf-8", "replace").strip()
        said = f", and said {said[-200:]!r}" if said else ""
        raise ConfigError(f"--token-command {line[0]!r} ended with {done.returncode} and printed no token{said}")
    return token


# -- progress ---------------------------------------------------------------------------------------------------------


class _Lines(Watch):
    """A plain line for each beginning, quarter and end, for logs."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._steps: dict[str, tuple[int, int]] = {}

    def begin(self, what: str, total: int) -> None:
        self._steps[what] = (0, total)
        self._say(f"begun: {what}")

    def advance(self, what: str) -> None:
        done, total = self._steps[what]
        done += 1
        self._steps[what] = (done, total)
        if done < total and 4 * done // total > 4 * (done - 1) // total:
            self._say(f"{done} of {total}: {what}")

    def end(self, what: str) -> None:
        done, total = self._steps.pop(what)
        self._say(f"ended, {done} of {total}: {what}")

    def _say(self, text: str) -> None:
        err.print(f"{trio.current_time() - self._began:7.1f} s  {escape(text)}", soft_wrap=True)


class _Bars(Watch):
    """A bar for each part that is under way, on a terminal."""

    def __init__(self, url: str) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeElapsedColumn(), console=err, transient=True)
        self._url = url
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        err.print(f"verifying [bold]{escape(self._url)}[/]  (Ctrl-C stops)")
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int) -> None:
        self._tasks[what] = self._progress.add_task(what, total=total)

    def advance(self, what: str) -> None:
        self._progress.advance(self._tasks[what])

    def end(self, what: str) -> None:
        self._progress.stop_task(self._tasks[what])


# -- the outcome ------------------------------------------------------------------------------------------------------


def _show(report: Report, seed: int) -> None:
    out.print(outcome_table(report, out.width))
    for outcome in report.outcomes:
        if outcome.first is not None:
            out.print()
            for name, value in evidence_lines(outcome.line, outcome.first):
                out.print(f"[bold red]{name:>9}[/]  {escape(clean(value))}", soft_wrap=True)
        elif outcome.status is Status.PASSED:
            for remark in outcome.remarks:
                out.print(f"[dim]{escape(outcome.line.title)}: {escape(clean(remark))}[/]", soft_wrap=True)
    out.print("\nnot checked:")
    reasons: dict[str, list[str]] = {}
    for what, why in report.not_checked:
        reasons.setdefault(why, []).append(what)
    for why, all_of_it in reasons.items():
        what = "; ".join(all_of_it) if len(all_of_it) <= MOST_NAMED else f"{len(all_of_it)} of the lines above"
        out.print(f"  [yellow]-[/] {escape(what)}: [dim]{escape(clean(why))}[/]", soft_wrap=True)
    checked = sum(1 for outcome in report.outcomes if outcome.status is not Status.NOT_CHECKED)
    failed = len(report.failed)
    verdict = (
        f"[bold red]{failed} of {checked} lines failed[/]" if failed else f"[bold green]all {checked} lines pass[/]"
    )
    who = f"{report.users} users x {report.devices} devices, seed {seed}, {report.seconds:.1f} s"
    server = f" ({escape(clean(report.server))})" if report.server else ""  # nobody was welcomed
    out.print(f"\n{verdict}: {escape(report.url)}{server}, {who}", soft_wrap=True)
