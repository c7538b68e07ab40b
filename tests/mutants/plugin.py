"""A pytest plugin that breaks the kernel of its process: ``-p tests.mutants.plugin --mutant NAME``.

With it comes a Hypothesis profile that looks for a counterexample and does not shrink it, always in the same places: so
that a mutant is noticed at each run or at none.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from tests.mutants.kernel import MUTANTS

settings.register_profile(
    "mutants", deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The mutant's name; none is the healthy kernel."""
    parser.addoption("--mutant", choices=sorted(MUTANTS))


def pytest_configure(config: pytest.Config) -> None:
    """Break it before the tests are imported, for as long as the process lives."""
    name = config.getoption("--mutant")
    if name is not None:
        patch = pytest.MonkeyPatch()
        MUTANTS[name].apply(patch)
        config.add_cleanup(patch.undo)
