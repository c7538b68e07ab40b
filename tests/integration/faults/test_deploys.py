"""Nodes are replaced while clients work: drained by SIGTERM, and the next one begins on the same file and port."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import pytest
import trio

import callboard
from callboard.transport.client import WireRecord
from tests.integration.faults.crowd import Crowd, Prompt, judge
from tests.integration.faults.lives import Lives, lives

# A run of these agents takes far less; a client that has nowhere else to go takes all of it.
DRAIN_SECONDS = 3.0
LIMITS = {"drain_seconds": DRAIN_SECONDS, "commands_per_s": 1_000, "runs": 64}


async def deployed_often(living: Lives, deploys: int, rng: random.Random) -> Counter[str]:
    """Replace the node so often while a crowd works, and judge."""
    await living.serve()
    crowd = Crowd(living.port, living.token, users=3, strict=2, product=1, rng=rng)
    async with crowd.at_work():
        for _ in range(deploys):
            await crowd.until_answers(10)
            before = crowd.connects()
            assert await living.end(signal.SIGTERM) == 0
            living.node.wait_line(r"drained: \d+ connections? closed, \d+ runs? finished$")
            await living.serve()
            await crowd.until_all_back(before)
    return await judge(crowd, living.notes)


@pytest.mark.timeout(300)
def test_rolling_deploys_lose_and_cancel_nothing(tmp_path: Path) -> None:
    """S4 S5 S6. Red if a stream has a seam, a command is lost or done twice, or a run is cut that had time to end."""
    with lives(tmp_path, **LIMITS) as living:
        count = trio.run(deployed_often, living, 3, random.Random(2))
    assert count["runs: agent_error"] == count["runs: agent_cancelled"] == 0
    assert count["runs: agent_completed"] == count["commands answered"] >= 40


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_a_client_goes_on_with_a_node_that_kept_its_sessions(tmp_path: Path, number: int) -> None:
    """S4 S5. Red if the product's client is reset, sees a record twice or never, or has to take another device id."""
    with lives(tmp_path, drain_seconds=0.5, close_seconds=0.5) as living:
        await living.serve()
        url, records = living.url, list[WireRecord]()
        token = living.token("user-0")
        async with callboard.connect(url, token=token, start="first", merge=False, rng=Prompt()) as client:
            device = client.device

            async def until_ended(run: str) -> None:
                async for record in client:
                    records.append(record)
                    if record.run == run and record.type == "agent_completed":
                        return

            await until_ended(await client.send("user-0:before"))
            epoch = client.position and client.position[0]
            await living.end(number)
            await client.wait_disconnected()
            runs: list[str] = []
            async with trio.open_nursery() as nursery:

                async def say() -> None:
                    runs.append(await client.send("user-0:meanwhile"))  # there is no node to take it

                nursery.start_soon(say)
                await living.serve()
            await until_ended(runs[0])
            assert [record.last for record in records] == [*range(1, len(records) + 1)]
            assert [record.run for record in records if record.type == "agent_started"] == [records[0].run, *runs]
            assert (client.device, client.position) == (device, (epoch, len(records)))
            told = client.statistics()
            assert (told.resets, told.gaps, told.connects, told.records) == (0, 0, 2, len(records))
