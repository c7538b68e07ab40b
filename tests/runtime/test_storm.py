"""Storms of crashes, kills, stops, cancellations and time-outs over random trees, by seed."""

from collections import Counter

import pytest

from tests.runtime.storm import weather

SHORT, LONG = 100, 10_000


def storms(seeds: range) -> Counter[str]:
    """All of them; how their questions ended, in sum."""
    asks: Counter[str] = Counter()
    for seed in seeds:
        asks += weather(seed).asks
    return asks


def test_a_hundred_storms_leave_nothing_behind() -> None:
    """No ask without its end, no lost or repeated message, no stuck actor, no orphan, no restart too many."""
    asks = storms(range(SHORT))
    # The storms are rough enough to mean something.
    for outcome in ("ActorDeadError", "AskTimeout", "AskCycle", "Thunder", "Refusal", "MailboxFull", "cancelled"):
        assert asks[outcome] > 0, outcome


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_ten_thousand_storms_leave_nothing_behind() -> None:
    """The same, for all of them."""
    storms(range(SHORT, LONG))


def test_one_seed_gives_one_storm() -> None:
    """Else a seed that failed could not be replayed."""
    for seed in range(20):
        first, second = weather(seed), weather(seed)
        assert (first.asks, first.orders, first.begun, first.buried) == (
            second.asks,
            second.orders,
            second.begun,
            second.buried,
        )
