"""A node as an operator runs it: `callboard serve` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["REPOSITORY", "NodeProcess", "node_process"]

REPOSITORY = Path(__file__).parent.parent.parent
# A machine under load takes its time to import; what takes longer than this hangs.
STEP_SECONDS = 60


class NodeProcess:
    """The process, and all that it says, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches, and give the match."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or self._ended, STEP_SECONDS)
            match = found()
        assert match is not None, f"no line with {pattern!r} in:\n" + "\n".join(self.lines)
        return match

    @property
    def url(self) -> str:
        """Where it serves, once it does."""
        return self.wait_line(r"serves .* on (http://\S+)")[1]

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = STEP_SECONDS) -> int:
        """Wait for its end, and give the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code


@contextmanager
def node_process(
    folder: Path,
    *arguments: str,
    app: str = "tests.integration.sample_app:board",
    limits: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Iterator[NodeProcess]:
    """Run `callboard serve` with its development key under `folder`; it is killed at the end if it still runs.

    Args:
        folder: for the key and, unless the arguments say otherwise, the journal.
        arguments: further ones; they overrule what is said here.
        app: what is served.
        limits: some of the node's.
        environ: added to the environment.
        before: a command line that runs the node, such as ``prlimit``.
    """
    added = environ or {}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    environ |= {"XDG_CONFIG_HOME": str(folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    environ |= {f"CALLBOARD_LIMITS_{name.upper()}": str(value) for name, value in (limits or {}).items()}
    environ |= added
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "callboard", "serve", "--dev", "--app", app, "--port", "0", *arguments],
        cwd=REPOSITORY,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    node = NodeProcess(process)
    try:
        yield node
    finally:
        if process.poll() is None:
            process.kill()
        node.wait()
        assert process.stdout is not None
        process.stdout.close()
