"""`callboard attach`: a session in the terminal. Type a message, watch the agent's events come in."""

from __future__ import annotations

import io
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial

import trio
from rich.markup import escape

from ..client import (
    Client,
    CommandFailed,
    Item,
    Reset,
    SessionClosed,
    TicketDenied,
    TooManyCommands,
    Unreachable,
    WireRecord,
    connect,
)
from .console import err, out
from .story import TERMINALS, Line, Story, clean
from .terminal import KeyReader, LineReader, LiveScreen, PlainScreen, Screen

__all__ = ["run_attach"]

# Who names a node that is not there wants to know soon; a node that was there may come back.
FIRST_SECONDS = 5.0
# A connection that is back sooner was not missed.
MISSED_SECONDS = 1.0
# Messages that were typed and wait to be accepted.
MAX_UNSENT = 16
HELP = "Type a message. /stop cancels the newest run, /quit or Ctrl-D leaves; runs go on without you."
STDIN = 0


class Lost(Exception):
    """What was asked for cannot be waited for any more."""


def run_attach(
    url: str,
    token: Callable[[], str],
    session: str,
    say: str | None,
    last: int,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Attach until the user leaves, or until the answer to `say` is there; gives the exit code.

    What the token's source raises is raised.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a letter that the terminal does not have is no reason to end
    try:
        return trio.run(_Attach(url, token, session, say, last, tls).run)
    except (SessionClosed, TicketDenied, Unreachable, CommandFailed, Lost) as error:
        err.print(f"[bold red]callboard:[/] {escape(clean(str(error)))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


class _Attach:
    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        session: str,
        say: str | None,
        last: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._tls = tls
        self._url = url
        self._token = token
        self._session = session
        self._say = say
        self._last = last
        self._story = Story()
        self._keys: KeyReader | None = None
        self._screen: Screen = PlainScreen(out, err)
        self._unsent = 0
        self._missed = ""
        self._runs: set[str] = set()
        self._changed = trio.Event()
        self._code = 0

    async def run(self) -> int:
        """Until the end, or SIGINT or SIGTERM; gives the exit code."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, ExitStack() as stack:
            self._set_up(stack)
            await _until_one_ends(partial(self._until_signal, signals), self._attach)
        return self._code

    def _set_up(self, stack: ExitStack) -> None:
        """Choose the screen, and take the terminal if it is one."""
        if not (sys.stdout.isatty() and out.is_terminal and not out.is_dumb_terminal):
            return
        if self._say is None and os.isatty(STDIN):
            self._keys = KeyReader(STDIN, lambda: live.refresh())
            stack.enter_context(self._keys.open())
        keys = self._keys
        live = LiveScreen(out, None if keys is None else lambda: (keys.editor.text, keys.editor.cursor))
        self._screen = live
        self._story = Story(live.fold)
        stack.enter_context(live.open())

    async def _until_signal(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._code = 128 + number
            return

    async def _token_in_thread(self) -> str:
        # It may be a command that asks a login service; the terminal is to go on meanwhile.
        return await trio.to_thread.run_sync(self._token, abandon_on_cancel=True)

    async def _attach(self) -> None:
        async with connect(
            self._url,
            token=self._token_in_thread,
            session=self._session,
            start=self._last,
            client="callboard attach",
            tls=self._tls,
        ) as client:
            with trio.move_on_after(FIRST_SECONDS):
                await client.wait_connected()
            if not client.connected:
                raise Unreachable(f"no connection within {FIRST_SECONDS:g} seconds: {client.trouble}")
            work = self._say_once if self._say is not None else self._talk
            await _until_one_ends(partial(work, client), partial(self._watch, client))

    async def _watch(self, client: Client) -> None:
        """Say when the connection is missed."""
        try:
            while True:
                await client.wait_disconnected()
                with trio.move_on_after(MISSED_SECONDS):
                    await client.wait_connected()
                if not client.connected:
                    self._missed = f"no connection ({client.trouble}); trying again"
                    self._say_missed()
                    await client.wait_connected()
                    self._missed = ""
                    self._screen.status("")
        except Exception:  # noqa: BLE001 - what ended the client is raised behind its last record, to who takes those
            await trio.sleep_forever()

    def _say_missed(self) -> None:
        """The state of a connection that is missed, with what was typed meanwhile: it is not lost."""
        if self._missed:
            waiting = f"; unsent messages: {self._unsent}" if self._unsent else ""
            self._screen.status(f"{self._missed}{waiting}")

    # -- one message --------------------------------------------------------------------------------------------------

    async def _say_once(self, client: Client) -> None:
        assert self._say is not None
        try:
            run = await client.send(self._say)
        except (ValueError, TooManyCommands) as error:
            raise CommandFailed("bad_command", str(error), retry=False) from None
        resets = client.statistics().resets
        async for item in client.everything():
            if isinstance(item, Reset) and client.statistics().resets > resets:
                raise Lost("the node has another history than before; what became of the message is not known")
            if isinstance(item, WireRecord) and item.run == run:
                self._show(item)
                if item.type in TERMINALS:
                    self._code = 0 if item.type == "agent_completed" else 1
                    return

    # -- a conversation -----------------------------------------------------------------------------------------------

    async def _talk(self, client: Client) -> None:
        if self._keys is not None:
            head = Line("", f"callboard  {clean(self._url)}  session {clean(self._session)}", "bold")
            self._screen.show([head, Line("", HELP, "dim")], ())
        typed, typing = trio.open_memory_channel[str](MAX_UNSENT)
        await _until_one_ends(
            partial(self._show_all, client), partial(self._send_all, client, typing), partial(self._type, typed)
        )

    async def _show_all(self, client: Client) -> None:
        async for item in client.everything():
            self._show(item)

    def _show(self, item: Item) -> None:
        lines = self._story.tell(item)
        self._screen.show(lines, self._story.partial())
        if isinstance(item, Reset) and self._runs:
            self._runs.clear()
            self._code = 1
            self._tell()
        elif isinstance(item, WireRecord) and item.run in self._runs and item.type in TERMINALS:
            self._ended(item.run, item.type)

    def _ended(self, run: str, how: str) -> None:
        self._runs.discard(run)
        if how != "agent_completed" and self._keys is None:
            self._code = 1
        self._tell()

    async def _type(self, typed: trio.MemorySendChannel[str]) -> None:
        """Take what is typed; at the end of a pipe wait for what came of it."""
        reader = LineReader(STDIN) if self._keys is None else self._keys
        while not reader.ended:
            for line in await reader.read():
                if line.strip() == "/quit":
                    return
                if line.strip():
                    self._unsent += 1
                    if self._keys is not None:
                        self._say_missed()
                    await typed.send(line.strip())
        if self._keys is None and not os.isatty(STDIN):
            while self._unsent or self._runs:
                await self._changed.wait()

    async def _send_all(self, client: Client, typing: trio.MemoryReceiveChannel[str]) -> None:
        async for text in typing:
            try:
                if text == "/stop":
                    await self._stop(client)
                else:
                    run = await client.send(text)
                    how = self._story.ended.get(run)
                    self._runs.add(run)
                    if how is not None:
                        self._ended(run, how)
            except (CommandFailed, ValueError, TooManyCommands) as error:
                self._note(str(error), "red")
                self._code = 0 if self._keys is not None else 1
            self._unsent -= 1
            self._tell()

    async def _stop(self, client: Client) -> None:
        run = self._story.newest_run
        if run is None:
            self._note("no run is open", "dim")
        else:
            await client.cancel(run)

    def _note(self, text: str, style: str) -> None:
        self._screen.show([Line("", clean(text), style)], self._story.partial())

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


async def _until_one_ends(*tasks: Callable[[], Awaitable[None]]) -> None:
    """Run them until the first has ended. What it raised is raised, not wrapped into a group."""
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def run(task: Callable[[], Awaitable[None]]) -> None:
            nonlocal raised
            try:
                await task()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again below; SystemExit: a broken pipe
                raised = raised or error
            nursery.cancel_scope.cancel()

        for task in tasks:
            nursery.start_soon(run, task)
    if raised is not None:
        raise raised
