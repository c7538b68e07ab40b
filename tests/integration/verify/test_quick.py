"""`callboard verify` from end to end, in seconds: a healthy node passes, and of a broken one it tells what is wrong.

What takes longer stands beside this, and is run by `make check-long`.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from callboard.transport.cli import main
from callboard.transport.verify import Line
from tests.integration.verify.door_mutants import DOOR_MUTANTS
from tests.integration.verify.nodes import HEALTHY, KEY, node_in_thread

# That one expires is waited for; the others are shown long before, also on a busy machine.
TICKET_SECONDS = 3.0


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with settings, so that the development key lies there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "callboard.toml").touch()
    key_file = tmp_path / "callboard-dev.key"
    key_file.write_text(KEY.hex(), encoding="ascii")
    key_file.chmod(0o600)


def run(*arguments: str) -> Result:
    """Call the command."""
    return CliRunner().invoke(main, ["verify", *arguments])


def test_a_healthy_node() -> None:
    """Exit code 0, a table with all lines, what was not checked, and progress on standard error."""
    with node_in_thread(attrs.evolve(HEALTHY, limits={"ticket_seconds": TICKET_SECONDS})) as url:
        result = run(url, "--users", "2", "--seed", "7")
    assert result.exit_code == 0, result.output
    assert all(line.title in result.stdout for line in Line)
    assert f"all {len(Line)} lines pass" in result.stdout
    assert "not checked:" in result.stdout
    assert "seed 7" in result.stdout
    assert "2 of 2: users through message and events" in result.stderr


def test_a_broken_node() -> None:
    """Exit code 1, and the first evidence: who saw what, and what was expected."""
    mutant = next(mutant for mutant in DOOR_MUTANTS if mutant.line is Line.FORGED)
    with node_in_thread(mutant) as url:
        result = run(url, "--users", "1", "--timeout", "20")
    assert result.exit_code == 1
    told = " ".join(result.stdout.split())
    assert "line a forged ticket: 4302 user verify-" in told
    assert "expected a close with 4302 seen welcome" in told
    assert f"1 of {len(Line) - 1} lines failed" in told
