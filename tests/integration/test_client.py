"""The Python client against a real board over real sockets: cuts, restarts, slow consumers, devices, TLS, leaving."""

from __future__ import annotations

import datetime
import ipaddress
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import callboard
from callboard import SessionClosed, TicketDenied, Unreachable
from callboard.transport.client import Client, Closed, NetworkWay, Reset, WireRecord, open_client, open_socket
from tests.integration.boards import KEY, counts, open_board, quiet, settled
from tests.integration.sample_app import Steps, Talks, Waits

TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")


class Prompt(random.Random):
    """Draws the least of every wait, so that tests do not wait for jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a


def token(board: callboard.Board) -> str:
    """What ada presents."""
    return board.authenticator.token("ada")


async def until_ended(client: Client, run: str) -> list[WireRecord]:
    """All records up to the end of the run."""
    records = []
    async for record in client:
        records.append(record)
        if record.run == run and record.type in TERMINALS:
            return records
    raise AssertionError("the client was left")


def seqs(records: list[WireRecord]) -> list[int]:
    """Where they stand."""
    return [record.last for record in records]


@asynccontextmanager
async def board_at(port: int, **limits: float) -> AsyncIterator[callboard.Board]:
    """A board with a memory of its own on a port that another one may have had."""
    small = callboard.Limits(drain_seconds=1.0, close_seconds=1.0, **limits)  # type: ignore[arg-type]
    async with callboard.open(agents={"steps": Steps, "waits": Waits}, port=port, key=KEY, limits=small) as board:
        yield board


async def test_a_run_from_the_question_to_the_answer() -> None:
    """With what a program needs for it, and nothing left behind."""
    async with open_board({"steps": Steps}) as board, callboard.connect(board.url, token=token(board)) as client:
        run = await client.send("hello")
        records = await until_ended(client, run)
        assert records[0].type == "agent_started"
        assert records[-1].data["result"] == "ada asked: hello"  # type: ignore[index]
        assert seqs(records) == list(range(1, len(records) + 1))
        assert client.position is not None
        assert client.position[1] == len(records)


async def test_cuts_in_mid_stream_lose_and_repeat_nothing() -> None:
    """Wherever they fall."""
    async with (
        open_board({"talks": Talks}, run_seconds=60.0) as board,
        callboard.connect(board.url, token=token(board), merge=False, rng=Prompt()) as client,
    ):
        run = await client.send("400")
        records: list[WireRecord] = []
        async for record in client:
            records.append(record)
            if len(records) % 60 == 0:
                client.cut()
            if record.run == run and record.type in TERMINALS:
                break
        assert seqs(records) == list(range(1, 403))
        assert len({record.id for record in records}) == 402
        assert client.statistics().records == 402
        assert client.statistics().resets == 0
        assert client.statistics().connects > 1


async def test_commands_run_once_through_cuts() -> None:
    """Each gets its answer, and its run is the only one."""
    async with (
        open_board({"steps": Steps}, runs=16, commands_per_s=1_000.0) as board,
        callboard.connect(board.url, token=token(board), rng=Prompt()) as client,
    ):
        answers: dict[str, str] = {}

        async def say(text: str) -> None:
            answers[text] = await client.send(text)

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(say, f"message {number}")
                await client.wait_connected()
                if number % 2:
                    client.cut()
        started: dict[str, str] = {}
        ended = 0
        async for record in client:
            if record.type == "agent_started":
                assert isinstance(record.data, dict)
                assert record.data["input"] not in started
                started[record.data["input"]] = str(record.run)
            ended += record.type in TERMINALS
            if ended == 12:
                break
        assert started == answers
        assert (await board.report())["runs"]["started"] == 12
        assert client.statistics().connects > 1


async def test_a_node_that_was_restarted_is_followed_into_its_new_history() -> None:
    """On the same port: what came before is told to be dropped, and a command runs there under a new device id."""
    restart = trio.Event()

    async def serve(task_status: trio.TaskStatus[callboard.Board]) -> None:
        async with board_at(0) as first:
            port = first.port
            task_status.started(first)
            await restart.wait()
        async with board_at(port):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        board: callboard.Board = await nursery.start(serve)
        async with callboard.connect(board.url, token=token(board), rng=Prompt()) as client:
            items = client.everything()
            await client.send("before")
            device, epoch = client.device, client.position
            await until_ended(client, await client.send("and again"))
            restart.set()
            await client.wait_disconnected()
            run = await client.send("after")
            assert client.device != device
            assert epoch is not None
            reset = await anext(items)
            assert isinstance(reset, Reset)
            assert reset.from_seq == 1
            assert reset.epoch != epoch[0]
            records = await until_ended(client, run)
            assert seqs(records) == list(range(1, len(records) + 1))
            assert records[-1].data["result"] == "ada asked: after"  # type: ignore[index]
            assert client.statistics().resets == 1
        nursery.cancel_scope.cancel()


async def narrow(host: str, port: int) -> trio.abc.Stream:
    """A connection for which the kernel keeps little."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await sock.connect((host, port))
    return trio.SocketStream(sock)


async def test_a_slow_consumer_gets_all_of_it_and_holds_a_part() -> None:
    """The node cuts off who takes nothing; what is not held here is held there."""
    async with open_board({"talks": Talks}, write_seconds=0.3) as board:
        way = NetworkWay(board.url, token(board), "main", None, None, narrow)
        async with open_client(way, start="first", merge=False, backlog_items=100, rng=Prompt()) as client:
            run = await client.send("4000")
            taken: list[int] = []
            most = 0
            async for record in client:
                taken.append(record.last)
                most = max(most, client.statistics().backlog)
                if len(taken) == 200:
                    await until_cut_off(board)
                if record.run == run and record.type in TERMINALS:
                    break
            assert taken == list(range(1, 4_003))
            assert most < 200, "one message of 64 KiB more than what makes it full"
            assert client.statistics().connects >= 2
            assert client.statistics().records == 4_002


