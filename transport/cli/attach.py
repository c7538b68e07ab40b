"""`callboard attach`: a session in the terminal. Type a message, watch the agent's events come in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import attrs
import trio
from rich.markup import escape

from ..client import Client, CommandFailed, SessionClosed, TicketDenied, Unreachable, connect
from ..protocol import WireRecord
from .console import err, out

__all__ = ["run_attach"]

TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")
HELP = "[dim]Type a message. /stop cancels the newest run, /quit leaves (so does Ctrl-D); runs go on without you.[/]"


@attrs.define
class _Screen:
    """Turns records into lines; knows which run is streaming text."""

    newest_run: str | None = None
    streaming: str | None = None
    ended: dict[str, str] = attrs.field(factory=dict)

    def show(self, record: WireRecord) -> None:
        """Print one record."""
        data: dict[str, Any] = record.data if isinstance(record.data, dict) else {}
        if record.type != "agent_delta" and self.streaming is not None:
            out.print()
            self.streaming = None
        match record.type:
            case "agent_started":
                self.newest_run = record.run
                out.print(f"[bold cyan]you[/]  {escape(str(data.get('input')))}")
            case "agent_thinking":
                out.print(f"[dim italic]     {escape(str(data.get('text')))}[/]")
            case "tool_executing":
                arguments = json.dumps(data.get("arguments"), ensure_ascii=False)
                out.print(f"[dim]     {escape(str(data.get('tool')))}[/] {escape(_short(arguments))}")
            case "tool_completed":
                mark = "[green]done[/]" if data.get("ok") else "[red]failed[/]"
                out.print(f"[dim]     {escape(str(data.get('tool')))}[/] {mark} [dim]{data.get('duration_ms')} ms[/]")
            case "agent_delta":
                if self.streaming != record.run:
                    out.print("[bold green]agent[/]")
                self.streaming = record.run
                out.print(escape(str(data.get("text"))), end="", soft_wrap=True)
            case "agent_completed":
                self._ended(record, "completed")
                out.print(f"[dim]     completed in {data.get('duration_ms')} ms[/]")
            case "agent_error":
                self._ended(record, "error")
                out.print(f"[red]     {escape(str(data.get('code')))}: {escape(str(data.get('message')))}[/]")
            case "agent_cancelled":
                self._ended(record, "cancelled")
                out.print("[yellow]     cancelled[/]")
            case other:
                out.print(f"[dim]     {escape(other)} {escape(_short(json.dumps(data, ensure_ascii=False)))}[/]")

    def _ended(self, record: WireRecord, how: str) -> None:
        if record.run is not None:
            self.ended[record.run] = how


def run_attach(url: str, token: Callable[[], str], session: str, say: str | None, last: int) -> int:
    """Attach until the user leaves, or until the answer to `say` is there; gives the exit code."""
    try:
        return trio.run(_attach, url, token, session, say, last)
    except (SessionClosed, TicketDenied, Unreachable) as error:
        err.print(f"[bold red]callboard:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


async def _attach(url: str, token: Callable[[], str], session: str, say: str | None, last: int) -> int:
    async with connect(url, token=token, session=session, start=last, client="callboard attach") as client:
        screen = _Screen()
        if say is not None:
            return await _say_once(client, screen, say)
        out.print(f"[bold]callboard[/] {escape(url)}, session [bold]{escape(session)}[/]")
        out.print(HELP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_show_all, client, screen)
            await _type(client, screen)
            nursery.cancel_scope.cancel()
    return 0


async def _show_all(client: Client, screen: _Screen) -> None:
    async for record in client:
        screen.show(record)


async def _say_once(client: Client, screen: _Screen, text: str) -> int:
    try:
        run = await client.send(text)
    except CommandFailed as error:
        err.print(f"[bold red]callboard:[/] {escape(str(error))}")
        return 1
    async for record in client:
        if record.run == run:
            screen.show(record)
            if record.type in TERMINALS:
                return 0 if record.type == "agent_completed" else 1
    raise AssertionError("unreachable: a client's records have no end")


async def _type(client: Client, screen: _Screen) -> None:
    while True:
        # A read of the terminal cannot be cancelled, so its thread is left behind when this ends; it is a daemon.
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        text = line.strip()
        if not line or text == "/quit":
            return
        try:
            if text == "/stop":
                if screen.newest_run is None or screen.newest_run in screen.ended:
                    out.print("[dim]     no run is open[/]")
                else:
                    await client.cancel(screen.newest_run)
            elif text:
                await client.send(text)
        except (CommandFailed, ValueError) as error:
            out.print(f"[red]     {escape(str(error))}[/]")


def _short(text: str) -> str:
    width = max(20, (out.width if os.isatty(sys.stdout.fileno()) else 120) - 30)
    return text if len(text) <= width else text[: width - 1] + "…"
