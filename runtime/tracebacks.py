"""Tracebacks in the log: places and types, and never what an exception says, as that can quote what users wrote.

What exceptions say goes to a logger of its own, ``callboard.tracebacks``, which is off until somebody sets its level by
name: so no level of ``callboard``, and none of the root, brings a user's text into a log by accident.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

__all__ = ["TRACEBACKS", "log_traceback", "places"]

logger = logging.getLogger("callboard")

TRACEBACKS = "callboard.tracebacks"
_with_texts = logging.getLogger(TRACEBACKS)
if _with_texts.level == logging.NOTSET:
    _with_texts.setLevel(logging.CRITICAL + 1)

# The innermost frames say where; a recursion that never ended has a thousand of them.
MAX_FRAMES = 30
# Causes of causes, and exceptions of groups, that are shown; a retry loop may chain them without end.
MAX_ERRORS = 10


def log_traceback(error: BaseException, what: str, *args: object) -> None:
    """Log at debug level where an exception comes from; with what it says if `callboard.tracebacks` is switched on."""
    if _with_texts.isEnabledFor(logging.DEBUG):
        _with_texts.debug(what, *args, exc_info=error)
    elif logger.isEnabledFor(logging.DEBUG):
        logger.debug(what + ":\n%s", *args, places(error))


def places(error: BaseException) -> str:
    """Where an exception comes from, and the exceptions behind it: the type of each, and its lines of source."""
    parts: list[str] = []
    for said, one in _with_causes(error):
        if len(parts) == MAX_ERRORS:
            parts.append("and more\n")
            break
        frames = traceback.extract_tb(one.__traceback__)[-MAX_FRAMES:]
        parts.append(f"{said}{type(one).__qualname__}\n{''.join(traceback.format_list(frames))}")
    return "".join(parts).rstrip("\n")


def _with_causes(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    seen: set[int] = set()
    waiting = [("", error)]
    while waiting:
        said, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield said, one
        if isinstance(one, BaseExceptionGroup):
            waiting += [("in the group: ", each) for each in reversed(one.exceptions)]
        if one.__cause__ is not None:
            waiting.append(("caused by ", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(("while handling ", one.__context__))
