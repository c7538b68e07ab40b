"""`callboard demo`: node, agent and page on one port of this machine, with a login open to whoever sits at it."""

from __future__ import annotations

import errno
import logging
import mimetypes
import os
import shutil
import socket
import sys
import webbrowser
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import msgspec
import trio
from rich.markup import escape
from rich.panel import Panel

from ...actors import Limits, SessionKey
from ..api import Handler
from ..board import Board
from ..errors import ConfigError, Problem
from ..http import Request, Response, json_response
from .apps import load_app
from .console import out, show_log
from .serve import Serving, kept_where, run_board

__all__ = ["demo_routes", "run_demo"]

APP = "callboard.examples.librarian:board"
PAGE = "callboard.examples.librarian.page"
DEFAULT_PORT = 8765
# Its pages have no other node to go to, and whoever presses Ctrl-C waits for the prompt; all are on one machine, so
# that its address needs no bound of its own.
LIMITS = Limits(drain_seconds=2.0, connections_per_address=Limits().connections)
# The page loads only what the node serves; what an agent wrote cannot load or run anything.
CONTENT_SECURITY_POLICY = "default-src 'self'; connect-src 'self' ws:; frame-ancestors 'self'; base-uri 'none'"


def run_demo(port: int | None, key: bytes, journal: Path | None, *, browser: bool, verbose: bool) -> None:
    """Serve the demo until Ctrl-C. `key` is the development key, with which `attach`, `top` and `verify` come, too."""
    chosen = _free_port() if port is None else port

    def announce(board: Board) -> None:
        out.print(
            Panel.fit(
                f"Open [bold link={board.url}]{board.url}[/] and log in with any name.\n"
                f"Two users side by side: [bold]{board.url}/?split=ada,grace[/]\n"
                f"In a second terminal: [bold]{escape(_command())} verify {board.url}[/]\n"
                "[dim]The agent searches the Python that is installed here. Ctrl-C stops it.[/]",
                title="callboard demo",
                border_style="green",
            )
        )
        out.print(f"[dim]{escape(kept_where(journal, 'process'))}[/]", soft_wrap=True)
        if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(board.url)

    show_log(logging.INFO if verbose else logging.WARNING)
    serving = Serving(
        app=load_app(APP),
        host="127.0.0.1",
        port=chosen,
        key=key,
        origins=(),
        journal=journal,
        limits=LIMITS,
        announce=announce,
        routes=demo_routes,
    )
    trio.run(run_board, serving)


def demo_routes(board: Board) -> Mapping[tuple[str, str], Handler]:
    """The page, and the demo's open login."""
    routes: dict[tuple[str, str], Handler] = {("POST", "/demo/login"): _login(board)}
    for file in resources.files(PAGE).iterdir():
        kind = mimetypes.guess_type(file.name)[0]
        if not file.is_file() or kind is None or file.name.startswith("_"):
            continue
        path = "/" if file.name == "index.html" else f"/{file.name}"
        routes["GET", path] = _page(file.read_bytes(), kind)
    if ("GET", "/") not in routes:
        raise ConfigError("the demo's page is missing: callboard was installed without its examples")
    return routes


def _login(board: Board) -> Handler:
    async def login(request: Request) -> Response:
        # Whoever can open this port may log in as anybody. So it has to be this machine's own page that asks: a page of
        # another origin, or a foreign name made to point here, must not get a token out of a visitor's browser.
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if not board.own_host(host) or not board.origin_allowed(origin):
            raise Problem(403, "Forbidden", "the demo's login is for its own page")
        try:
            user = msgspec.json.decode(request.body, type=_Login).user
            SessionKey(user)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise Problem(400, "Bad request", str(error)) from None
        return json_response(200, {"token": board.authenticator.token(user)})

    return login


class _Login(msgspec.Struct):
    user: str


def _page(body: bytes, kind: str) -> Handler:
    headers = (
        ("content-type", f"{kind}; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    )

    async def page(request: Request) -> Response:
        return Response(200, body, headers)

    return page


def _command() -> str:
    """How to call this program in another terminal: in a virtual environment that is not on the path, by its place."""
    if shutil.which("callboard"):
        return "callboard"
    place = Path(sys.executable).with_name("callboard")
    return str(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place)


def _free_port() -> int:
    """The demo's usual port, or any free one when that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return 0
    return DEFAULT_PORT
