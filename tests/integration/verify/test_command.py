"""`callboard verify` as it is called: exit codes, the table, JSON, tokens, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

import callboard
from callboard.transport.cli import main
from callboard.transport.verify import Line
from tests.integration.verify.nodes import HEALTHY, KEY, node_in_thread

# Small deadlines and many nodes: on a busy machine they say nothing. `make check-long` runs them.
pytestmark = pytest.mark.long

# Here one verification goes on at a time, so tickets may be short; `expires_in_s` says 1.
QUICK = attrs.evolve(HEALTHY, limits={"ticket_seconds": 1.5})

# Prints a token as a login service would: HS256 with the standard library only, so that it starts fast.
LOGIN = f"""
import base64, hashlib, hmac, json, sys
def part(raw): return base64.urlsafe_b64encode(raw).rstrip(b"=")
claims = {{"sub": sys.argv[1], "exp": 99999999999, "scope": " ".join(sys.argv[2:])}}
body = part(b'{{"alg":"HS256","typ":"JWT"}}') + b"." + part(json.dumps(claims).encode())
print((body + b"." + part(hmac.digest({KEY!r}, body, "sha256"))).decode())
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, so that the development key lies there, and with a login service."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "callboard.toml").touch()
    (tmp_path / "login.py").write_text(LOGIN, encoding="utf-8")
    key_file = tmp_path / "callboard-dev.key"
    key_file.write_text(KEY.hex(), encoding="ascii")
    key_file.chmod(0o600)
    return tmp_path


@pytest.fixture(scope="module")
def healthy() -> Iterator[str]:
    """A healthy node's url."""
    with node_in_thread(QUICK) as url:
        yield url


def run(*arguments: str) -> Result:
    """Call the command."""
    return CliRunner().invoke(main, ["verify", *arguments])


def login(*more: str) -> str:
    """The login service's command line."""
    return " ".join((sys.executable, "-S", "login.py", "{user}", *more))


def test_json_and_nothing_else(healthy: str) -> None:
    """Counts and latencies of each line; the users are new at each call. Tokens come from a command."""
    result = run(healthy, "--users", "1", "--devices", "1", "--json", "--token-command", login("{scope}"))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["passed"], report["users"], report["devices"]) == (True, 1, 1)
    lines = {line["line"]: line for line in report["lines"]}
    assert set(lines) == {line.value for line in Line}
    assert {line["status"] for line in lines.values()} == {"passed"}
    latency = lines["answered"]["latency"]
    assert latency["of"] == "command to result"
    assert 0 < latency["p50_ms"] <= latency["p99_ms"]


def test_counters_without_an_operator(healthy: str) -> None:
    """What only an operator may see is listed as not checked, with the reason."""
    result = run(healthy, "--users", "1", "--json", "--token-command", login())
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    unchecked = {line["line"]: line["remarks"] for line in report["lines"] if line["status"] == "not checked"}
    assert unchecked == {
        name: ["there is no token with the scope operator"]
        for name in ("connections-back", "tickets-back", "runs-back", "tasks-back", "registry")
    }


class Hasty(callboard.Agent):
    """Has answered before anybody could stop it."""

    async def run(self, message: callboard.Message) -> str:
        await trio.lowlevel.checkpoint()
        return "yes"


class Failing(callboard.Agent):
    """Cannot help."""

    async def run(self, message: callboard.Message) -> str:
        await self.emit("agent_thinking", {"text": "hm"})
        raise callboard.AgentError("no_idea", "I do not know.")


class Slow(callboard.Agent):
    """Takes its time for each word."""

    async def run(self, message: callboard.Message) -> str:
        for word in message.text.split():
            await self.emit("agent_delta", {"text": word})
            await trio.sleep(0.02)
        return "done"


@pytest.mark.parametrize("agent", [Hasty, Failing, Slow])
def test_any_agent_will_do(agent: type[callboard.Agent]) -> None:
    """What it gives no occasion to check is listed: one is too fast to be cancelled, one fails, none uses tools.

    One takes so long for a long message that nobody can wait for it.
    """
    with node_in_thread(attrs.evolve(QUICK, agent=agent)) as url:
        result = run(url, "--users", "1", "--json")
    assert result.exit_code == 0, result.output
    lines = {line["line"]: line for line in json.loads(result.stdout)["lines"]}
    unchecked = {name: line["remarks"] for name, line in lines.items() if line["status"] == "not checked"}
    assert unchecked.pop("tool-pairs") == ["the agent used no tools"]
    assert set(unchecked) <= {"cancel", "disconnect"}
    assert all("the agent is too fast" in remark for (remark,) in unchecked.values())


def test_another_key() -> None:
    """A node that takes none of the tokens fails at the door, at once, with its own words."""
    with node_in_thread(HEALTHY, bytes(32)) as url:
        result = run(url, "--users", "2")
    assert result.exit_code == 1
    assert "401 Unauthorized" in result.stdout


def test_nobody_there() -> None:
    """Exit code 1 and one line, as nothing can be said about a node that does not answer."""
    result = run("http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert result.stdout == ""


WRONG: list[tuple[list[str], str]] = [
    ([], "URL"),
    (["ftp://127.0.0.1"], "http:// or https://"),
    (["http://127.0.0.1:1", "--users", "0"], "--users"),
    (["http://127.0.0.1:1", "--devices", "0"], "--devices"),
    (["http://127.0.0.1:1", "--timeout", "0"], "--timeout"),
    (["http://127.0.0.1:1", "--text", " "], "--text"),
    (["http://127.0.0.1:1", "--session", "a\nb"], "--session"),
    (["http://127.0.0.1:1", "--token-command", "echo token"], "{user}"),
    (["http://127.0.0.1:1", "--token-command", "'{user}"], "no command line"),
    (["http://127.0.0.1:1", "--token-command", "./nothing-there {user} {scope}"], "did not run"),
    (["http://127.0.0.1:1", "--token-command", "false {user} {scope}"], "printed no token"),
]


@pytest.mark.parametrize("arguments, said", WRONG, ids=[" ".join(case[0])[:60] for case in WRONG])
def test_what_is_wrong_is_said(arguments: list[str], said: str) -> None:
    """Exit code 2, one paragraph on standard error, nothing on standard output."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_a_command_that_fails_later(healthy: str, here: Path) -> None:
    """In the middle of it, with many users at the same time: one line too."""
    (here / "login.py").write_text(LOGIN + "\nif 'operator' not in sys.argv: sys.exit('no more logins')", "utf-8")
    result = run(healthy, "--token-command", login("{scope}"))
    assert result.exit_code == 2
    assert "no more logins" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c(healthy: str) -> None:
    """It leaves at once, in order, and claims nothing."""
    command = [sys.executable, "-m", "callboard", "verify", healthy, "--users", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "begun:" in first
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
