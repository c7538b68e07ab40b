"""The soak, for two minutes; `make soak` goes on for longer."""

from __future__ import annotations

import random

import pytest

from tests.integration.soak import soaked


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_minutes_of_churn_leave_nothing_behind() -> None:
    """S8 S11 S13. Red if actors, entries, connections, tickets, tasks, threads, descriptors or memory are left over."""
    outcome = soaked(120.0, seed=random.randrange(10**6))
    assert outcome.wrong == []
    assert min(outcome.did[what] for what in ("users", "runs", "cuts", "slow readers", "cancelled")) > 10
