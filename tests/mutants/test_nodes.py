"""A node that breaks a law of sessions is found by the simulation, within 300 seeds, by the law that it breaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from callboard.transport.simulation import simulate
from tests.mutants.nodes import MUTANTS, QUICK, Mutant

SEEDS = 300


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Broken nodes complain."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def found(mutant: Mutant, patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The first seed at which the law is named, and what is said of it."""
    mutant.apply(patch)
    others: dict[str, None] = {}
    for seed in range(SEEDS):
        for wrong in simulate(seed, make_disk=mutant.disk).wrong:
            if wrong.startswith(mutant.law):
                return seed, wrong
            others[wrong] = None
    raise AssertionError(f"{mutant.apply.__doc__} Not found in {SEEDS} seeds; what was said: {list(others)[:3]}")


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_ones_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of them each time."""
    assert found(MUTANTS[name], monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - set(QUICK)), ids=lambda name: f"{MUTANTS[name].law}-{name}")
def test_each_broken_node_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the others."""
    assert found(MUTANTS[name], monkeypatch)
