"""The whole way, checked from outside: many users with several devices each, at the same time, against any node.

::

    python -m tests.integration.golden_path http://127.0.0.1:8765 --users 100 --devices 2 \
        --token-command 'callboard token --user {user}'

It prints a table of what was checked, and ends with 1 when a check failed. It knows a node by its URL only, and
imports nothing of callboard.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shlex
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests.integration.wire_client import Device, Map, TicketRefused, get_ticket, is_terminal, open_refused

__all__ = ["Report", "grammar_problems", "walk"]

TEXT = "What does textwrap.dedent do? (asked by {user}, {number})"
# How many users log in and connect at the same moment: what is measured is the node, not the login.
LOGINS_AT_ONCE = 16
# A token command is a process of its own; more of them at once than the machine has processors gain nothing.
TOKENS_AT_ONCE = 2
TOKEN_SECONDS = 120


class Report:
    """What was checked, how often, what was wrong, and how long things took, in seconds."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.wrong: dict[str, list[str]] = {}
        self.seconds: dict[str, list[float]] = {}

    def check(self, what: str, true: bool, evidence: object = "") -> None:
        """Count a check; `evidence` is kept if it failed."""
        self.checked[what] += 1
        if not true:
            self.wrong.setdefault(what, []).append(str(evidence)[:500])

    def took(self, what: str, seconds: float) -> None:
        """Note how long something took."""
        self.seconds.setdefault(what, []).append(seconds)

    def show(self, console: Console) -> None:
        """Print it as a table, the first evidence of each failed check below it."""
        table = Table("check", "done", "wrong", title="golden path")
        for what, count in self.checked.items():
            wrong = len(self.wrong.get(what, ()))
            table.add_row(what, str(count), f"[bold red]{wrong}[/]" if wrong else "0")
        console.print(table)
        if self.seconds:
            table = Table("latency", "n", "median ms", "p99 ms", "max ms")
            for what, seconds in self.seconds.items():
                ranked = sorted(seconds)
                p99 = ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)]
                middle = statistics.median(ranked)
                table.add_row(what, str(len(ranked)), *(f"{value * 1000:.1f}" for value in (middle, p99, ranked[-1])))
            console.print(table)
        for what, evidence in self.wrong.items():
            console.print(f"[bold red]{what}[/]: {evidence[0]}", markup=True, soft_wrap=True)


def grammar_problems(records: list[Map]) -> list[str]:
    """What is wrong with the records of one run, by the grammar of the wire's description."""
    if not records:
        return ["a run without records"]
    problems = []
    open_calls: set[str] = set()
    used_calls: set[str] = set()
    if records[0]["type"] != "agent_started":
        problems.append(f"it begins with {records[0]['type']}")
    for index, record in enumerate(records):
        data = record["data"]
        match record["type"]:
            case "agent_started":
                if index:
                    problems.append("it begins twice")
            case "tool_executing":
                if data["call"] in used_calls:
                    problems.append(f"call {data['call']} begins twice")
                open_calls.add(data["call"])
                used_calls.add(data["call"])
            case "tool_completed":
                if data["call"] not in open_calls:
                    problems.append(f"call {data['call']} completes without having begun")
                open_calls.discard(data["call"])
            case "agent_completed" | "agent_error" | "agent_cancelled":
                if index != len(records) - 1:
                    problems.append(f"{record['type']} is not the last record")
                if open_calls:
                    problems.append(f"it ends with open calls {open_calls}")
            case "agent_thinking" | "agent_delta":
                if not isinstance(data["text"], str):
                    problems.append(f"{record['type']} without text")
            case other:
                if not other.startswith("x."):
                    problems.append(f"an event of type {other}")
    if sum(map(is_terminal, records)) != 1:
        problems.append(f"{sum(map(is_terminal, records))} terminal events")
    if len({record["id"] for record in records}) != len(records):
        problems.append("an id twice")
    return problems


