"""A real `callboard serve` is asked to end: goaway, the open run's one terminal, exit code 0, the port free again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import perf_counter

import pytest
import trio
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration.boards import ask_http
from tests.integration.node_process import REPOSITORY, NodeProcess, node_process
from tests.transport.peer import Peer

GET = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def token(folder: Path, user: str) -> str:
    """What `callboard token` would print."""
    text = (folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()
    return jwt.encode({"alg": "HS256"}, {"sub": user, "exp": 2**34}, OctKey.import_key(bytes.fromhex(text)))


async def ticket(folder: Path, port: int, user: str) -> str:
    """A ticket by HTTP."""
    request = (
        b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Authorization: Bearer %s\r\n\r\n" % token(folder, user).encode()
    )
    answer = await ask_http(port, request)
    return answer.partition(b'"ticket":"')[2].partition(b'"')[0].decode()


def port_of(node: NodeProcess) -> int:
    """Where it serves."""
    return int(node.url.rpartition(":")[2])


def is_free(port: int) -> bool:
    """Whether another node could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_asked_to_end(tmp_path: Path, number: int) -> None:
    """It drains within its deadline and says what it did; the client sees how its run ended."""  # S6, A8
    with node_process(tmp_path, limits={"drain_seconds": 2, "close_seconds": 1}) as node:
        port = port_of(node)

        async def watch() -> None:
            peer = await Peer.connect(port)
            async with peer.stream:
                await peer.hello(await ticket(tmp_path, port, "ada"))
                run = await peer.ask("hold on", "waits")
                await peer.until_record("tool_executing")
                assert b" 200 " in await ask_http(port, GET % b"/readyz")
                began = perf_counter()
                node.signal(number)
                goaway = await peer.until(lambda message: message["t"] == "goaway")
                assert (goaway["reason"], goaway["by_ms"]) == ("draining", 2_000)
                assert b" 503 " in await ask_http(port, GET % b"/readyz")
                assert b" 200 " in await ask_http(port, GET % b"/healthz")
                error = await peer.end_of(run)
                assert (error["type"], error["data"]["by"]) == ("agent_error", "supervisor")
                assert peer.of_run(run) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
                assert await peer.closed() == 4200
                assert perf_counter() - began < 2 + 1 + 2

        trio.run(watch)
        assert node.wait() == 0
        node.wait_line("drained: 1 connection closed, 0 runs finished, 1 run cut short")
        assert is_free(port)


def test_a_node_without_work_ends_at_once(tmp_path: Path) -> None:
    """Nobody waits for nothing."""
    with node_process(tmp_path) as node:
        assert node.url
        began = perf_counter()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert perf_counter() - began < 5
        node.wait_line("drained: 0 connections closed, 0 runs finished$")


def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    """Who asks twice does not wait for open runs; the end is in order all the same."""  # A8
    with node_process(tmp_path, limits={"drain_seconds": 60}) as node:
        port = port_of(node)

        async def watch() -> None:
            peer = await Peer.connect(port)
            async with peer.stream:
                await peer.hello(await ticket(tmp_path, port, "ada"))
                await peer.ask("hold on", "waits")
                await peer.until_record("tool_executing")
                node.signal(signal.SIGINT)
                await peer.until(lambda message: message["t"] == "goaway")
                began = perf_counter()
                node.signal(signal.SIGINT)
                await peer.closed()
                assert perf_counter() - began < 5

        trio.run(watch)
        assert node.wait() == 0
        node.wait_line("stopping at once")
        assert is_free(port)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """One line that names it, exit code 1, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with node_process(tmp_path, "--port", str(port)) as node:
            assert node.wait() == 1
            [line] = [line for line in node.lines if "open files" not in line]
            assert line == f"callboard: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_the_log_has_one_line_for_each_thing_and_no_content(tmp_path: Path) -> None:
    """Connections, runs and refusals; no text, no ticket, no token."""
    with node_process(tmp_path) as node:
        port = port_of(node)

        async def watch() -> None:
            peer = await Peer.connect(port)
            async with peer.stream:
                await peer.hello(await ticket(tmp_path, port, "ada"))
                await peer.end_of(await peer.ask("a private question"))
                await peer.leave()
            refused = await Peer.connect(port)
            async with refused.stream:
                await refused.send({"t": "hello", "ticket": "a-forged-one", "device": "0" * 32, "client": "x"})
                assert await refused.closed() == 4302

        trio.run(watch)
        url = f"http://127.0.0.1:{port}/v1/sessions"
        request = urllib.request.Request(url, headers={"Authorization": "Bearer a-bad-token"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
        assert refused.value.code == 401
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
    for pattern in (
        r"connection \w{16} from 127.0.0.1 to session \w{32} opened$",
        r"run \w{32} of session \w{32} started: agent steps$",
        r"run \w{32} of session \w{32} ended: agent_completed$",
        r"connection \w{16} from 127.0.0.1 to session \w{32} ended: 1000$",
        r"connection \w{16} from 127.0.0.1 to session - ended: 4302$",
        r"GET /v1/sessions refused: 401$",
    ):
        node.wait_line(pattern)
    everything = "\n".join(node.lines)
    assert not any(secret in everything for secret in ("private", "a-forged-one", "a-bad-token"))
    assert "Traceback" not in everything


EMBEDDED = """
import sys, trio, callboard
from tests.integration.sample_app import board as app

async def main():
    async with callboard.open(app, port=0, key=bytes(range(32))) as board:
        print(board.port, await board.ticket("ada"), flush=True)
        await board.wait_closed()

trio.run(main)
"""


def test_ctrl_c_in_a_program_that_embeds_a_board() -> None:
    """KeyboardInterrupt after an ordered end: the client sees its run's terminal and 4200."""  # S6, A8
    command = [sys.executable, "-c", EMBEDDED]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port, ticket = process.stdout.readline().split()

        async def watch() -> None:
            peer = await Peer.connect(int(port))
            async with peer.stream:
                await peer.hello(ticket)
                run = await peer.ask("hold on", "waits")
                await peer.until_record("tool_executing")
                process.send_signal(signal.SIGINT)
                assert (await peer.end_of(run))["type"] == "agent_error"
                assert await peer.closed() == 4200

        trio.run(watch)
        _, errors = process.communicate(timeout=60)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert process.returncode == -signal.SIGINT
