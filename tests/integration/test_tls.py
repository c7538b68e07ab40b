"""https and wss on the one port: the client, the commands, and whoever does not speak TLS; certificates by the run."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

import callboard
from callboard.transport import FileCertificate
from tests.integration.boards import KEY, ask_http, counts, of_clients, settled, until
from tests.integration.certificates import Authority
from tests.integration.node_process import REPOSITORY, NodeProcess, node_process
from tests.integration.sample_app import Steps
from tests.transport.peer import Peer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One test's own."""
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever comes to the port is no failure of the node's."""
    yield
    errors = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert errors == []


@asynccontextmanager
async def open_board(certificate: FileCertificate, **limits: Any) -> AsyncIterator[callboard.Board]:
    """A board that is served by TLS."""
    small = callboard.Limits(**{"drain_seconds": 1.0, "close_seconds": 1.0, "store_seconds": 0.5, **limits})
    async with callboard.open(agents={"steps": Steps}, port=0, key=KEY, limits=small, tls=certificate) as board:
        yield board


@asynccontextmanager
async def secured(board: callboard.Board, tls: ssl.SSLContext) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A stream to the board by TLS."""
    stream = await trio.open_tcp_stream("127.0.0.1", board.port)
    wrapped = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=False)
    try:
        await wrapped.do_handshake()
        yield wrapped
    finally:
        await trio.aclose_forcefully(wrapped)


async def test_the_client_by_tls(authority: Authority) -> None:
    """Ticket by https, its url wss, a run from its first to its last record, and all counts as before."""
    async with open_board(authority.certificate()) as board:
        assert board.url == f"https://127.0.0.1:{board.port}"
        before = await counts(board)
        token = board.authenticator.token("ada")
        async with callboard.connect(board.url, token=token, tls=authority.context()) as client:
            run = await client.send("hello")
            async for record in client:
                if record.run == run and record.type == "agent_completed":
                    break
            [connection] = board.connections("ada")
            assert connection.peer == "127.0.0.1"
        await settled(board, of_clients(before))


async def test_a_client_that_does_not_know_the_authority_says_nothing(authority: Authority) -> None:
    """No token goes out; so too where the certificate is of another name. There is no way to switch that off."""  # S12
    async with open_board(authority.certificate("127.0.0.1")) as board:
        token = board.authenticator.token("ada")
        for url, tls in ((board.url, None), (board.url.replace("127.0.0.1", "localhost"), authority.context())):
            async with callboard.connect(url, token=token, tls=tls) as client:
                with trio.fail_after(10):
                    while "CERTIFICATE_VERIFY_FAILED" not in client.trouble:
                        await trio.lowlevel.checkpoint()
                assert not client.connected
        assert (await board.report())["tickets"] == 0


async def test_an_answer_over_tls_ends_with_a_farewell(authority: Authority) -> None:
    """Strict clients take an end without close_notify for an attack; errors and last answers are no such thing."""
    async with open_board(authority.certificate()) as board:
        for request in (b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"nonsense\r\n\r\n"):
            async with secured(board, authority.context()) as stream:
                await stream.send_all(request)
                answer = b""
                async for data in stream:  # raises BrokenResourceError at a bare end
                    answer += data
            assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


async def test_who_does_not_speak_tls_costs_a_handshake_and_no_more(authority: Authority) -> None:
    """Plain HTTP, garbage, silence, a client that breaks off: each is cut in time, and others notice nothing."""  # S8
    async with open_board(authority.certificate(), head_seconds=0.5) as board:
        before = await counts(board)
        for raw in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01"):
            answer = await ask_http(board.port, raw)
            assert b"HTTP" not in answer
        silent = await trio.open_tcp_stream("127.0.0.1", board.port)
        gone = await trio.open_tcp_stream("127.0.0.1", board.port)
        await gone.aclose()
        async with secured(board, authority.context()) as stream:
            peer = await Peer.over(stream)
            await peer.hello(await board.ticket("ada"))
            await peer.leave()
        with trio.fail_after(10):
            assert await silent.receive_some() == b""
        await silent.aclose()
        await settled(board, of_clients(before))


async def test_a_client_that_reads_nothing_is_cut_by_tls_too(authority: Authority) -> None:
    """After `write_seconds`, whatever waits; its neighbour gets all."""  # S8
    async with open_board(authority.certificate(), write_seconds=0.5) as board:
        tls = authority.context()
        async with secured(board, tls) as stuck_stream, secured(board, tls) as stream:
            stuck, peer = await Peer.over(stuck_stream), await Peer.over(stream)
            await stuck.hello(await board.ticket("ada"), "1" * 32)
            await peer.hello(await board.ticket("ada"), "2" * 32)

            async def publish() -> None:
                for _ in range(100):
                    await board.publish("ada", "x.big", {"text": "x" * 100_000})

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                await peer.until(lambda message: len(peer.records) == 100)
            await until(lambda: len(board.connections("ada")) == 1)
            await peer.leave()


async def test_a_certificate_is_renewed_under_way(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """The next connection gets it; one that is open goes on."""

    def serial(stream: trio.SSLStream[trio.SocketStream]) -> object:
        return cast(dict[str, object], stream.getpeercert())["serialNumber"]

    async with open_board(authority.certificate()) as board, secured(board, authority.context()) as old:
        peer = await Peer.over(old)
        await peer.hello(await board.ticket("ada"))
        first = serial(old)
        authority.issue()
        async with secured(board, authority.context()) as new:
            assert serial(new) != first
        await peer.ask("still here?")
        await peer.until_record("agent_completed")
        await peer.leave()


def run(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command, with the folder's development key."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CALLBOARD_", "SSL_"))}
    return subprocess.run(
        [sys.executable, "-m", "callboard", *arguments],
        cwd=REPOSITORY,
        env={**environ, "XDG_CONFIG_HOME": str(folder), "COLUMNS": "200"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )


@contextmanager
def node_by_tls(folder: Path, authority: Authority) -> Iterator[tuple[NodeProcess, str]]:
    """`callboard serve` with a certificate, and its address."""
    certificate, key = authority.issue()
    files = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with node_process(folder, *files, limits={"ticket_seconds": 2}) as node:
        yield node, node.wait_line(r"serves .* on (https://\S+)")[1]


def test_the_commands_by_tls(tmp_path: Path, authority: Authority) -> None:
    """`serve`, `ticket`, `attach` and `top` with an authority of one's own; without it each refuses in one line."""
    ca = str(authority.file)
    with node_by_tls(tmp_path, authority) as (node, url):
        ticket = run(tmp_path, "ticket", "--user", "ada", "--url", url, "--ca", ca)
        assert ticket.returncode == 0, ticket.stderr
        assert re.fullmatch(r"wss://127\.0\.0\.1:\d+/v1/connect", json.loads(ticket.stdout)["url"])
        said = run(tmp_path, "attach", url, "--user", "ada", "--say", "hello", "--ca", ca)
        assert (said.returncode, "hello" in said.stdout) == (0, True), said.stderr
        looked = run(tmp_path, "top", url, "--json", "--ca", ca)
        assert json.loads(looked.stdout)["serving"] is True, looked.stderr
        commands = (["ticket", "--url", url], ["attach", url, "--say", "hi"], ["verify", url], ["top", url, "--json"])
        for command in commands:
            refused = run(tmp_path, *command)
            assert refused.returncode == 1, refused.stdout + refused.stderr
            assert "certificate" in refused.stderr.lower()
            assert "Traceback" not in refused.stderr
        node.signal(signal.SIGTERM)
        assert node.wait() == 0


@pytest.mark.long
def test_the_verification_by_tls(tmp_path: Path, authority: Authority) -> None:
    """All that a node promises, it keeps by https and wss too."""
    with node_by_tls(tmp_path, authority) as (_, url):
        verified = run(
            tmp_path, "verify", url, "--users", "4", "--text", "hello", "--ca", str(authority.file), "--json"
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert json.loads(verified.stdout)["url"] == url


def test_an_authority_for_plain_http_is_a_slip(tmp_path: Path) -> None:
    """It would verify nothing; so too one that is no certificate."""  # S12
    (tmp_path / "ca.pem").write_text("hello", encoding="ascii")
    for url, said in (("http://127.0.0.1:1", "--ca is for https"), ("https://127.0.0.1:1", "is no PEM file")):
        refused = run(tmp_path, "ticket", "--url", url, "--ca", str(tmp_path / "ca.pem"))
        assert refused.returncode == 2
        assert said in refused.stderr
