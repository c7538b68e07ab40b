"""The calculator example as an operator serves it: a node of its own, real sockets, a client written from the wire."""

import asyncio
from pathlib import Path
from typing import Any

from tests.integration.golden_path import grammar_problems
from tests.integration.node_process import node_process
from tests.integration.test_golden_path import token_source
from tests.integration.wire_client import Device, is_terminal

# Two primes of thirteen digits, multiplied: hours of work.
ENDLESS = "factor 1000000000100000000002379"


def types(records: list[dict[str, Any]]) -> list[str]:
    """What was said, in order."""
    return [record["type"] for record in records]


def test_the_calculator_over_the_wire(tmp_path: Path) -> None:
    """Answers, refusals, a crash, a cancel in mid-computation and a deadline; each run ends once, and others go on."""
    with node_process(tmp_path, app="examples.calculator:board", limits={"run_seconds": 5}) as node:
        url = node.url  # the key is there once it serves
        asyncio.run(use_it(url, token_source(tmp_path)("ada")))


async def use_it(url: str, token: str) -> None:
    """One user who tries all of it."""
    device = Device(url, token)
    await device.enter()

    async def end_of(text: str) -> tuple[list[str], dict[str, Any]]:
        run, _ = await device.ask(text)
        end = await device.terminal(run)
        return types(device.of_run(run)), end["data"]

    said, end = await end_of("1/3 + 0.1")
    assert said == ["agent_started", "tool_executing", "tool_completed", "agent_delta", "agent_completed"]
    assert end["result"] == "13/30 = 0.433333333333…"

    _, end = await end_of("factor 600851475143")
    assert end["result"] == "71 × 839 × 1471 × 6857"  # noqa: RUF001 - a product

    _, end = await end_of("2 +")
    assert (end["code"], end["by"]) == ("not_understood", "agent")

    said, end = await end_of("1/0")
    assert said == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
    assert (end["code"], end["by"]) == ("agent_failed", "supervisor")
    assert "ZeroDivisionError" in end["message"]

    # Cancelled in mid-computation, while another run of the session goes on as if nothing were.
    busy, _ = await device.ask(ENDLESS)
    await device.wait(lambda: types(device.of_run(busy)) == ["agent_started", "agent_thinking"])
    _, end = await end_of("2^10")
    assert end["result"] == "1024"
    assert (await device.result(await device.command("cancel", run=busy)))["ok"] == {"state": "cancelling"}
    assert (await device.terminal(busy))["type"] == "agent_cancelled"

    said, end = await end_of(ENDLESS)
    assert said == ["agent_started", "agent_thinking", "agent_error"]
    assert end["code"] == "deadline"

    _, end = await end_of("6 * 7")
    assert end["result"] == "42"
    for run in {record["run"] for record in device.records}:
        assert sum(map(is_terminal, device.of_run(run))) == 1
        assert not grammar_problems(device.of_run(run))
    assert not device.problems
    await device.leave()
