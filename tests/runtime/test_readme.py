"""The example of `runtime/README.md` runs as it is printed there, and says what its comments say."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent.parent / "runtime" / "README.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers, a refusal, and the statistics of four actors that never failed."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, str(README), "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == [
        "10",
        "bob has 10",
        "shop running 0 0",
        "shop/bank running 4 0",
        "shop/bank/ann running 1 0",
        "shop/bank/bob running 3 0",
    ]
