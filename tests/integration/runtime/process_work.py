"""What worker processes do in tests; they find it by its module and name."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


class Needy(Exception):
    """An exception that can be pickled and not be made again."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Unreadable:
    """Something that can be pickled here and not be read there."""

    def __reduce__(self) -> Any:
        return (fail, ("not here",))


def fail(text: str) -> NoReturn:
    """Raise."""
    raise LookupError(text)


def work(message: Any) -> Any:
    """Do what a message says."""
    match message:
        case ("sum", int(n)):
            return sum(range(n))
        case ("pid",):
            return os.getpid(), os.getpgid(0)
        case ("print", text):
            print(text)  # noqa: T201 - that is what is tested
            sys.stdout.flush()
            return "printed"
        case ("raise", error):
            raise error
        case ("needy",):
            raise Needy(1, 2)
        case ("refuse",):
            from callboard.runtime import Refusal  # only here: each process that imports it takes its time

            raise Refusal("not today")
        case ("exit", code):
            sys.exit(code)
        case ("kill", number):
            os.kill(os.getpid(), number)
        case ("lambda",):
            return lambda: None
        case ("bytes", n):
            return bytes(n)
        case ("spin", path):
            Path(path).write_text(str(os.getpid()))
            while True:
                pass
        case ("sleep", path):
            child = subprocess.Popen(["sleep", "1000"])
            Path(path).write_text(str(child.pid))
            time.sleep(1000)
        case ("descriptors",):
            return sorted(int(name) for name in os.listdir("/proc/self/fd"))
        case ("at exit", path):
            atexit.register(Path(path).write_text, "in order")
    return message


class Counter:
    """State of a process."""

    def __init__(self) -> None:
        self.n = 0


def count(state: Counter, message: Any) -> int:
    """Count messages."""
    if message == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    state.n += 1
    return state.n


def no_setup() -> None:
    """A set-up that fails."""
    raise FileNotFoundError("no model here")


def exit_setup() -> None:
    """A set-up that ends the process."""
    sys.exit(7)


def slow_setup() -> None:
    """A set-up that does not end."""
    time.sleep(1000)
