"""A node that lives again and again: `callboard serve`, each time on the same port and the same journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import trio

from tests.integration.faults.noting_app import NOTES
from tests.integration.node_process import NodeProcess, node_process
from tests.integration.test_signals import port_of, token

__all__ = ["Lives", "lives"]

NOTING = "tests.integration.faults.noting_app:board"


class Lives:
    """The lives of one node. `begun` counts them; `node` is the last one.

    What `before` and `environ` say is for the lives to come: a command line that runs the node, and its environment.
    """

    def __init__(self, folder: Path, stack: ExitStack, limits: Mapping[str, object]) -> None:
        self.folder = folder
        self.notes = folder / "receipts"
        self.journal = folder / "callboard" / "callboard.db"
        self.port = 0
        self.begun = 0
        self.before: Sequence[str] = ()
        self.environ: Mapping[str, str] = {}
        self.app = NOTING
        self._limits = limits
        self._stack = stack
        self._nodes: list[NodeProcess] = []

    @property
    def node(self) -> NodeProcess:
        """The one that lives, or has died last."""
        return self._nodes[-1]

    @property
    def url(self) -> str:
        """Where it is found in each of its lives."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, user: str) -> str:
        """What a user presents."""
        return token(self.folder, user)

    def start(self) -> NodeProcess:
        """Begin a life, and wait for nothing."""
        making = node_process(
            self.folder,
            "--port",
            str(self.port),
            app=self.app,
            limits=self._limits,
            environ={NOTES: str(self.notes), **self.environ},
            before=self.before,
        )
        self._nodes.append(self._stack.enter_context(making))
        self.begun += 1
        return self.node

    async def serve(self) -> None:
        """Begin a life if there is none, and wait until it serves."""
        if not self._nodes or self.node.process.poll() is not None:
            self.start()
        self.port = await trio.to_thread.run_sync(partial(port_of, self.node))

    async def end(self, number: int) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        self.node.signal(number)
        return await trio.to_thread.run_sync(self.node.wait)

    def said(self) -> list[str]:
        """All lines of all lives."""
        return [line for node in self._nodes for line in node.lines]


@contextmanager
def lives(folder: Path, **limits: object) -> Iterator[Lives]:
    """A node for the body of a ``with``; its last life ends there. What any life says must be no traceback."""
    with ExitStack() as stack:
        living = Lives(folder, stack, limits)
        yield living
    assert not [line for line in living.said() if "Traceback" in line], "\n".join(living.said()[-200:])
