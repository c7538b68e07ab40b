"""`callboard top`: looks at a node again and again, and shows it on a terminal, or once."""

from __future__ import annotations

import signal
import ssl
import sys
from collections.abc import Callable

import attrs
import httpx
import msgspec
import trio
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from ..errors import words_of
from ..selection import SORTS
from .console import err, out
from .editor import LineEditor
from .story import clean
from .terminal import cbreak, read_keys
from .top_view import Look, Wanted, show

__all__ = ["run_top"]

ANSWER_SECONDS = 10.0
# What a screen can show, and then some to scroll a filter over; a node may have a hundred thousand actors.
MOST_ACTORS = 2_000
ORDERS = (*(sort for sort in SORTS if sort != "start"), "rate")


class _NoLook(Exception):
    """The node gave no statistics; says why. `final`: it will not the next time either."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def run_top(
    url: str,
    token: Callable[[], str],
    wanted: Wanted,
    interval: float,
    how: str,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Look at a node; gives the exit code.

    Args:
        url: the node.
        token: gives a token with the scope `operator`, asked for again when the node no longer takes the last one.
        wanted: what to show at first.
        interval: seconds between two looks.
        how: ``live``, ``once`` or ``json``; without a terminal ``live`` is ``once``.
        tls: how the node's certificate is verified; by the system's authorities if None.
    """
    if how == "live" and not (out.is_terminal and sys.stdin.isatty()):
        how = "once"
    node = _Node(url, token, tls)
    try:
        if how == "live":
            return trio.run(_Top(node, wanted, interval, out).run)
        return trio.run(_once, node, wanted, how)
    except _NoLook as error:
        err.print(f"[bold red]callboard:[/] {escape(clean(str(error)))}", soft_wrap=True)
        return 1


class _Node:
    """Asks a node for its statistics."""

    def __init__(self, url: str, token: Callable[[], str], tls: ssl.SSLContext | None) -> None:
        self.url = url
        self._tls = tls
        self._token = token
        self._bearer = token()

    def client(self) -> httpx.AsyncClient:
        """What asks it; to be closed."""
        verify = True if self._tls is None else self._tls
        return httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False, verify=verify)

    async def ask(self, http: httpx.AsyncClient, wanted: Wanted) -> bytes:
        """The node's answer. Raises _NoLook with the reason if there is none."""
        sort = "path" if wanted.tree else "handled" if wanted.sort == "rate" else wanted.sort
        query = {"actors": str(MOST_ACTORS), "sort": sort, "match": wanted.match}
        try:
            response = await http.get(
                f"{self.url}/v1/statistics", params=query, headers={"authorization": f"Bearer {self._bearer}"}
            )
        except httpx.HTTPError as error:
            raise _NoLook(f"{self.url} does not answer: {words_of(error)}") from None
        if response.status_code == 401:
            self._bearer = self._token()  # it may have expired
        if response.status_code != 200:
            final = response.status_code in (401, 403, 404)
            raise _NoLook(f"{self.url} answers {response.status_code}: {_detail(response.content)}", final=final)
        return response.content


def _detail(body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError:
        return "this is no callboard node"
    return str(problem.get("detail") or problem.get("title") or "no reason given")


def _read(url: str, body: bytes) -> Look:
    try:
        return msgspec.json.decode(body, type=Look)
    except msgspec.DecodeError as error:
        raise _NoLook(f"{url} does not answer as a callboard node does: {error}", final=True) from None


async def _once(node: _Node, wanted: Wanted, how: str) -> int:
    async with node.client() as http:
        body = await node.ask(http, wanted)
    if how == "json":
        out.print_json(body.decode())
    else:
        out.print(show(_read(node.url, body), None, 0.0, wanted, node.url, None))
    return 0


class _Top:
    """The live view."""

    def __init__(self, node: _Node, wanted: Wanted, interval: float, console: Console) -> None:
        self._node = node
        self._wanted = wanted
        self._interval = interval
        self._console = console
        self._look: Look | None = None
        self._before: Look | None = None
        self._at = 0.0
        self._seconds = 0.0
        self._trouble = ""
        self._again = trio.Event()
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    async def run(self) -> int:
        """Show the node until q or Ctrl-C."""
        error: _NoLook | None = None
        async with self._node.client() as http:
            # Before the screen is taken: that a node is not there is told on the screen as it was.
            await self._take(http)
            with (
                trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGWINCH) as signals,
                cbreak(sys.stdin.fileno()),
                self._live,
            ):
                async with trio.open_nursery() as nursery:

                    async def look() -> None:
                        nonlocal error
                        try:
                            await self._keep_looking(http)
                        except _NoLook as raised:
                            error = raised  # outside of the nursery, which would wrap it
                        nursery.cancel_scope.cancel()

                    async def listen() -> None:
                        async for number in signals:
                            if number != signal.SIGWINCH:
                                nursery.cancel_scope.cancel()
                            self._draw()

                    nursery.start_soon(look)
                    nursery.start_soon(listen)
                    await self._keys()
                    nursery.cancel_scope.cancel()
        if error is not None:
            raise error
        return 0

    async def _keep_looking(self, http: httpx.AsyncClient) -> None:
        while True:
            self._draw()
            self._again = trio.Event()
            with trio.move_on_after(self._interval):
                await self._again.wait()
            if self._wanted.paused:
                continue
            try:
                await self._take(http)
            except _NoLook as error:
                if error.final:
                    raise
                self._trouble = str(error)

    async def _take(self, http: httpx.AsyncClient) -> None:
        look = _read(self._node.url, await self._node.ask(http, self._wanted))
        now = trio.current_time()
        self._trouble = ""
        self._seconds, self._at = now - self._at, now
        self._before, self._look = self._look, look

    def _draw(self) -> None:
        if self._look is not None:
            self._live.update(
                show(
                    self._look,
                    self._before,
                    self._seconds,
                    self._wanted,
                    self._node.url,
                    self._console.height,
                    self._trouble,
                ),
                refresh=True,
            )

    async def _keys(self) -> None:
        editor: LineEditor | None = None
        while True:
            data = await read_keys(sys.stdin.fileno())
            if not data:
                return  # the terminal is gone
            if editor is not None:
                lines = editor.feed(data)
                if lines or editor.ended:
                    self._set(typing=None, match=lines[0].strip() if lines else "")
                    editor = None
                    self._again.set()
                else:
                    self._set(typing=editor.text)
                continue
            key = data.decode("utf-8", "replace")[:1]
            if key in ("q", "\x04"):
                return
            if key == "/":
                editor = LineEditor()
                self._set(typing="")
            elif key == "s":
                order = (
                    ORDERS[(ORDERS.index(self._wanted.sort) + 1) % len(ORDERS)] if not self._wanted.tree else "stuck"
                )
                self._set(sort=order, tree=False)
                self._again.set()
            elif key == "t":
                self._set(tree=not self._wanted.tree)
                self._again.set()
            elif key == " ":
                self._set(paused=not self._wanted.paused)

    def _set(self, **changes: object) -> None:
        self._wanted = attrs.evolve(self._wanted, **changes)  # type: ignore[arg-type]  # names of its own fields
        self._draw()
