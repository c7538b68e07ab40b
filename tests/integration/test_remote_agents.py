"""Workers in processes of their own, over real sockets, killed with signal 9 in the middle of a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

import callboard
from tests.integration.boards import KEY
from tests.integration.node_process import REPOSITORY, NodeProcess, node_process
from tests.integration.test_publishing import service_token
from tests.integration.test_restart import client
from tests.integration.test_signals import port_of
from tests.transport.peer import Peer

LIMITS = callboard.Limits(worker_seconds=0.5, worker_wait_seconds=60)


@contextmanager
def lab_worker(url: str, token: str, *names: str, capacity: int = 4) -> Iterator[NodeProcess]:
    """A worker, which is killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.lab_worker", url, str(capacity), *names],
        cwd=REPOSITORY,
        env={**os.environ, "LAB_TOKEN": token, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    worker = NodeProcess(process)
    try:
        yield worker
    finally:
        if process.poll() is None:
            process.kill()
        worker.wait()
        assert process.stdout is not None
        process.stdout.close()


@asynccontextmanager
async def board() -> AsyncIterator[callboard.Board]:
    """A node on a free port, with two remote agents."""
    remote = {"plain": callboard.Remote(), "again": callboard.Remote()}
    async with callboard.open(agents=remote, port=0, key=KEY, limits=LIMITS) as opened:
        yield opened


@asynccontextmanager
async def ada(node: callboard.Board) -> AsyncIterator[Peer]:
    """Ada's client."""
    peer = await Peer.connect(node.port)
    async with peer.stream:
        await peer.hello(await node.ticket("ada"))
        yield peer


async def line(worker: NodeProcess, pattern: str) -> re.Match[str]:
    """Wait for a line of a worker."""
    return await trio.to_thread.run_sync(lambda: worker.wait_line(pattern))


def kill(worker: NodeProcess) -> None:
    """Signal 9."""
    worker.signal(signal.SIGKILL)


def token_of(node: callboard.Board) -> str:
    """A service token."""
    return node.authenticator.token("lab", scope="agent")


def told(peer: Peer, run: str) -> list[dict[str, Any]]:
    """What was said of a run."""
    return [record for record in peer.records if record.get("run") == run]


# S6 S7
async def test_runs_are_spread_over_two_workers() -> None:
    """Red if one has all the work, an event is lost, or a run has no end."""
    async with board() as node, ada(node) as peer:
        with lab_worker(node.url, token_of(node), "plain") as one, lab_worker(node.url, token_of(node), "plain") as two:
            runs = []
            for _ in range(4):
                runs.append(await peer.ask("200", "plain"))
            for run in runs:
                end = await peer.end_of(run)
                assert end["type"] == "agent_completed"
                deltas = [record for record in told(peer, run) if record["type"] == "agent_delta"]
                assert [record["data"]["text"] for record in deltas] == [*map(str, range(200))]
            # Both are there now: what waits is shared.
            waiting = [await peer.ask("wait", "plain") for _ in range(4)]
            begun = [(await line(worker, rf"begins ({'|'.join(waiting)}) 1"))[1] for worker in (one, two)]
            assert len(set(begun)) == 2
            for run in waiting:
                await peer.command("cancel", run=run, data={})
                assert (await peer.end_of(run))["type"] == "agent_cancelled"
            for worker, run in zip((one, two), begun, strict=True):
                await line(worker, f"cancelled {run} 1")


# S6
async def test_a_killed_workers_run_ends_where_it_may_not_begin_again() -> None:
    """Red if the run stays open, or has another end than the supervisor's."""
    async with board() as node, ada(node) as peer:
        with lab_worker(node.url, token_of(node), "plain", "again") as worker:
            run = await peer.ask("5 wait", "plain")
            await line(worker, f"begins {run} 1")
            while sum(record["type"] == "agent_delta" for record in told(peer, run)) < 5:
                await peer.receive()
            kill(worker)
            end = await peer.end_of(run)
            assert (end["type"], end["data"]["code"], end["data"]["by"]) == (
                "agent_error",
                "agent_failed",
                "supervisor",
            )


# S6
async def test_a_killed_workers_restartable_run_is_finished_by_another() -> None:
    """Red if it is given up, its records are not one run's, or it has two ends."""
    async with board() as node, ada(node) as peer:
        with lab_worker(node.url, token_of(node), "again") as first:
            run = await peer.ask("5 wait", "again")
            await line(first, f"begins {run} 1")
            while sum(record["type"] == "agent_delta" for record in told(peer, run)) < 5:
                await peer.receive()
            kill(first)
            with lab_worker(node.url, token_of(node), "again") as second:
                end = await peer.end_of(run)
                assert (end["type"], end["data"]["result"]) == ("agent_completed", [second.process.pid, 2])
                types = [record["type"] for record in told(peer, run)]
                assert types.count("x.restarted") == 1
                assert types.count("agent_delta") == 5 + 3


class Follower:
    """Reads on for a client, and answers pings, while its test waits for something else."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._changed = trio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            message = await self.peer.receive()
            if message["t"] == "ping":
                await self.peer.send({"t": "pong", "seq": message["seq"]})
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def record(self, type: str) -> dict[str, Any]:
        """Wait for the first record of this type."""
        while not (found := [record for record in self.peer.records if record["type"] == type]):
            await self._changed.wait()
        return found[0]


# S6
async def test_a_worker_that_stood_still_is_fenced_when_it_comes_back() -> None:
    """Red if a worker that was taken for dead still speaks in the run that another one has finished."""
    remote = {"again": callboard.Remote()}
    limits = callboard.Limits(worker_seconds=0.2, heartbeat_seconds=1, timeout_seconds=4, worker_wait_seconds=60)
    async with callboard.open(agents=remote, port=0, key=KEY, limits=limits) as node:
        peer = await Peer.connect(node.port)
        async with peer.stream, trio.open_nursery() as nursery:
            await peer.hello(await node.ticket("ada"))
            follower = Follower(peer)
            nursery.start_soon(follower.run)
            with lab_worker(node.url, token_of(node), "again") as stale:
                await peer.command("user_message", data={"text": "wait"})
                run = (await follower.record("agent_started"))["run"]
                await line(stale, f"begins {run} 1")
                stale.signal(signal.SIGSTOP)
                with lab_worker(node.url, token_of(node), "again") as other:
                    end = await follower.record("agent_completed")
                    assert end["data"]["result"] == [other.process.pid, 2]
                    stale.signal(signal.SIGCONT)
                    await line(stale, f"cancelled {run} 1")
            nursery.cancel_scope.cancel()
        assert [record["type"] for record in told(peer, run)][-1] == "agent_completed"


# S6
async def test_a_worker_outlives_its_node(tmp_path: Path) -> None:
    """Red if the open run has no end after the restart, its worker goes on with it, or takes no new one."""
    app = "tests.integration.sample_app:remote"
    with node_process(tmp_path, app=app) as node:
        url, port = node.url, port_of(node)
        with lab_worker(url, service_token(tmp_path), "plain") as worker:
            async with client(node, tmp_path) as peer:
                run = await peer.ask("3 wait")
                await line(worker, f"begins {run} 1")
                node.signal(signal.SIGKILL)
            await trio.to_thread.run_sync(node.wait)
            with node_process(tmp_path, "--port", str(port), app=app) as again:
                async with client(again, tmp_path, start="first") as peer:
                    assert (await peer.end_of(run))["data"]["code"] == "node_lost"
                    await line(worker, f"cancelled {run} 1")
                    assert (await peer.end_of(await peer.ask("3")))["type"] == "agent_completed"
