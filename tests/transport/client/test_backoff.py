"""How long a client waits, to the second."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.client.backoff import LASTING_SECONDS, Backoff
from callboard.transport.protocol import Verdict, verdict


class Least(random.Random):
    """Draws the least that is allowed."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Most(random.Random):
    """Draws the most."""

    def uniform(self, a: float, b: float) -> float:
        return b


def waits(code: int, rng: random.Random, times: int = 7) -> list[float]:
    """The waits after connections that ended so, each right after its welcome."""
    backoff, now, found = Backoff(rng), 0.0, []
    for _ in range(times):
        backoff.opened(now)
        found.append(backoff.ended(verdict(code), now))
    return found


@pytest.mark.parametrize("code", [4100, 4101, 4104, 4199, 1013, 1011, 3000])
def test_who_is_told_to_back_off_waits_a_second_at_least_and_twenty_at_most(code: int) -> None:
    """Full jitter above one second; the cap doubles."""
    assert waits(code, Least()) == [1.0] * 7
    assert waits(code, Most()) == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


@pytest.mark.parametrize("code", [4200, 4201, 4299, 4300, 4303])
def test_at_once_is_for_the_first_time(code: int) -> None:
    """A node that says so over and over is not met with a busy loop."""
    assert waits(code, Most()) == [0.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


@pytest.mark.parametrize("code", [1001, 1012, 1006])
def test_who_is_to_resume_with_jitter_waits_up_to_a_second(code: int) -> None:
    """And longer if it happens again at once."""
    assert waits(code, Least()) == [0.0] * 7
    assert waits(code, Most()) == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_a_connection_that_lasted_begins_anew() -> None:
    """Its end is the first thing that went wrong."""
    backoff = Backoff(Most())
    for _ in range(5):
        backoff.failed()
    backoff.opened(100.0)
    assert backoff.ended(Verdict.BACK_OFF, 100.0 + LASTING_SECONDS) == 2.0


def test_a_connection_that_did_not_last_counts_on() -> None:
    """So does an attempt that led to none after it."""
    backoff = Backoff(Most())
    backoff.opened(0.0)
    assert backoff.ended(Verdict.BACK_OFF, LASTING_SECONDS - 0.1) == 2.0
    assert backoff.failed() == 4.0
    assert backoff.ended(Verdict.BACK_OFF, 1_000.0) == 8.0, "nothing was open, so nothing lasted"


def test_what_the_node_asks_for_is_waited_for_with_jitter_on_top() -> None:
    """Or all that were refused in one second would be back in one."""
    assert Backoff(Least()).failed(7.0) == 7.0
    assert Backoff(Most()).failed(7.0) == 9.0


@given(st.lists(st.sampled_from(sorted(Verdict, key=str)), max_size=3_000), st.integers())
def test_no_wait_is_longer_than_twenty_seconds(ends: list[Verdict], seed: int) -> None:
    """Whatever happens, however often."""
    backoff = Backoff(random.Random(seed))
    for what in ends:
        assert 0.0 <= backoff.ended(what, 0.0) <= 20.0
    assert 1.0 <= backoff.failed() <= 20.0
