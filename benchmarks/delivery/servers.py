"""Who serves in this benchmark: how each is started, and what its clients speak."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import attrs

from ..contenders import CALLBOARD
from ..machine import version_of
from ..trials import Contender, Missing
from .payload import pieces
from .peer import Task

__all__ = ["SERVERS", "Server"]

HERE = Path(__file__).parent
GO_SOURCES = Path("/usr/share/gocode/src/github.com")


@attrs.frozen
class Server:
    """One who serves. `command` gives the command line for a task; `clients` is what `load.KINDS` calls its clients."""

    contender: Contender
    command: Callable[[Task], Sequence[str]]
    clients: str = "plain"


def _ours(journal: str) -> Callable[[Task], Sequence[str]]:
    # A port of the system's choosing. The journal's file lies in the folder where the server is started.
    serve = ("serve", "--app", "benchmarks.delivery.firehose:board", "--port", "0", "--journal", journal)
    return lambda _: (sys.executable, "-m", "callboard", *serve)


def _python(name: str, package: str, meaning: str, *, clients: str = "plain", also: Sequence[str] = ()) -> Server:
    def version() -> str:
        try:
            return " with ".join((version_of(package), *(f"{other} {version_of(other)}" for other in also)))
        except metadata.PackageNotFoundError as missing:
            raise Missing(f"pip install {missing.name}, or make bench") from None

    module = f"benchmarks.delivery.on_{name}"
    return Server(Contender(package, meaning, version), lambda task: _with(task, sys.executable, "-m", module), clients)


def _with(task: Task, *command: str) -> Sequence[str]:
    return (*command, str(task.events), str(task.clients), str(task.burst))


def _node_ws_version() -> str:
    node = shutil.which("node")
    if node is None:
        raise Missing("sh benchmarks/delivery/install_peers.sh")
    asked = subprocess.run(
        [node, "-p", "process.version + ' ' + require('ws/package.json').version"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise Missing("sh benchmarks/delivery/install_peers.sh")
    return "{1}, node {0}".format(*asked.stdout.split())


def _centrifuge_version() -> str:
    if shutil.which("go") is None or not (GO_SOURCES / "centrifugal/centrifuge").exists():
        raise Missing("sh benchmarks/delivery/install_peers.sh")
    _centrifuge()
    asked = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-centrifugal-centrifuge-dev"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout or "unknown"


@functools.cache
def _centrifuge() -> str:
    """Build it once, outside of the clock."""
    program = Path(tempfile.mkdtemp(prefix="callboard-bench-")) / "centrifuge"
    built = subprocess.run(
        ["go", "build", "-o", str(program), str(HERE / "on_centrifuge" / "main.go")],
        env={"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "HOME": str(program.parent), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise Missing(f"sh benchmarks/delivery/install_peers.sh; go build says {built.stderr.strip().splitlines()[0]}")
    return str(program)


def _finished(task: Task, *command: str) -> Sequence[str]:
    return (*_with(task, *command), json.dumps(pieces("/@NAME@")))


SERVERS = {
    "callboard": Server(CALLBOARD, _ours(":memory:"), "callboard"),
    "callboard on disk": Server(
        Contender("callboard on disk", "the same with the journal that `serve` has by default", CALLBOARD.version),
        _ours("journal.db"),
        "callboard",
    ),
    "trio-websocket": _python("trio_websocket", "trio-websocket", "`send_message` for each event", also=("trio",)),
    "websockets": _python("websockets", "websockets", "`send` for each event"),
    "starlette": _python("starlette", "starlette", "`send_text` for each event", also=("uvicorn", "uvloop")),
    "aiohttp": _python("aiohttp", "aiohttp", "`send_str` for each event", also=("uvloop",)),
    "picows": _python("picows", "picows", "a library in C; `send` for each event", also=("uvloop",)),
    "python-socketio": _python(
        "socketio", "python-socketio", "`emit` for each event", clients="socket.io", also=("uvicorn", "uvloop")
    ),
    "ws": Server(
        Contender("ws", "Node; `send` for each event", _node_ws_version),
        lambda task: _finished(task, "node", str(HERE / "on_ws.js")),
    ),
    "centrifuge": Server(
        Contender("centrifuge", "Go, what Centrifugo is made of; `Publish` for each event", _centrifuge_version),
        lambda task: _finished(task, _centrifuge()),
        "centrifuge",
    ),
}
