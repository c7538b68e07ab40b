"""The node's own counters, before anybody came and after all have left. Needs a token with the scope `operator`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import httpx
import trio

from ..evidence import Evidence, Findings, shorten
from ..lines import Line

__all__ = ["Counters", "Operator"]

COUNTED = (Line.CONNECTIONS_BACK, Line.TICKETS_BACK, Line.RUNS_BACK, Line.TASKS_BACK, Line.REGISTRY)

# Sockets that were cut are noticed at once, and what a connection leaves is gone with it; this is for a busy machine.
SETTLE_SECONDS = 10.0
FIRST_POLL_SECONDS = 0.05
MOST_POLL_SECONDS = 1.0

# A session's actor stands right under the session supervisor; what stands under it are its agents.
SESSION_PATH = re.compile(r".*/sessions/[0-9a-f]{32}")


@attrs.frozen
class Counters:
    """What the node says of itself. `live` counts session actors, `entries` the registry's."""

    connections: int
    tcp: int
    opened: int
    tickets: int
    runs: int
    tasks: int
    entries: int
    live: int


class Operator:
    """Asks the node for its counters, each time on a connection of its own, so that it counts itself each time.

    Args:
        url: the node.
        token: one with the scope `operator`; None if there is none.
        seconds: how long an answer may take.
        tls: how the node's certificate is verified.
        findings: where it is put down what could not be had.
    """

    def __init__(self, url: str, token: str | None, seconds: float, tls: ssl.SSLContext, findings: Findings) -> None:
        self._url = url
        self._token = token
        self._seconds = seconds
        self._tls = tls
        self._findings = findings

    async def read(self) -> Counters | None:
        """The counters now; None, with a remark, if they cannot be had."""
        if self._token is None:
            self._findings.remark(COUNTED, "there is no token with the scope operator")
            return None
        try:
            async with httpx.AsyncClient(timeout=self._seconds, verify=self._tls) as http:
                headers = {"authorization": f"Bearer {self._token}"}
                response = await http.get(f"{self._url}/v1/statistics", headers=headers)
            if response.status_code == 200:
                return _counters(response.json())
            why = f"GET /v1/statistics answers {response.status_code} {response.reason_phrase}"
        except httpx.HTTPError as error:
            why = f"GET /v1/statistics: {type(error).__name__} {error}"
        except (KeyError, TypeError, ValueError) as error:
            why = f"GET /v1/statistics does not tell it: {type(error).__name__} {error}"
        self._findings.remark(COUNTED, why)
        return None

    async def _read_until(self, settled: Callable[[Counters], bool]) -> Counters | None:
        """Read until all is well, but no longer than a while, and give what was read last."""
        last: Counters | None = None
        pause = FIRST_POLL_SECONDS
        with trio.move_on_after(min(SETTLE_SECONDS, self._seconds)):
            while True:
                read = await self.read()
                if read is None or settled(read):
                    return read
                last = read
                await trio.sleep(pause)
                pause = min(2 * pause, MOST_POLL_SECONDS)
        return last

    async def check_registry(self) -> None:
        """In the middle of it: once mailboxes are settled the registry's entries are the live sessions."""
        now = await self._read_until(lambda counters: counters.entries == counters.live)
        if now is not None:
            self._put_down((Line.REGISTRY,), _missed(now, now), now)

    async def check_back(self, before: Counters | None, ours: int) -> None:
        """Wait until the counters are back, and put down which are not after a while.

        Args:
            before: how they were.
            ours: the connections of ours that the node took since.
        """
        if before is None:
            return
        after = await self._read_until(lambda counters: not _missed(before, counters))
        if after is None:
            return
        others = after.opened - before.opened - ours
        if others > 0:
            text = f"others use the node: it took {others} connections that are not ours"
            self._findings.remark(COUNTED, text)
            return
        self._put_down(COUNTED, _missed(before, after), after)

    def _put_down(self, lines: tuple[Line, ...], missed: Mapping[Line, tuple[str, str]], counters: Counters) -> None:
        for line in lines:
            if line in missed:
                expected, seen = missed[line]
                told = shorten(str(attrs.asdict(counters)))
                self._findings.failed(line, Evidence(expected=expected, seen=seen, frame=told))
            else:
                self._findings.passed(line)


def _counters(report: dict[str, Any]) -> Counters:
    connections = report["connections"]
    return Counters(
        connections=int(connections["open"]),
        tcp=int(connections["tcp"]),
        opened=int(connections["opened"]),
        tickets=int(report["tickets"]),
        runs=int(report["runs"]["open"]),
        tasks=int(report["tasks"]),
        entries=int(report["sessions"]),
        live=sum(1 for actor in report["actors"] if SESSION_PATH.fullmatch(actor["path"])),
    )


def _missed(before: Counters, after: Counters) -> dict[Line, tuple[str, str]]:
    """The lines that do not hold, with what was expected and what is so."""
    missed: dict[Line, tuple[str, str]] = {}
    for line, what in (
        (Line.CONNECTIONS_BACK, "connections"),
        (Line.CONNECTIONS_BACK, "tcp"),
        (Line.TICKETS_BACK, "tickets"),
        (Line.RUNS_BACK, "runs"),
        (Line.TASKS_BACK, "tasks"),
    ):
        was, now = getattr(before, what), getattr(after, what)
        if now > was:
            missed.setdefault(line, (f"{was} {what} as at the beginning", f"{now}"))
    if after.entries != after.live:
        missed[Line.REGISTRY] = (f"{after.live} entries, as many as session actors", f"{after.entries}")
    return missed
