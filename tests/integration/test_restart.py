"""A real `callboard serve` is killed with signal 9 and started again on the same journal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.integration.node_process import NodeProcess, node_process
from tests.integration.test_signals import port_of, ticket
from tests.transport.peer import Peer


@asynccontextmanager
async def client(node: NodeProcess, folder: Path, **hello: Any) -> AsyncIterator[Peer]:
    """Ada's client, welcomed."""
    port = await trio.to_thread.run_sync(lambda: port_of(node))
    peer = await Peer.connect(port)
    async with peer.stream:
        peer.commands = (await peer.hello(await ticket(folder, port, "ada"), **hello))["last_id"]
        yield peer


async def test_a_killed_node_comes_back_with_what_it_has_shown(tmp_path: Path) -> None:
    """Red if a record that was shown is lost, a command runs twice, a run has no end, or the epoch changes."""  # S3 S4
    with node_process(tmp_path) as node:
        async with client(node, tmp_path) as peer:
            ended = await peer.ask("hello", "steps")
            await peer.end_of(ended)
            run = await peer.ask("hold on", "waits")
            await peer.until_record("tool_executing")
            while peer.records[-1]["run"] != run or peer.records[-1]["type"] != "tool_executing":
                await peer.receive()
            before, welcome = list(peer.records), peer.welcome
            unused = await ticket(tmp_path, port_of(node), "ada")
            node.signal(signal.SIGKILL)
        await trio.to_thread.run_sync(node.wait)
    with node_process(tmp_path) as node:
        peer = await Peer.connect(await trio.to_thread.run_sync(lambda: port_of(node)))
        async with peer.stream:
            await peer.send({"t": "hello", "ticket": unused, "device": "e" * 32, "client": "peer"})
            assert await peer.closed() == 4302, "tickets are the node's own, and gone with it"
        start = {"epoch": welcome["epoch"], "seq": before[-1]["seq"]}
        async with client(node, tmp_path, start=start) as peer:
            assert (peer.welcome["mode"], peer.welcome["last_id"]) == ("replay", 2)
            error = await peer.end_of(run)
            assert (error["type"], error["data"]["code"], error["data"]["by"]) == (
                "agent_error",
                "node_lost",
                "supervisor",
            )
            peer.commands = 1
            assert await peer.ask("hold on", "waits") == run, "the command's first answer is given again"
            after = list(peer.records)
        async with client(node, tmp_path, start="first") as peer:
            while len(peer.records) < len(before + after):
                await peer.receive()
            assert peer.records == before + after


def test_a_second_node_on_the_same_journal_does_not_start(tmp_path: Path) -> None:
    """Red if two nodes write one file, or the second one shows a traceback; nor is a user forgotten meanwhile."""
    with node_process(tmp_path) as node:
        assert node.url
        with node_process(tmp_path) as second:
            second.wait_line(
                r"^callboard: \S+/callboard.db is in use by another node; each needs a journal of its own$"
            )
            assert second.wait() == 1
            assert not [line for line in second.lines if "Traceback" in line or "serves" in line]
        path = str(tmp_path / "callboard" / "callboard.db")
        command = [sys.executable, "-m", "callboard", "forget", "--user", "ada", "--journal", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert "Stop that node first" in done.stderr
