"""The examples of `runtime/README.md` run as they are printed there, and say what their comments say."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent.parent / "runtime" / "README.md"


def example(number: int) -> None:
    """Run that block of the page."""
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)[number]
    exec(compile(code, str(README), "exec"), {"__name__": "example"})


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers, a refusal, and the statistics of four actors that never failed."""
    example(0)
    assert capsys.readouterr().out.splitlines() == [
        "10",
        "bob has 10",
        "shop running 0 0",
        "shop/bank running 4 0",
        "shop/bank/ann running 1 0",
        "shop/bank/bob running 3 0",
    ]


def test_the_example_of_a_test_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault comes with its message, and an hour of virtual time takes none."""
    example(1)
    assert capsys.readouterr().out.splitlines() == [
        "('take', 'soup')",
        "a soup at 0.0",
        "('take', 'stew')",
        "a stew at 3600.0",
        "('take', 'pie')",
        "no pie",
    ]


def test_the_example_of_a_thread_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A stock pykka actor answers, fails and is restarted, is too slow and goes on."""
    example(2)
    assert capsys.readouterr().out.splitlines() == ["2 pages", "failed: -1", "too slow", "3 pages"]
