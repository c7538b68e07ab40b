"""A client that reads nothing: it delays nobody, holds a bounded memory, and is cut after its time."""  # S8

from __future__ import annotations

from time import perf_counter

import trio

from tests.integration.boards import counts, open_board, quiet, settled, until, visitors
from tests.integration.sample_app import Steps, Talks

AGENTS = {"talks": Talks, "steps": Steps}
MEGABYTE = 1_000  # of kilobytes, which is what `Talks` counts


async def test_a_client_that_reads_nothing() -> None:
    """Its sibling sees ten megabytes pass by, other users work on, and the node keeps a frame or two of it."""  # S8
    limits = {"write_seconds": 1.0, "batch_bytes": 65_536, "retained_records": 2_000, "store_seconds": 0.3}
    async with open_board(AGENTS, **limits) as board, visitors(board) as guests:
        reader, other = await guests.enter("talker", 1), await guests.enter("other")
        before = await quiet(board)
        slow = await guests.enter("talker", 2, options={"receive_buffer": 4_096})
        [stuck] = [each for each in board.connections("talker") if each.id == slow.welcome["connection"]]
        most = 0
        for _ in range(2):
            run = await reader.ask(str(5 * MEGABYTE), "talks")
            assert (await reader.end_of(run))["type"] == "agent_completed"
            most = max(most, stuck.waiting_bytes)
            assert (await other.end_of(await other.ask("and you?", "steps")))["type"] == "agent_completed"
            reader.records.clear()
        assert most < 3 * 65_536
        # The other side of the law: what it missed costs it alone, and after `write_seconds` it is gone.
        await until(lambda: len(board.connections("talker")) == 1)
        await slow.stream.aclose()
        await settled(board, before)
        assert (await board.report())["connections"]["closed"]["4202"] == 1
        assert (await other.end_of(await other.ask("still there?", "steps")))["type"] == "agent_completed"


async def test_a_slow_client_gets_fewer_records_that_say_the_same() -> None:
    """Over real sockets: what the kernel did not take any more, and a replay, come merged to whom asked for it."""
    async with open_board(AGENTS, write_seconds=60.0) as board, visitors(board) as guests:
        reader = await guests.enter("talker", 1)
        slow = await guests.enter("talker", 2, options={"receive_buffer": 4_096}, merge=True)
        run = await reader.ask(str(8 * MEGABYTE), "talks")
        end = await reader.end_of(run)
        await slow.end_of(run)
        again = await guests.enter("talker", 3, start="first", merge=True)
        await again.end_of(run)
        assert [record["seq"] for record in reader.records] == list(range(1, end["seq"] + 1))
        for merging, most in ((slow, 6 * MEGABYTE), (again, 8 * MEGABYTE / 50)):
            seqs = [
                record["seq"] if isinstance(record["seq"], list) else [record["seq"]] * 2 for record in merging.records
            ]
            assert [first for first, _ in seqs] == [1, *(last + 1 for _, last in seqs[:-1])]
            assert merging.records[-1] == end
            assert len(merging.records) < most
            assert sum(len(record["data"].get("text", "")) for record in merging.records) == 8 * MEGABYTE * 1_000


async def test_a_client_that_commands_and_reads_nothing() -> None:
    """The results that wait for it are bounded in bytes; at the bound it is cut."""  # S8, S13
    limits = {"write_seconds": 60.0, "outbox_bytes": 20_000, "commands_per_s": 1e6, "burst": 1_000_000}
    async with open_board(AGENTS, **limits) as board, visitors(board) as guests:
        other = await guests.enter("other")
        before = await counts(board)
        flood = await guests.enter("flood", options={"receive_buffer": 4_096})
        [stuck] = board.connections("flood")
        command = b'{"t":"command","id":%d,"op":"fly","data":{}}'
        most = 0
        with trio.move_on_after(30):
            try:
                for id in range(1, 1_000_000):
                    flood.protocol.send_text(command % id)
                    await flood.stream.send_all(b"".join(flood.protocol.data_to_send()))
                    most = max(most, stuck.waiting_bytes)
            except trio.BrokenResourceError:
                pass  # cut, as it should be
        assert 0 < most < 40_000
        await until(lambda: not board.connections("flood"))
        await flood.stream.aclose()
        await (await board.session("flood")).stop(block=False)
        await settled(board, before)
        assert (await other.end_of(await other.ask("and you?", "steps")))["type"] == "agent_completed"


async def test_a_client_that_pings_and_reads_nothing() -> None:
    """Its pongs do not pile up: of those that wait only the newest is kept."""  # S8
    patient = {"write_seconds": 60.0, "heartbeat_seconds": 300.0, "commands_per_s": 2_000.0, "burst": 2_000}
    async with open_board(AGENTS, **patient) as board, visitors(board) as guests:
        talker, other = await guests.enter("pinger", 1), await guests.enter("other")
        silent = await guests.enter("pinger", 2, options={"receive_buffer": 4_096})
        [stuck] = [each for each in board.connections("pinger") if each.id == silent.welcome["connection"]]
        run = await talker.ask(str(5 * MEGABYTE), "talks")
        await talker.end_of(run)
        waiting = stuck.waiting_bytes
        assert waiting > 0
        for number in range(2_000):
            silent.protocol.send_ping(b"%d" % number)
        began = perf_counter()
        await silent.stream.send_all(b"".join(silent.protocol.data_to_send()))
        assert (await other.end_of(await other.ask("and you?", "steps")))["type"] == "agent_completed"
        assert stuck.waiting_bytes <= waiting + 200
        assert perf_counter() - began < 10
        # It reads at last, and finds whole frames: records, and pongs between them.
        await silent.end_of(run)
        assert [record["seq"] for record in silent.records] == list(range(1, 5 * MEGABYTE + 3))