class User:
    """One user: its devices, its runs, and the texts that it alone knows."""

    def __init__(self, name: str, number: int, url: str, token: str, devices: int, text: str) -> None:
        self.name = name
        self.number = number
        self.devices = [Device(url, token) for _ in range(devices)]
        self.runs: dict[str, str] = {}
        self._text = text

    def next_text(self) -> str:
        """A text that nobody else sends."""
        return self._text.format(user=self.name, number=len(self.runs))

    async def ask(self, device: Device, report: Report) -> str:
        """Send a message from a device; gives the run."""
        text = self.next_text()
        run, seconds = await device.ask(text)
        report.took("message accepted", seconds)
        self.runs[run] = text
        return run

    async def walk(self, report: Report, together: asyncio.Barrier, logins: asyncio.Semaphore) -> None:
        """The whole story of one user."""
        first, *others = self.devices
        async with logins:
            for device in self.devices:
                began = perf_counter()
                await device.enter()
                report.took("ticket and welcome", perf_counter() - began)
        await together.wait()

        # Every device asks; every device sees all of it.
        began = perf_counter()
        for device in self.devices:
            await self.ask(device, report)
        for device in self.devices:
            for run in self.runs:
                await device.terminal(run)
        report.took(f"{len(self.devices)} runs to their end, on all devices", perf_counter() - began)

        # A known id gets its first answer, and the id of another command a refusal.
        text = next(iter(self.runs.values()))
        answer = first.results.pop(1)
        await first.command("user_message", id=1, data={"text": text})
        again = await first.result(1)
        report.check("a repeated id gives the same run", again == answer, (answer, again))
        first.results.pop(1)
        await first.command("user_message", id=1, data={"text": text + "!"})
        conflict = await first.result(1)
        code = conflict.get("error", {}).get("code")
        report.check("an id with another body is a conflict", code == "id_conflict", conflict)

        # The socket is cut at another place of the run for each user, and the run goes on.
        cut = (others or [first])[0]
        run = await self.ask(first, report)
        await cut.wait(lambda: len(cut.of_run(run)) > self.number % 5)
        await cut.cut()
        await first.terminal(run)
        began = perf_counter()
        welcome = await cut.enter()
        report.check("a cut socket resumes where it was", welcome["mode"] == "replay", welcome)
        await cut.terminal(run)
        report.took("resumed to the end of the run", perf_counter() - began)

        # A command that is cut off before its answer is repeated, and done once.
        id = await cut.command("user_message", data={"text": self.next_text()})
        await cut.cut()
        await cut.enter()
        repeated = (await cut.result(id))["ok"]["run"]
        self.runs[repeated] = self.next_text()
        await cut.terminal(repeated)

        # A run is cancelled, unless it was faster.
        run = await self.ask(first, report)
        cancelled = await first.result(await first.command("cancel", run=run))
        state = cancelled.get("ok", {}).get("state")
        report.check("cancel is answered", state in ("cancelling", "ended"), cancelled)
        end = (await first.terminal(run))["type"]
        expected = "agent_cancelled" if state == "cancelling" else "agent_completed"
        report.check("cancel ends the run", end == expected, (state, end))

        # A new device sees all of it, from the first record on.
        new = Device(first.url, first.token)
        await new.enter(start="first")
        self.devices.append(new)
        for device in self.devices:
            for known in self.runs:
                await device.terminal(known)
        self._compare(report)
        for device in self.devices:
            await device.leave()

    def _compare(self, report: Report) -> None:
        first, *_ = self.devices
        for device in self.devices:
            seqs = [record["seq"] for record in device.records]
            report.check("contiguous seq from 1, no repetition", seqs == list(range(1, len(seqs) + 1)), seqs)
            report.check("the same stream on every device", device.records == first.records, self.name)
            report.check("no breach of the wire's rules", not device.problems, device.problems)
        report.check("a session of its own", len({device.session for device in self.devices}) == 1, self.name)
        runs = {record.get("run") for record in first.records}
        report.check("own records only", runs == set(self.runs), (self.name, runs ^ set(self.runs)))
        for run, text in self.runs.items():
            records = first.of_run(run)
            report.check("own texts only", records[0]["data"].get("input") == text, (text, records[0]))
            problems = grammar_problems(records)
            report.check("legal grammar, one terminal a run", not problems, (self.name, run, problems))


