"""The token bucket, against a model in exact fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.protocol.bucket import TokenBucket

# Sixteenths of a second and powers of two: floats hold them exactly, so model and bucket must agree always.
STEPS = st.lists(st.integers(min_value=0, max_value=64), max_size=80)
RATES = st.sampled_from([0.5, 1.0, 2.0, 4.0, 16.0])


@given(RATES, st.integers(min_value=1, max_value=8), STEPS)
def test_it_agrees_with_the_model(per_second: float, capacity: int, steps: list[int]) -> None:
    """Tokens grow with time up to the capacity, and one is taken whole or not at all."""
    bucket = TokenBucket(per_second, capacity, 100.0)
    tokens, now = Fraction(capacity), Fraction(100)
    for step in steps:
        now += Fraction(step, 16)
        tokens = min(Fraction(capacity), tokens + Fraction(step, 16) * Fraction(per_second))
        expected = tokens >= 1
        assert bucket.take(float(now)) is expected
        tokens -= expected


@given(RATES, st.integers(min_value=1, max_value=8), STEPS)
def test_no_stretch_of_time_brings_more_than_burst_and_rate(per_second: float, capacity: int, steps: list[int]) -> None:
    """Between any two takes that succeed lie at most `capacity` plus what the rate gives."""
    bucket = TokenBucket(per_second, capacity, 0.0)
    now, taken = 0.0, []
    for step in steps:
        now += step / 16
        if bucket.take(now):
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= capacity + (taken[last] - start) * per_second


def test_a_clock_that_goes_back_gains_nothing() -> None:
    """Nor does the time come twice when it goes on."""
    bucket = TokenBucket(1.0, 1, 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
    assert not bucket.take(10.5)
    assert bucket.take(11.0)


@pytest.mark.parametrize("idle", [2.0, 2e9])
def test_a_long_pause_fills_it_to_the_brim_only(idle: float) -> None:
    """The burst does not grow with the pause."""
    bucket = TokenBucket(20.0, 40, 0.0)
    assert [bucket.take(0.0) for _ in range(41)] == [True] * 40 + [False]
    assert [bucket.take(idle) for _ in range(41)] == [True] * 40 + [False]
