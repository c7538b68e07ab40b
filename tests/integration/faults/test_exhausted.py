"""What a node needs of its machine is used up or taken while a crowd works: disk, the journal's file, descriptors."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio

from tests.integration.boards import ask_http
from tests.integration.faults.crowd import Crowd, judge
from tests.integration.faults.lives import Lives, lives
from tests.integration.faults.strict_device import StrictDevice
from tests.integration.node_process import node_process

LIMITS = {"commands_per_s": 1_000, "runs": 64}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
FULL, EMPTY = 1, resource.RLIM_INFINITY


def allow(node: Lives, what: int, number: int) -> None:
    """Set a soft limit of the node that runs."""
    _, hard = resource.prlimit(node.node.process.pid, what)
    resource.prlimit(node.node.process.pid, what, (number, hard))


async def line(living: Lives, pattern: str) -> None:
    """Wait until the node has said this."""
    await trio.to_thread.run_sync(living.node.wait_line, pattern)


@asynccontextmanager
async def crowd_at(living: Lives) -> AsyncIterator[Crowd]:
    """A crowd at work, judged at the end."""
    await living.serve()
    crowd = Crowd(living.port, living.token, users=2, strict=1, product=1, rng=random.Random(3), pause_seconds=0.1)
    async with crowd.at_work():
        await crowd.until_answers(5)
        yield crowd
        await crowd.until_answers(5)
    count = await judge(crowd, living.notes)
    assert count["commands answered"] >= 10


def refused_to_begin(living: Lives) -> str:
    """The one line that a node says which cannot begin."""
    node = living.start()
    assert node.wait() == 1
    said = [text for text in node.lines if "INFO" not in text]
    assert len(said) == 1, said
    return said[0]


async def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    """S3 S5. Red if something is promised and lost, a command runs twice, or the node does not come back by itself."""
    with lives(tmp_path, **LIMITS) as living:
        async with crowd_at(living) as crowd:
            allow(living, resource.RLIMIT_FSIZE, FULL)
            await line(living, "the journal .* takes nothing: .*Full|the journal .* takes nothing: .*IO")
            assert b" 200 " in await ask_http(living.port, HEALTH)
            allow(living, resource.RLIMIT_FSIZE, EMPTY)
            await line(living, "takes records again")
            await crowd.until_answers(5)
            # Killed while it is full, it says so and leaves the file as it is, until there is room.
            allow(living, resource.RLIMIT_FSIZE, FULL)
            await living.end(signal.SIGKILL)
            living.before = ["prlimit", f"--fsize={FULL}"]
            before = living.journal.read_bytes()
            assert "cannot be the journal" in await trio.to_thread.run_sync(refused_to_begin, living)
            assert living.journal.read_bytes() == before
            living.before = ()
            await living.serve()


async def test_a_journal_that_somebody_else_has_locked(tmp_path: Path) -> None:
    """S3. Red if a program that holds the file for a while costs more than that while."""
    with lives(tmp_path, **LIMITS) as living:
        async with crowd_at(living):
            other = apsw.Connection(str(living.journal))
            other.execute("BEGIN IMMEDIATE")
            await line(living, "takes nothing: BusyError: .*locked")
            other.execute("ROLLBACK")
            other.close()
            await line(living, "takes records again")


@pytest.mark.parametrize(
    "what, told",
    [
        ("in use", "is in use by another node"),
        ("a diary", "is no SQLite database, and stays as it is"),
        ("cut in half", "is damaged"),
        ("nowhere", "No such file or directory"),
        ("a folder", "cannot be the journal"),
    ],
)
def test_a_node_whose_journal_cannot_be_used_says_so(tmp_path: Path, what: str, told: str) -> None:
    """Red if it begins all the same, with a traceback, or with an empty journal in the place of the old one."""
    with lives(tmp_path, **LIMITS) as living:
        trio.run(living.serve)
        if what != "in use":
            trio.run(living.end, signal.SIGTERM)
        path = living.journal
        match what:
            case "a diary":
                path.write_text("Dear diary, " * 1_000)
            case "cut in half":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case "nowhere":
                path = tmp_path / "nowhere" / "callboard.db"
            case "a folder":
                path = tmp_path
        before = path.read_bytes() if path.is_file() else None
        with node_process(tmp_path, "--journal", str(path)) as node:
            assert node.wait() == 1
            [said] = [text for text in node.lines if "INFO" not in text]
            assert said.startswith("callboard: ")
            assert told in said
        assert (path.read_bytes() if path.is_file() else None) == before


async def fill(port: int, stack: AsyncExitStack, number: int) -> list[trio.SocketStream]:
    """Open so many connections that say nothing."""
    opened = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(number)]
    for stream in opened:
        await stack.enter_async_context(stream)
    return opened


async def until_healthy(port: int) -> None:
    """Ask until the node answers, as a platform's probe would."""
    while True:
        try:
            if b" 200 " in await ask_http(port, HEALTH):
                return
        except (OSError, trio.BrokenResourceError):
            pass
        await trio.sleep(0.1)


async def test_descriptors_that_are_used_up_stop_newcomers_only(tmp_path: Path) -> None:
    """S8 S13. Red if the node falls over, floods its log, fails those who are in, or takes nobody ever after."""
    with lives(tmp_path, head_seconds=60, **LIMITS) as living:
        async with crowd_at(living) as crowd, AsyncExitStack() as stack:
            pid = living.node.process.pid
            used = len(os.listdir(f"/proc/{pid}/fd"))
            allow(living, resource.RLIMIT_NOFILE, used + 5)
            await fill(living.port, stack, 10)
            await crowd.until_answers(10)
            await line(living, "no connections can be taken now: Too many open files; those that are open go on")
            await trio.sleep(1.0)  # it tries again ten times meanwhile
            assert len([text for text in living.node.lines if "Too many open files" in text]) == 1
            assert [device.welcomes for device in crowd.devices] == [1, 1]
            assert len(os.listdir(f"/proc/{pid}/fd")) <= used + 5
            await stack.aclose()
            with trio.fail_after(30):
                await until_healthy(living.port)
            newcomer = StrictDevice(living.port, living.token(crowd.users[0]), start="first")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(newcomer.run)
                await newcomer.news.until(lambda: newcomer.welcomes == 1)
                nursery.cancel_scope.cancel()


async def test_a_node_takes_no_more_connections_than_its_descriptors_allow(tmp_path: Path) -> None:
    """S13. Red if it counts on descriptors that the system does not give it, and comes to their end."""
    with lives(tmp_path, head_seconds=60, **LIMITS) as living:
        living.before = ["prlimit", "--nofile=300:300"]
        async with crowd_at(living) as crowd, AsyncExitStack() as stack:
            await line(living, "44 connections at most, as the system allows 300 open files")
            opened = await fill(living.port, stack, 60)
            ended = Counter[bool]()
            async with trio.open_nursery() as nursery:

                async def read(stream: trio.SocketStream) -> None:
                    with trio.move_on_after(5):
                        try:
                            ended[await stream.receive_some() == b""] += 1
                        except trio.BrokenResourceError:
                            ended[True] += 1

                for stream in opened:
                    nursery.start_soon(read, stream)
            assert ended[True] >= 60 - 44 + 4, "beyond the bound they are let go, and nothing is kept for them"
            await crowd.until_answers(10)
            await stack.aclose()
            with trio.fail_after(30):
                await until_healthy(living.port)
