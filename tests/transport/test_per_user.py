"""How often each user may do something, against buckets that nobody forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.per_user import PerUser
from callboard.transport.protocol import TokenBucket

# Binary fractions, so that no sum is rounded.
waits = st.integers(0, 80).map(lambda eighths: eighths / 8)


# S13
@given(steps=st.lists(st.tuples(waits, st.sampled_from("abc")), max_size=60), at_once=st.integers(1, 5))
def test_a_user_is_held_to_the_rate_and_forgotten_once_that_makes_no_difference(
    steps: list[tuple[float, str]], at_once: int
) -> None:
    """What is granted is what buckets that are kept for ever would grant; kept are those of the last seconds only."""
    rate, now = 0.5, 0.0
    some, all_ever, used = PerUser(rate, at_once), dict[str, TokenBucket](), dict[str, float]()
    for wait, user in steps:
        now += wait
        kept = all_ever.setdefault(user, TokenBucket(rate, at_once, now))
        assert some.take(user, now) == kept.take(now)
        used[user] = now
        assert len(some) <= sum(now - at < at_once / rate for at in used.values())
