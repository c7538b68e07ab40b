"""`callboard top` and the dump at SIGUSR1, against nodes in processes of their own."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.integration.node_process import node_process
from tests.integration.terminals import on_a_terminal, run


async def test_once(tmp_path: Path) -> None:
    """Without a terminal it looks once, and prints what is there."""
    with node_process(tmp_path) as node:
        code, said, wrong = await run("top", node.url, XDG_CONFIG_HOME=str(tmp_path), COLUMNS="160")
        assert (code, wrong) == (0, "")
        assert "serving" in said.splitlines()[0]
        assert [line.split()[-1] for line in said.splitlines()[6:10]] == ["board", "registry", "tickets", "sessions"]
        code, said, wrong = await run(
            "top", node.url, "--json", "--filter", "TicketOffice", XDG_CONFIG_HOME=str(tmp_path), COLUMNS="160"
        )
        assert (code, wrong) == (0, "")
        answer = json.loads(said)
        assert [actor["path"] for actor in answer["actors"]] == ["board/tickets"]
        assert answer["actors_in_all"] == 4


async def test_live(tmp_path: Path) -> None:
    """The screen is given back as it was; keys sort, filter and leave; a node that goes away is told."""
    with node_process(tmp_path) as node:
        async with on_a_terminal("top", node.url, "--interval", "0.1", XDG_CONFIG_HOME=str(tmp_path)) as terminal:
            before = terminal.modes()
            await terminal.until("sorted by stuck")
            terminal.press("s")
            await terminal.until("sorted by mailbox")
            terminal.press("t")
            await terminal.until("actors   tree")
            terminal.press("/")
            await terminal.until("Enter takes it")
            terminal.press("TicketOff\n")
            await terminal.until("1 of 4 actors")
            node.signal(signal.SIGTERM)
            await terminal.until("no answer")
            terminal.press("q")
            assert await terminal.end() == 0
            assert terminal.modes() == before
            assert b"\x1b[?1049l" in terminal.written, "the other screen was not left"


async def test_ctrl_c_leaves(tmp_path: Path) -> None:
    """In order, with exit code 0: there is nothing to be undone."""
    with node_process(tmp_path) as node:
        async with on_a_terminal("top", node.url, XDG_CONFIG_HOME=str(tmp_path)) as terminal:
            await terminal.until("sorted by stuck")
            terminal.press("\x03")
            assert await terminal.end() == 0


async def test_who_may_not_look(tmp_path: Path) -> None:
    """A token without the scope, a key of another node, and no node at all: one line each, and exit code 1."""
    with node_process(tmp_path) as node:
        command = f"{sys.executable} -m callboard token --user eve"
        code, said, wrong = await run("top", node.url, "--token-command", command, XDG_CONFIG_HOME=str(tmp_path))
        assert (code, said) == (1, "")
        assert "answers 403: this needs a token with the scope `operator`" in wrong
        code, said, wrong = await run("top", node.url, XDG_CONFIG_HOME=str(tmp_path / "other"))
        assert (code, said) == (1, "")
        assert "answers 401" in wrong
        url = node.url
    code, said, wrong = await run("top", url, XDG_CONFIG_HOME=str(tmp_path))
    assert (code, said) == (1, "")
    assert f"{url} does not answer" in wrong


def test_sigusr1_dumps_the_tree(tmp_path: Path) -> None:
    """Each time; the node goes on."""
    with node_process(tmp_path) as node:
        assert node.url
        for _ in range(2):
            node.lines.clear()
            node.signal(signal.SIGUSR1)
            # The fifth looks for runs that an earlier life left open, and is gone once it has.
            node.wait_line(r"^(4 actors, 0|5 actors, 1) of them at work in a coroutine")
            node.wait_line(r"^  registry  \(Registry\)  running")
            node.wait_line(r"^thread board: lookout")
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
