"""`callboard attach` and `callboard ticket` as a user runs them: on a terminal, in a pipe, against a real node."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

import callboard
from callboard import Agent, Message
from tests.integration.boards import open_board
from tests.integration.node_process import node_process
from tests.integration.terminals import Terminal, on_a_terminal, run

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m[red]styled[/red] :smile: \u202egnp.exe"


class Tame(Agent):
    """Answers in pieces, or not at all."""

    async def run(self, message: Message) -> str:
        if message.text == "wait":
            await self.tool("wait", {"for": "ever"}, trio.sleep_forever)
        if message.text == "evil":
            await self.emit("agent_thinking", {"text": EVIL})
            await self.emit("x.evil", {"a": EVIL})
            await self.tool(f"tool{EVIL}", {"a": EVIL}, lambda: EVIL)
        if message.text == "fail":
            raise callboard.AgentError("no_luck", f"it went {EVIL} wrong")
        for piece in ("You said ", message.text[:4], ", and\nthat is all."):
            await self.emit("agent_delta", {"text": EVIL if message.text == "evil" else piece})
        return "done"


@attrs.frozen
class Attaching:
    """A board, and what `callboard attach` is told to get there as ada."""

    board: callboard.Board
    arguments: tuple[str, ...]

    def with_token(self, text: str) -> tuple[str, ...]:
        """The same with another token."""
        return (*self.arguments[:-1], f"echo {text}")


@asynccontextmanager
async def attaching() -> AsyncIterator[Attaching]:
    """A board in this process; the command runs in another."""
    async with open_board({"tame": Tame}, drain_seconds=0.1) as board:
        token = board.authenticator.token("ada")
        yield Attaching(board, (board.url, "--user", "ada", "--token-command", f"echo {token}"))


async def test_say_shows_one_run_and_leaves() -> None:
    """In a pipe: plain lines, nothing on standard error."""
    async with attaching() as at:
        code, said, complained = await run("attach", *at.arguments, "--say", "hello")
    assert complained == ""
    assert code == 0
    *lines, last = said.splitlines()
    assert lines == ["you      hello", "agent    You said hell, and", "         that is all."]
    assert re.fullmatch(r" {9}completed in \d+ ms", last)


async def test_say_fails_when_the_run_does() -> None:
    """With exit code 1, and what the agent gave as its reason."""
    async with attaching() as at:
        code, said, complained = await run("attach", *at.arguments, "--say", "fail")
    assert (code, complained) == (1, "")
    assert "no_luck: it went" in said.splitlines()[-1]


@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
async def test_no_terminal_obeys_what_an_agent_says(terminal: bool) -> None:
    """Neither escape sequences, markup, emoji names nor controls of direction; they are shown as what they are."""
    async with attaching() as at:
        if terminal:
            async with on_a_terminal("attach", *at.arguments, "--say", "evil") as screen:
                assert await screen.end() == 0
            said = screen.written.decode()
            # What rich itself writes: colours, and the bottom of the screen.
            said = re.sub(r"\x1b\[(\d*(;\d+)*m|\?25[hl]|2K|\d*[ABCDGH])", "", said).replace("\r", "")
        else:
            code, said, _ = await run("attach", *at.arguments, "--say", "evil")
            assert code == 0
    assert not set(said) & set("\x1b\x07\x9b\u202e")
    flat = " ".join(said.split())
    assert "␛]0;owned␇␛[2J\ufffd31m[red]styled[/red] :smile: \ufffdgnp.exe" in flat


async def test_colours_are_for_terminals() -> None:
    """And a width is."""
    async with attaching() as at:
        async with on_a_terminal("attach", *at.arguments, "--say", "hello", columns=60) as screen:
            assert await screen.end() == 0
        _, piped, _ = await run("attach", *at.arguments, "--say", "x" * 300)
    assert b"\x1b[" in screen.written
    assert "x" * 300 in piped
    assert "\x1b" not in piped


async def test_a_conversation_in_a_pipe() -> None:
    """Each line is a message; at the end of the input it waits for the answers, and tells by its exit code."""
    async with attaching() as at:
        code, said, complained = await run("attach", *at.arguments, stdin="one\n\ntwo")
        assert (code, complained) == (0, "")
        assert said.count("You said one, and") == 1
        assert said.count("You said two, and") == 1
        assert said.count("completed in") == 2
        code, said, _ = await run(
            "attach",
            *at.arguments,
            stdin="fail\n",
        )
        assert code == 1
        assert "you      one" in said, "the earlier messages are shown first"
        code, said, _ = await run("attach", *at.arguments, "--last", "0", stdin="")
        assert (code, said) == (0, "")


@asynccontextmanager
async def typing(at: Attaching) -> AsyncIterator[Terminal]:
    """A terminal on which one can type already."""
    async with on_a_terminal("attach", *at.arguments) as screen:
        before = screen.modes()
        await screen.until("/quit or Ctrl-D leaves")
        assert screen.modes() != before
        yield screen
        assert screen.modes() == before, "the terminal is as it was"
        assert b"Traceback" not in screen.written
        assert b"Error" not in screen.written
        assert screen.written.rindex(b"\x1b[?25h") > screen.written.rindex(b"\x1b[?25l"), "the cursor is shown again"


LEAVE: list[tuple[str, Callable[[Terminal], None], int]] = [
    ("Ctrl-C", lambda screen: screen.press("half a wor\x03"), 130),
    ("Ctrl-D", lambda screen: screen.press("\x04"), 0),
    ("/quit", lambda screen: screen.press("/quit\r"), 0),
    ("SIGTERM", lambda screen: screen.process.send_signal(signal.SIGTERM), 143),
]


@pytest.mark.parametrize("leave, code", [case[1:] for case in LEAVE], ids=[case[0] for case in LEAVE])
async def test_a_terminal_is_left_as_it_was(leave: Callable[[Terminal], None], code: int) -> None:
    """By any door, in the middle of a run, which goes on."""
    async with attaching() as at, typing(at) as screen:
        screen.press("wait\r")
        await screen.until('{"for": "ever"}')
        leave(screen)
        assert await screen.end() == code
        assert (await at.board.report())["runs"]["open"] == 1


async def test_a_conversation_on_a_terminal() -> None:
    """Messages are sent while runs go on; the newest can be stopped."""
    async with attaching() as at, typing(at) as screen:
        screen.press("wait\r")
        await screen.until('{"for": "ever"}')
        screen.press("hellx\x7fo\r")
        await screen.until("You said hell, and")
        await screen.until("completed in")
        screen.press("/stop\r")
        await screen.until("cancelled")
        screen.press("/stop\r")
        await screen.until("no run is open")
        screen.press("\x04")
        assert await screen.end() == 0
        assert "hello" in screen.written.decode()


async def test_a_node_that_goes_away_is_told_in_a_line() -> None:
    """And so is its end; the run that it took along is told by the node. What is typed then waits, and that is said."""
    async with attaching() as at, typing(at) as screen:
        screen.press("wait\r")
        await screen.until('{"for": "ever"}')
        await at.board.drain(0)
        await screen.until("node_stopped: the node stopped")
        await screen.until("trying again")
        screen.press("later\r")
        await screen.until("unsent")
        screen.press("\x03")
        assert await screen.end() == 130


async def test_what_is_wrong_is_said_in_one_line() -> None:
    """Without a traceback, and with exit code 1, or 2 for what was typed wrong."""
    async with attaching() as at, trio.open_nursery() as nursery:
        at_once = trio.CapacityLimiter(3)

        async def check(arguments: tuple[str, ...], expected: int, named: str) -> None:
            async with at_once:
                code, said, complained = await run(*arguments)
            assert (code, said) == (expected, ""), arguments
            assert complained.count("\n") == 1, complained
            assert complained.startswith("callboard: ")
            assert named in complained
            assert "\x1b" not in complained

        nowhere = ("http://127.0.0.1:9", *at.arguments[1:])
        for arguments, expected, named in (
            # Some seconds: it may be about to begin.
            (
                ("attach", *nowhere, "--say", "hi"),
                1,
                "within 5 seconds: http://127.0.0.1:9 was not reached: Connection refused",
            ),
            (("attach", *at.with_token("nobody"), "--say", "hi"), 1, "no ticket: 401"),
            (("attach", *at.with_token(""), "--say", "hi"), 2, "printed no single token"),
            (("attach", *at.arguments[:-1], "sh -c 'echo why >&2; exit 3'", "--say", "hi"), 2, "ended with 3: why"),
            (("ticket", "--url", *at.arguments[:-1], "echo 'a"), 2, "No closing quotation"),
            (("attach", *at.arguments, "--session", "\x1b[31m/", "--say", "hi"), 1, "no ticket: 400"),
            (("attach", *at.arguments, "--say", "x" * 70_000), 1, "65536"),
            (("attach", *at.arguments, "--say", " "), 1, "bad_command"),
            (("ticket", "--url", *at.with_token("nobody")), 1, "no ticket: 401"),
            (("ticket", "--url", *nowhere), 1, "http://127.0.0.1:9 was not reached: Connection refused"),
        ):
            nursery.start_soon(check, arguments, expected, named)


@pytest.mark.parametrize("more", [{}, {"FORCE_COLOR": "1"}])
async def test_a_ticket_is_json_and_nothing_else(more: dict[str, str]) -> None:
    """Wherever it is printed; it opens a connection."""
    async with attaching() as at:
        code, said, complained = await run("ticket", "--url", *at.arguments, **more)
        assert (code, complained) == (0, "")
        ticket = json.loads(said)
        assert set(ticket) == {"ticket", "session", "expires_in_s", "url"}
        assert ticket["url"] == f"ws://127.0.0.1:{at.board.port}/v1/connect"
        assert (await at.board.report())["tickets"] == 1


def test_attach_against_a_node_as_an_operator_runs_it(tmp_path: Path) -> None:
    """With the development key that both find by themselves."""
    with node_process(tmp_path) as node:

        async def attach() -> tuple[int, str, str]:
            return await run("attach", node.url, "--say", "hello", XDG_CONFIG_HOME=str(tmp_path))

        code, said, complained = trio.run(attach)
        assert (code, complained) == (0, "")
        assert "you      hello" in said
        assert re.search(r"^tool +digest", said, re.MULTILINE)
        assert re.search(r"completed in \d+ ms\n\Z", said)
