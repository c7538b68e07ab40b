"""Autobahn's own cases, run by `kosoku`, against the node's port: whatever a WebSocket peer may do, RFC 6455 is kept.

What serves is the node's: port, HTTP head, upgrade, `WebSocket`, `Outbox`, and how a connection ends. Only what a
connection does with a message is replaced: it comes back as it was, and may be as long as the cases want it.

Sections 12 and 13 are about compression, which the node does not offer.
"""

from __future__ import annotations

import json
import socket as socket_module
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

import callboard
from callboard.transport.client.sockets import Closed, open_socket
from callboard.transport.connection import Connection
from tests.integration.boards import KEY, until
from tests.integration.sample_app import Steps

KOSOKU = Path(sys.executable).with_name("kosoku")
# The largest cases have messages of 16 MiB in one frame, and of 4 MiB in frames of 64 bytes.
LIMITS = callboard.Limits(
    frame_bytes=2**25, outbox_bytes=2**27, fragments=2**17, commands_per_s=1e6, burst=10_000, close_seconds=1.0
)
# NON-STRICT is what the case itself calls another legal way, INFORMATIONAL one that is not judged.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
QUICK = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}
LEFT_OUT = ["-x", "9.*", "-x", "12.*", "-x", "13.*"]
# A case that hangs is ended by this, and named by the cases that are missing then.
RUN_SECONDS = 600
TEXT, BINARY = b"\x81", b"\x82"


class Echo(Connection):
    """A connection that gives back what it gets."""

    def _enter(self) -> None:
        pass

    async def _take(self, data: str | bytes) -> None:
        opcode, payload = (TEXT, data.encode()) if isinstance(data, str) else (BINARY, data)
        self._outbox.put(opcode + _length(len(payload)) + payload)
        await self._outbox.wait_written()


def _length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    return b"\x7e" + size.to_bytes(2, "big") if size < 2**16 else b"\x7f" + size.to_bytes(8, "big")


async def judged(arguments: list[str], folder: Path) -> dict[str, str]:
    """Run cases against an echoing node, and give what each came to."""
    async with callboard.open(agents={"steps": Steps}, port=0, key=KEY, limits=LIMITS) as board:
        command = [str(KOSOKU), *arguments, "-o", str(folder), f"{board.url.removeprefix('http://')}/v1/connect"]
        with trio.fail_after(RUN_SECONDS):
            ended = await trio.run_process(
                command, check=False, capture_stdout=True, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        assert await said_healthy(board)
    assert (folder / "index.json").exists(), ended.stdout.decode()
    return read_index(folder)


def read_index(folder: Path) -> dict[str, str]:
    """What each case came to; with how the close was, where that was wrong."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    cases = {name: case for agent in index.values() for name, case in agent.items()}
    return {
        name: case["behavior"] + ("" if case["behaviorClose"] in PASSED else f", close {case['behaviorClose']}")
        for name, case in cases.items()
    }


async def said_healthy(board: callboard.Board) -> bool:
    """Whether the node still answers."""
    async with await trio.open_tcp_stream("127.0.0.1", board.port) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        return (await stream.receive_some()).startswith(b"HTTP/1.1 200")


def check(verdicts: dict[str, str], sections: dict[str, int]) -> None:
    """All cases of these sections were run, and none failed."""
    wrong = {name: verdict for name, verdict in verdicts.items() if verdict not in PASSED}
    assert wrong == {}
    print(f"{len(verdicts)} cases:", dict(Counter(verdicts.values())))  # noqa: T201 - the count is what is wanted
    assert Counter(name.partition(".")[0] for name in verdicts) == sections


@pytest.fixture(autouse=True)
def echoing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the board make echoing connections."""
    monkeypatch.setattr("callboard.transport.board.Connection", Echo)


async def test_the_quick_cases(tmp_path: Path) -> None:
    """Framing, control frames, reserved bits, opcodes, fragments, UTF-8 and closes: none fails."""
    check(await judged(LEFT_OUT, tmp_path), QUICK)


@pytest.mark.long
async def test_the_large_cases(tmp_path: Path) -> None:
    """Messages of up to 16 MiB, in one frame, in many, and in many small writes: none fails."""
    check(await judged(["-i", "9.*"], tmp_path), {"9": 54})


@pytest.mark.long
async def test_the_python_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cases the other way round: the server misbehaves, and the client's socket keeps RFC 6455."""
    # The server of the cases speaks no subprotocol, which the client would leave at once.
    monkeypatch.setattr("callboard.transport.client.sockets._Reader.refused", lambda reader: None)
    agent = "callboard"
    async with trio.open_nursery() as nursery:
        server = await nursery.start(_fuzzing_server, tmp_path)
        async with open_socket(f"{server}/getCaseCount") as socket:
            count = int(await socket.receive())
        for case in range(1, count + 1):
            async with open_socket(f"{server}/runCase?case={case}&agent={agent}") as socket:
                with suppress(Closed, ConnectionClosed):
                    while True:
                        await socket._connection.send_message(await socket.receive())
        async with open_socket(f"{server}/updateReports?agent={agent}") as socket:
            with suppress(Closed):
                await socket.receive()
        # The page of the report is written behind its data.
        await until((tmp_path / "index.html").exists)
        nursery.cancel_scope.cancel()
    check(read_index(tmp_path), QUICK)


async def _fuzzing_server(folder: Path, task_status: trio.TaskStatus[str]) -> None:
    with socket_module.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(KOSOKU), "-m", "fuzzingserver", *LEFT_OUT, "-o", str(folder), address]
    run = partial(
        trio.run_process,
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        assert b"listening" in await process.stdout.receive_some()
        task_status.started(f"ws://{address}")
