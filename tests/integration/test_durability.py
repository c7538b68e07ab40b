"""A board on a journal in a file, over real sockets: what clients are told when records cannot be had, or be kept."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import trio

import callboard
from tests.integration.actors.power import Power
from tests.integration.actors.sqlite_files import opened
from tests.integration.boards import KEY, Visitors, visitors
from tests.integration.sample_app import Steps
from tests.transport.peer import Message, Peer


@asynccontextmanager
async def board_on(journal: Any, **limits: Any) -> AsyncIterator[tuple[callboard.Board, Visitors]]:
    """A board on this journal, and clients of it."""
    small = callboard.Limits(drain_seconds=1.0, close_seconds=1.0, store_seconds=5.0, **limits)
    async with (
        callboard.open(agents={"steps": Steps}, port=0, key=KEY, limits=small, journal=journal) as board,
        visitors(board) as guests,
    ):
        yield board, guests


async def publish(board: callboard.Board, start: int, end: int, *, size: int = 0) -> None:
    """Say so many things in ada's session."""
    for n in range(start, end):
        assert (await board.publish("ada", "x.said", {"n": n, "text": "x" * size})).seq == n


def resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def until_seq(peer: Peer, seq: int) -> None:
    """Read on until this record is there."""
    while not peer.records or peer.records[-1]["seq"] < seq:
        await peer.receive()


async def test_an_old_copy_of_the_journal_is_another_history(tmp_path: Path) -> None:
    """Red if a client that has seen more than the restored file has is told that its position holds."""  # S10
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    async with board_on(path) as (board, _):
        await publish(board, 1, 6)
    await trio.to_thread.run_sync(shutil.copy, path, copy)
    async with board_on(path) as (board, guests):
        await publish(board, 6, 9)
        peer = await guests.enter("ada", start="first")
        await until_seq(peer, 8)
        epoch = peer.welcome["epoch"]
    await trio.to_thread.run_sync(os.replace, copy, path)
    async with board_on(path) as (board, guests):
        level = await guests.enter("ada", 2, start={"epoch": epoch, "seq": 5})
        assert (level.welcome["mode"], level.welcome["epoch"]) == ("replay", epoch)
        peer = await guests.enter("ada", start={"epoch": epoch, "seq": 8})
        assert peer.welcome["mode"] == "reset"
        assert peer.welcome["epoch"] != epoch
        await until_seq(peer, 5)
        assert [record["data"]["n"] for record in peer.records] == [1, 2, 3, 4, 5]
        assert await level.closed() == 4200, "it comes back, and hears so too"
        assert peer.welcome["epoch"] == (await guests.enter("ada", 3)).welcome["epoch"]


async def test_what_retention_dropped_is_a_gap(tmp_path: Path) -> None:
    """Red if a client misses records unsaid, or is told of a gap where there is none."""  # S10
    async with board_on(tmp_path / "journal.db", retained_records=10, tail_records=3) as (board, guests):
        peer = await guests.enter("ada")
        await publish(board, 1, 3)
        await until_seq(peer, 2)
        await publish(board, 3, 101)
        start = {"epoch": peer.welcome["epoch"], "seq": 2}
        late = await guests.enter("ada", 2, start=start)
        gaps: list[Message] = []
        while not late.records or late.records[-1]["seq"] < 100:
            message = await late.receive()
            if message["t"] == "gap":
                gaps.append(message)
        covered = [seq for gap in gaps for seq in range(gap["from"], gap["to"] + 1)]
        covered += [record["seq"] for record in late.records]
        assert sorted(covered) == list(range(3, 101))
        assert {gap["reason"] for gap in gaps} == {"retention"}
        assert len(late.records) >= 10


async def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """Red if a command is answered that is not durable, cannot be sent again, or runs twice."""  # S3 S5
    power = Power()
    async with opened(tmp_path / "journal.db", vfs=power.name) as journal, board_on(journal) as (_, guests):
        peer = await guests.enter("ada")
        await peer.end_of(await peer.ask("before", "steps"))
        power.failing["write"] = apsw.FullError
        id = await peer.command("user_message", data={"text": "now"})
        refused = await peer.until(lambda message: message["t"] == "result" and message["id"] == id)
        assert (refused["error"]["code"], refused["error"]["retry"]) == ("store_unavailable", True)
        power.failing.clear()
        peer.commands -= 1
        run = await peer.ask("now", "steps")
        await peer.end_of(run)
        started = [record for record in peer.records if record["type"] == "agent_started"]
        assert [record["data"]["input"] for record in started] == ["before", "now"]
        assert [record["seq"] for record in peer.records] == list(range(1, len(peer.records) + 1))


async def test_clients_that_stopped_reading_cost_little_whatever_they_missed(tmp_path: Path) -> None:
    """Red if what they have not read is kept in memory for them, or anybody waits for them."""  # S8 S13
    many, records, size = 100, 2_500, 1_000
    async with board_on(tmp_path / "journal.db", tail_records=64, connections_per_user=many + 1) as (board, guests):
        stuck = [await guests.enter("ada", n, options={"receive_buffer": 4_096}) for n in range(1, many + 1)]
        reader = await guests.enter("ada", many + 1)
        before = resident_bytes()
        await publish(board, 1, records + 1, size=size)
        await until_seq(reader, records)
        grown = resident_bytes() - before
        # Of 250 megabytes that they have to read: a batch or two on its way to each, and as much for whatever else.
        assert grown < many * 4 * board.limits.batch_bytes
        assert (await board.report())["connections"]["waiting_bytes"] <= many * 2 * board.limits.batch_bytes
        for peer in stuck[:3]:
            await until_seq(peer, records)
            assert [record["seq"] for record in peer.records] == list(range(1, records + 1))
