"""Peers that are gone without a word: each side finds out within heartbeat and time-out, and nothing is lost."""

from __future__ import annotations

from typing import get_args

import pytest
import trio

import callboard
from callboard.transport.client import WireRecord
from tests.integration.boards import counts, open_board, quiet, settled, until
from tests.integration.faults.crowd import Prompt
from tests.integration.faults.silent_proxy import Dead, silent_proxy
from tests.integration.faults.strict_device import StrictDevice
from tests.integration.sample_app import Steps, Talks

HEARTBEAT_SECONDS, TIMEOUT_SECONDS, CLOSE_SECONDS = 1.0, 1.0, 0.3
# What a machine with much else to do needs on top, for what is due at a moment.
SLACK_SECONDS = 4.0
# Nothing was heard since the wire died, and the last word may have come up to a heartbeat before.
SOONEST = TIMEOUT_SECONDS - 0.1
LATEST = HEARTBEAT_SECONDS + TIMEOUT_SECONDS + SLACK_SECONDS
LIMITS = {
    "heartbeat_seconds": HEARTBEAT_SECONDS,
    "timeout_seconds": TIMEOUT_SECONDS,
    "close_seconds": CLOSE_SECONDS,
    "store_seconds": 0.3,
}
AGENTS = {"steps": Steps, "talks": Talks}


@pytest.mark.parametrize("how", get_args(Dead))
async def test_the_node_finds_a_dead_peer_and_lets_go_of_it(how: Dead) -> None:
    """S8 S13. Red if a connection whose client is gone is kept, or a part of it; or one is given up that is not."""
    async with open_board(AGENTS, **LIMITS) as board:
        before = await quiet(board)
        async with silent_proxy(board.port) as proxy, trio.open_nursery() as nursery:
            device = StrictDevice(proxy.port, board.authenticator.token("ada"))
            nursery.start_soon(device.run)
            await device.command("user_message", {"text": "hello"})
            await device.news.until(lambda: bool(device.ended))
            # Nothing is said, and it lives as long as it answers.
            await trio.sleep(1.5 * (HEARTBEAT_SECONDS + TIMEOUT_SECONDS))
            [connection] = board.connections("ada")
            began = trio.current_time()
            proxy.die(how)
            proxy.refuse()  # whoever is gone does not come back
            await until(lambda: connection not in board.connections("ada"))
            took = trio.current_time() - began
            assert SOONEST < took < LATEST + CLOSE_SECONDS
            assert (await board.report())["connections"]["closed"] == {"4201": 1}
            assert (await counts(board))["tcp"] == 0
            await (await board.session("ada")).stop(block=False)
            nursery.cancel_scope.cancel()
        assert device.breaches == []
        await settled(board, before)


@pytest.mark.parametrize("how", get_args(Dead))
async def test_the_client_finds_a_dead_node_and_resumes(how: Dead) -> None:
    """S4 S5. Red if the client waits for ever, or loses or repeats a record or a command when it comes back."""
    async with (
        open_board(AGENTS, run_seconds=60.0, **LIMITS) as board,
        silent_proxy(board.port) as proxy,
        callboard.connect(
            f"http://127.0.0.1:{proxy.port}",
            token=board.authenticator.token("ada"),
            start="first",
            merge=False,
            rng=Prompt(),
        ) as client,
    ):
        records: list[WireRecord] = []
        runs = [await client.send("one")]
        while not any(record.type == "agent_completed" for record in records):
            records.append(await anext(client))
        began = trio.current_time()
        proxy.die(how)

        async def say() -> None:
            runs.append(await client.send("two"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)  # into the dead wire: the node may get it, or its answer may be lost
            with trio.fail_after(LATEST + CLOSE_SECONDS):
                await client.wait_disconnected()
            assert trio.current_time() - began > SOONEST
        while not any(record.run == runs[1] and record.type == "agent_completed" for record in records):
            records.append(await anext(client))
        assert [record.last for record in records] == [*range(1, len(records) + 1)]
        assert [record.run for record in records if record.type == "agent_started"] == runs
        told = client.statistics()
        assert (told.connects, told.resets, told.gaps) == (2, 0, 0)


@pytest.mark.long  # a ticket that gets no answer is waited for
async def test_a_client_waits_out_a_network_that_swallows_all_that_is_new() -> None:
    """S4. Red if a ticket or a handshake that gets no answer holds the client for ever."""
    async with (
        open_board(AGENTS, **LIMITS) as board,
        silent_proxy(board.port) as proxy,
        callboard.connect(
            f"http://127.0.0.1:{proxy.port}", token=board.authenticator.token("ada"), rng=Prompt()
        ) as client,
    ):
        await client.send("one")
        with proxy.black_hole():
            proxy.die("both")
            await client.wait_disconnected()
            await proxy.until_swallowed(1)
        await client.wait_connected()
        await client.send("two")
