"""What the commands share: the consoles, the log, and how errors are shown."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from ...actors import JournalRefused
from ...runtime import TRACEBACKS
from ..errors import ConfigError, ListenError

__all__ = ["clock", "complain", "err", "out", "show_log"]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def clock() -> float:
    """Unix seconds."""
    return time.time()


def show_log(level: int, *, tracebacks: bool = False) -> None:
    """Show the node's log lines on standard error: styled on a terminal, plain in a file.

    With `tracebacks` those at debug level say what exceptions say, too, which can quote what users wrote.
    """
    handler: logging.Handler
    if err.is_terminal:
        handler = RichHandler(console=err, show_path=False, markup=False, log_time_format="%H:%M:%S")
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("callboard")
    log.addHandler(handler)
    log.setLevel(level)
    if tracebacks:
        logging.getLogger(TRACEBACKS).setLevel(level)


@contextmanager
def complain() -> Iterator[None]:
    """Show what is wrong in one line, without a traceback: exit code 2 for a setting, 1 for an address or a journal.

    What the platform's own code raises is its author's, and is shown whole.
    """
    try:
        yield
    except ConfigError as error:
        err.print(f"[bold red]callboard:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except JournalRefused as error:
        err.print(f"[bold red]callboard:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except ListenError as error:
        err.print(f"[bold red]callboard:[/] {escape(error.strerror or str(error))}", soft_wrap=True)
        sys.exit(1)
