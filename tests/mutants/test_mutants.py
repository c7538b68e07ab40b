"""Whoever breaks a law of actors hears of it: each broken kernel turns the very test red that names the law."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.kernel import MUTANTS, QUICK, Mutant
from tests.test_laws import OF_ACTORS, laws_named

ROOT = Path(__file__).parent.parent.parent

# A hung test ends by itself sooner; this is for a process that does not.
LIMIT_SECONDS = 180


def outcome(tests: list[str], mutant: str | None) -> tuple[int, str]:
    """What pytest says of these tests with such a kernel: its exit code and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "--show-capture=no", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutants.plugin", "--hypothesis-profile=mutants", "--timeout=60", *tests]
    command += [] if mutant is None else ["--mutant", mutant]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def check(mutant: Mutant) -> None:
    """It is noticed, by the test of its law."""
    code, said = outcome([mutant.test], mutant.name)
    # 1 is a failed test; anything else is a defect of the mutant.
    assert code in (0, 1), said
    story = f"{mutant.law} broken by {mutant.name}: {mutant.apply.__doc__}"
    assert code == 1, f"{story}\nand {mutant.test} did not notice:\n{said}"


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_ones_are_noticed(name: str) -> None:
    """A few of them each time, so that the machinery itself does not rust."""
    check(MUTANTS[name])


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - QUICK), ids=lambda name: f"{MUTANTS[name].law}-{name}")
def test_each_broken_law_is_noticed(name: str) -> None:
    """All the others."""
    check(MUTANTS[name])


@pytest.mark.long
def test_the_healthy_kernel_passes() -> None:
    """The same tests, run in the same way: else a mutant would be noticed by a test that is always red."""
    code, said = outcome(sorted({mutant.test for mutant in MUTANTS.values()}), None)
    assert code == 0, said


def test_each_law_of_actors_has_a_mutant() -> None:
    """And it is to be noticed by a property test that names its law."""
    assert {mutant.law for mutant in MUTANTS.values()} == set(OF_ACTORS)
    for mutant in MUTANTS.values():
        path, _, test = mutant.test.partition("::")
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        (node,) = [each for each in module.body if getattr(each, "name", None) == test]
        first = min(node.lineno, *(each.lineno for each in getattr(node, "decorator_list", [])))
        source = "\n".join(lines[first - 2 : node.end_lineno])
        assert mutant.law in list(laws_named(source)), mutant