async def until_cut_off(board: callboard.Board) -> None:
    """Wait until the node has cut off somebody who takes nothing."""
    with trio.fail_after(20):
        while not (await board.report())["connections"]["closed"].get("4202"):
            await trio.lowlevel.checkpoint()


async def test_a_run_is_cancelled_from_another_device() -> None:
    """Both see the same records; a socket that is closed cancels nothing."""
    async with (
        open_board({"waits": Waits}) as board,
        callboard.connect(board.url, token=token(board)) as one,
        callboard.connect(board.url, token=token(board), start="first") as other,
    ):
        run = await one.send("wait")
        one.cut()
        assert await other.cancel(run) == "cancelling"
        seen = [await until_ended(client, run) for client in (one, other)]
        assert seen[0] == seen[1]
        assert seen[0][-1].type == "agent_cancelled"
        assert await one.cancel(run) == "ended"


async def test_the_newer_client_of_a_device_ends_the_older() -> None:
    """With 4008; the newer one goes on with the ids."""
    device = "a" * 32
    async with (
        open_board({"steps": Steps}) as board,
        callboard.connect(board.url, token=token(board), device=device) as older,
    ):
        await older.send("one")
        async with callboard.connect(board.url, token=token(board), device=device) as newer:
            await newer.wait_connected()
            with pytest.raises(SessionClosed) as closed:
                async for _ in older:
                    pass
            assert closed.value.code == 4008
            await until_ended(newer, await newer.send("two"))
            assert newer.device == device


async def test_a_node_that_drains_lets_its_clients_see_the_end() -> None:
    """They keep their connection while there is no other node, and are told what became of their run."""
    async with (
        open_board({"waits": Waits}) as board,
        callboard.connect(board.url, token=token(board), give_up_seconds=3.0) as client,
    ):
        run = await client.send("wait")
        report = await board.drain(0.5)
        assert report.connections == 1
        records = await until_ended(client, run)
        assert records[-1].type == "agent_error"
        assert records[-1].data["code"] == "node_stopped"  # type: ignore[index]
        assert client.statistics().connects == 1


async def test_leaving_at_any_moment_leaves_nothing() -> None:
    """No task, no socket, no ticket's connection, here or at the node."""
    chance = random.Random(7)
    async with open_board({"steps": Steps}, store_seconds=0.5) as board:
        async with callboard.connect(board.url, token=token(board)) as client:
            await until_ended(client, await client.send("hello"))
        with trio.fail_after(10):
            while (await quiet(board))["tcp"]:
                await trio.lowlevel.checkpoint()
            # The last task of a connection ends a moment after it is counted as gone.
            await trio.testing.wait_all_tasks_blocked()
            before = await quiet(board)
        for _ in range(60):
            with trio.move_on_after(chance.uniform(0.0, 0.03)):
                async with callboard.connect(board.url, token=token(board)) as client:
                    await client.send("hello")
        # A ticket that was given and not fetched waits for its end.
        await settled(board, before | {"tickets": (await counts(board))["tickets"]})


async def test_what_the_body_raises_is_not_wrapped() -> None:
    """Nor is what the node says."""
    async with open_board({"steps": Steps}) as board:

        async def fail() -> None:
            async with callboard.connect(board.url, token=token(board)) as client:
                await client.wait_connected()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with pytest.raises(TicketDenied, match="401"):
            async with callboard.connect(board.url, token="nobody") as client:
                await client.send("hello")
        with pytest.raises(TicketDenied, match=r"403.*origin"):
            async with callboard.connect(board.url, token=token(board), origin="https://evil.example") as client:
                await client.wait_connected()


# -- TLS and names ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Secured:
    """A board behind a proxy that speaks TLS, and does not say so to it."""

    url: str
    token: str
    trusting: ssl.SSLContext


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    """A certificate for 127.0.0.1 that is its own authority, and a board behind it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(pem + private)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(tmp_path / "both.pem")
    async with open_board({"steps": Steps}) as board, trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await board.serve_stream(trio.SSLStream(stream, serving, server_side=True, https_compatible=True))

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        yield Secured(f"https://127.0.0.1:{port}", token(board), ssl.create_default_context(cadata=pem.decode()))
        nursery.cancel_scope.cancel()


async def test_tls_from_the_ticket_to_the_answer(secured: Secured) -> None:
    """The node names a ``ws://`` address, as it knows nothing of its proxy; who asked over TLS goes on over TLS."""
    async with callboard.connect(secured.url, token=secured.token, tls=secured.trusting) as client:
        records = await until_ended(client, await client.send("hello"))
        assert records[-1].type == "agent_completed"
        client.cut()
        await until_ended(client, await client.send("again"))
        assert client.statistics().connects == 2


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(secured: Secured) -> None:
    """For the ticket, and for the socket; what is wrong with it is said."""
    async with callboard.connect(secured.url, token=secured.token, give_up_seconds=0.1, rng=Prompt()) as client:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.wait_connected()
    with pytest.raises(Closed, match=r"no TLS: .*CERTIFICATE_VERIFY_FAILED"):
        async with open_socket(secured.url.replace("https", "wss")):
            raise AssertionError("not reached")


async def test_ipv6() -> None:
    """With brackets where they belong."""
    async with callboard.open(agents={"steps": Steps}, host="::1", port=0, key=KEY) as board:
        assert board.url.startswith("http://[::1]:")
        async with callboard.connect(board.url, token=token(board)) as client:
            assert (await until_ended(client, await client.send("hello")))[-1].type == "agent_completed"
