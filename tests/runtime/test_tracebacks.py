"""What a log shows of an exception: types and places, in bounds, and no word of what it says."""

from __future__ import annotations

import logging

import pytest

from callboard.runtime import TRACEBACKS, log_traceback
from callboard.runtime.tracebacks import MAX_ERRORS, MAX_FRAMES, places


def dive(depth: int) -> None:
    """Fail so many calls down, saying so."""
    if depth == 0:
        raise RuntimeError("a secret")
    dive(depth - 1)


def raised(depth: int = 0) -> RuntimeError:
    """An exception with its traceback."""
    with pytest.raises(RuntimeError) as info:
        dive(depth)
    return info.value


def test_places_are_told_and_what_it_says_is_not() -> None:
    """The type, the file, the function and the line of source; of causes and of groups too."""
    inner, context, error = raised(), KeyError("a secret"), RuntimeError("a secret")
    error.__cause__ = ExceptionGroup("a secret", [inner, ValueError("a secret")])
    inner.__context__ = context
    text = places(error)
    assert "caused by ExceptionGroup" in text
    assert "in the group: RuntimeError" in text
    assert "while handling KeyError" in text
    assert "in the group: ValueError" in text
    assert "in dive" in text
    assert text.count("a secret") == text.count('raise RuntimeError("a secret")') == 1  # the line of source


def test_what_was_said_not_to_matter_is_left_out() -> None:
    """After `raise … from None` nobody wants to hear of what was being handled."""
    error = RuntimeError()
    error.__context__, error.__suppress_context__ = KeyError(), True
    assert places(error) == "RuntimeError"


def test_deep_stacks_and_long_chains_are_cut() -> None:
    """A recursion shows its innermost frames; exceptions that cause one another in a circle end."""
    text = places(raised(depth=200))
    assert text.count("in dive") <= MAX_FRAMES
    assert text.endswith('raise RuntimeError("a secret")')
    errors = [RuntimeError() for _ in range(MAX_ERRORS + 5)]
    for one, next_one in zip(errors, [*errors[1:], errors[0]], strict=True):
        one.__cause__ = next_one
    text = places(errors[0])
    assert text.count("RuntimeError") == MAX_ERRORS
    assert text.endswith("and more")
    circle = RuntimeError()
    circle.__cause__ = other = ValueError()
    other.__cause__ = circle
    assert places(circle) == "RuntimeError\ncaused by ValueError"


@pytest.mark.parametrize("switched_on", [False, True])
def test_only_the_logger_of_that_name_says_what_an_exception_says(
    switched_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """At debug level of everything it is not said; switched on by name it is, once."""
    tracebacks = logging.getLogger(TRACEBACKS)
    level = tracebacks.level
    assert not tracebacks.isEnabledFor(logging.CRITICAL)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "callboard")
    if switched_on:
        tracebacks.setLevel(logging.DEBUG)
    try:
        log_traceback(ValueError("a secret"), "actor %s failed", "a/b")
    finally:
        tracebacks.setLevel(level)
    assert ("a secret" in caplog.text) is switched_on
    assert len(caplog.records) == 1
    assert "actor a/b failed" in caplog.text
    assert "ValueError" in caplog.text
