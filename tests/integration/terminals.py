"""`callboard` commands in processes of their own: with pipes, or on a terminal whose other end the test holds."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

__all__ = ["Terminal", "environ", "on_a_terminal", "run"]

REPOSITORY = Path(__file__).parent.parent.parent
# A machine under load takes its time to import.
STEP_SECONDS = 30


def environ(**more: str) -> dict[str, str]:
    """The test's own environment, without what would change how something is shown."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CALLBOARD_") and name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    }
    return {**own, "TERM": "xterm-256color", "LANG": "C.UTF-8", **more}


def command(*arguments: str) -> list[str]:
    """What is run: every warning is an error."""
    return [sys.executable, "-W", "error", "-m", "callboard", *arguments]


async def run(*arguments: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
    """Run a command with pipes; gives its exit code, and what it said on standard output and error."""
    with trio.fail_after(STEP_SECONDS):
        done = await trio.run_process(
            command(*arguments),
            stdin=stdin.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environ(**more),
            cwd=REPOSITORY,
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Terminal:
    """A command on a terminal, and what it has written there so far."""

    def __init__(self, process: trio.Process, descriptor: int, slave: int) -> None:
        self.process = process
        self.written = b""
        self._descriptor = descriptor
        self._slave = slave

    async def until(self, text: str) -> None:
        """Read on until this was written. Raises AssertionError with what was written instead."""
        with trio.move_on_after(STEP_SECONDS):
            while text.encode() not in self.written:
                await trio.lowlevel.wait_readable(self._descriptor)
                self.written += os.read(self._descriptor, 65_536)
            return
        raise AssertionError(f"{text!r} was not written: {self.written!r}")

    def press(self, keys: str) -> None:
        """Type something; the character 3 is Ctrl-C."""
        os.write(self._descriptor, keys.encode())

    async def end(self) -> int:
        """Wait for its end, read the rest, and give the exit code."""
        with trio.fail_after(STEP_SECONDS):
            code = await self.process.wait()
        os.set_blocking(self._descriptor, False)
        try:
            while data := os.read(self._descriptor, 65_536):
                self.written += data
        except BlockingIOError:
            pass
        return code

    def modes(self) -> list[object]:
        """How the terminal treats its lines."""
        return list(termios.tcgetattr(self._slave))


@asynccontextmanager
async def on_a_terminal(*arguments: str, columns: int = 100, **more: str) -> AsyncIterator[Terminal]:
    """Run a command on a terminal of its own; it is killed at the end if it still runs."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process: trio.Process | None = None
    try:
        process = await trio.lowlevel.open_process(
            command(*arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ(**more),
            cwd=REPOSITORY,
            # Ctrl-C is for whose terminal it is.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        yield Terminal(process, master, slave)
    finally:
        if process is not None and process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        os.close(master)
        os.close(slave)