async def refusals(url: str, token: str, report: Report) -> None:
    """Tickets that are not good, each with its own code."""

    async def check(what: str, code: int, url: str, ticket: str, origin: str | None = None) -> None:
        got = await open_refused(url, ticket, origin=origin)
        report.check(f"{what}: {code}", got == code, f"closed with {got}")

    own = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    late = await get_ticket(url, token)
    began = perf_counter()
    device = Device(url, token)
    await device.enter()
    await check("a used ticket", 4301, late["url"], device.last_ticket)
    await device.leave()
    await check("a forged ticket", 4302, late["url"], secrets.token_hex(32))
    foreign = await get_ticket(url, token, origin=own)
    await check("a ticket of another origin", 4303, late["url"], foreign["ticket"])
    await check("that ticket is burnt", 4301, late["url"], foreign["ticket"], own)
    mine = await get_ticket(url, token)
    await check("a page of another origin", 4005, late["url"], mine["ticket"], "http://foreign.example")
    for what, bad in (("no token", ""), ("a bad token", "x.y.z")):
        try:
            await get_ticket(url, bad)
            status = 201
        except TicketRefused as refused:
            status = refused.status
        report.check(f"{what}: 401", status == 401, status)
    # The one thing here that only time brings about.
    await asyncio.sleep(max(0.0, late["expires_in_s"] + 0.2 - (perf_counter() - began)))
    await check("an expired ticket", 4300, late["url"], late["ticket"])


async def walk(
    url: str,
    *,
    users: int,
    devices: int,
    token_for: Callable[[str], str],
    text: str = TEXT,
    report: Report | None = None,
) -> Report:
    """Walk the golden path with so many users at once.

    Args:
        url: of the node.
        users: how many, each with a name of its own that no earlier walk has used.
        devices: of each user, before one more joins at the end.
        token_for: a bearer token for a user; may block.
        text: the message; `{user}` and `{number}` make it one that nobody else sends.
        report: where to note the checks.
    """
    report = report or Report()
    prefix = secrets.token_hex(4)
    names = [f"golden-{prefix}-{number}" for number in range(users)]
    logins, token_commands = asyncio.Semaphore(LOGINS_AT_ONCE), asyncio.Semaphore(TOKENS_AT_ONCE)
    together = asyncio.Barrier(users)

    async def token(name: str) -> str:
        async with token_commands:
            return await asyncio.to_thread(token_for, name)

    tokens = await asyncio.gather(*map(token, [*names, f"golden-{prefix}-refused"]))
    people = [
        User(name, number, url, own, devices, text)
        for number, (name, own) in enumerate(zip(names, tokens, strict=False))
    ]
    async with asyncio.TaskGroup() as group:
        for user in people:
            group.create_task(user.walk(report, together, logins))
        group.create_task(refusals(url, tokens[-1], report))
    sessions = {user.devices[0].session for user in people}
    report.check("as many sessions as users", len(sessions) == users, len(sessions))
    return report


def _token_command(command: str) -> Callable[[str], str]:
    def token_for(user: str) -> str:
        words = [word.replace("{user}", user) for word in shlex.split(command)]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=TOKEN_SECONDS).stdout.strip()

    return token_for


def main(arguments: list[str]) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="golden_path", description="Walk the golden path against a node.")
    parser.add_argument("url", help="of the node, as http://127.0.0.1:8765")
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--token-command", default="callboard token --user {user}", metavar="CMD")
    parser.add_argument("--text", default=TEXT, help="what is asked; {user} and {number} are filled in")
    options: Any = parser.parse_args(arguments)
    console = Console()
    report = Report()
    began = perf_counter()
    try:
        asyncio.run(
            walk(
                options.url.rstrip("/"),
                users=options.users,
                devices=options.devices,
                token_for=_token_command(options.token_command),
                text=options.text,
                report=report,
            )
        )
    except BaseException as error:
        report.check("the walk comes to its end", False, repr(error))
        report.show(console)
        raise
    report.show(console)
    seconds = perf_counter() - began
    console.print(f"{options.users} users with {options.devices} devices and one more each, in {seconds:.1f} s")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
