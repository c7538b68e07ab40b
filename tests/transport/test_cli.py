"""The command line up to the point where a node would serve; the rest is in `tests/integration`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from joserfc import jwt
from joserfc.jwk import OctKey

import callboard
from callboard.transport import ConfigError
from callboard.transport.cli import main
from callboard.transport.cli.apps import load_app

PLATFORM = "from callboard import Agent, App\nboard = App(agents={'a': Agent})\nother = 5\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder and configuration folder, and no modules left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("platform_"):
            del sys.modules[name]


def run(*arguments: str, **environ: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, arguments, env=environ)


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)], ids=" ".join)
def test_help_says_what_a_command_does(command: list[str]) -> None:
    """In words, with examples on lines of their own, and without an error or a mark of its writing."""
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "callboard " + " ".join(command) in result.output
    assert not any(mark in result.output for mark in ("\\b", "[dim]", "[/]", "\b"))
    for name in command:
        assert f"\n   callboard {name}" in result.output
    assert run(*command, "-h").output == result.output


def test_a_token_and_nothing_else(here: Path) -> None:
    """So that it can stand in a command line; it is signed with the development key, and good for 24 hours."""
    result = run("token", "--user", "ada", "--scope", "operator")
    assert result.exit_code == 0
    assert result.stderr == ""
    key_file = here / "config" / "callboard" / "callboard-dev.key"
    key = OctKey.import_key(bytes.fromhex(key_file.read_text(encoding="ascii").strip()))
    claims = jwt.decode(result.stdout.strip(), key, algorithms=["HS256"]).claims
    assert (claims["sub"], claims["scope"]) == ("ada", "operator")
    assert claims["exp"] - claims["iat"] == 86_400
    assert result.stdout.count("\n") == 1


def test_the_development_key_lies_beside_the_settings(here: Path) -> None:
    """Where there are some."""
    (here / "callboard.toml").write_text("", encoding="utf-8")
    assert run("token", "--user", "ada").exit_code == 0
    assert (here / "callboard-dev.key").exists()
    assert not (here / "config").exists()


WRONG: list[tuple[list[str], str]] = [
    (["token"], "--user"),
    (["token", "--user", ""], "1 to 200"),
    (["token", "--user", "x" * 201], "1 to 200"),
    (["token", "--user", "a\nb"], "printable"),
    (["serve"], "--app MODULE:NAME"),
    (["serve", "--app", "platform_a"], "form MODULE:NAME"),
    (["serve", "--app", "platform_a:"], "form MODULE:NAME"),
    (["serve", "--app", ":board"], "form MODULE:NAME"),
    (["serve", "--app", "..platform_a:board"], "form MODULE:NAME"),
    (["serve", "--app", "platform_none:board"], "no module 'platform_none'"),
    (["serve", "--app", "platform_a.none:board"], "no module 'platform_a.none'"),
    (["serve", "--app", "platform_a:other"], "apps there: board"),
    (["serve", "--app", "platform_a:none"], "apps there: board"),
    (["serve", "--app", "platform_a:board"], "no key"),
    (["serve", "--app", "platform_a:board", "--port", "65536"], "65535"),
    (["serve", "--app", "platform_a:board", "--dev", "--host", "0.0.0.0"], "loopback"),
    (["serve", "--app", "platform_a:board", "--config", "nope.toml"], "nope.toml"),
    (["serve", "--app", "platform_a:board", "--dev", "--origin", "example.org"], "scheme://host"),
    (["serve", "--nonsense"], "nonsense"),
    (["nonsense"], "nonsense"),
]


@pytest.mark.parametrize("arguments, said", WRONG, ids=[" ".join(case[0])[:60] for case in WRONG])
def test_what_is_wrong_is_said_without_a_traceback(here: Path, arguments: list[str], said: str) -> None:
    """Exit code 2, one paragraph on standard error, nothing on standard output."""
    (here / "platform_a.py").write_text(PLATFORM, encoding="utf-8")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split()), result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_message_with_brackets_is_shown_whole(here: Path) -> None:
    """Brackets are no styling: the table that could be meant is named."""
    (here / "callboard.toml").write_text("prot = 1", encoding="utf-8")
    assert "[limits]" in run("serve", "--app", "a:b").stderr


def test_two_keys_are_one_too_many(here: Path) -> None:
    """With --dev a real key would go unused in silence."""  # S12
    (here / "platform_a.py").write_text(PLATFORM, encoding="utf-8")
    result = run("serve", "--app", "platform_a:board", "--dev", CALLBOARD_KEY="00" * 32)
    assert result.exit_code == 2
    assert "leave one of them out" in result.stderr


def test_an_app_is_looked_up_in_the_current_folder_first(here: Path) -> None:
    """Before what is installed under the same name; an error of the platform's own is not dressed up."""
    (here / "platform_b.py").write_text(PLATFORM, encoding="utf-8")
    assert list(load_app("platform_b:board").agents) == ["a"]
    (here / "platform_c.py").write_text("import platform_missing\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="platform_missing"):
        load_app("platform_c:board")
    (here / "platform_d.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        load_app("platform_d:board")
    with pytest.raises(ConfigError, match="platform_e"):
        load_app("platform_e:board")


def test_a_user_is_forgotten(here: Path) -> None:
    """Says how much was erased, and where; exit code 1 when there was nothing, as for a name that is mistyped."""

    async def talk() -> None:
        async with callboard.open(agents={"a": callboard.Agent}, journal=here / "callboard.db") as board:
            await board.publish("ada", "x.said", {})
            await board.publish("ada", "x.said", {}, session="notes")

    missing = run("forget", "--user", "ada", "--journal", "callboard.db")
    assert (missing.exit_code, missing.stderr) == (1, f"callboard: there is no journal {here / 'callboard.db'}\n")
    trio.run(talk)
    other = run("forget", "--user", "adam", "--journal", "callboard.db")
    assert (other.exit_code, other.stdout) == (1, "")
    assert "has no session of 'adam'" in other.stderr
    done = run("forget", "--user", "ada", CALLBOARD_JOURNAL=str(here / "callboard.db"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"forgot 2 sessions of ada: nothing of them is left in {here / 'callboard.db'}\n"
    assert run("forget", "--user", "ada", "--journal", ":memory:").exit_code == 1
