"""Agents that run in workers, with a whole node, over streams in memory and in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

import callboard
from tests.transport.held_journal import HeldJournal
from tests.transport.nodes import Node, open_node, say
from tests.transport.peer import Peer
from tests.transport.workers import ID, Station, raw_worker, token

SHORT = callboard.Limits(worker_seconds=5, worker_wait_seconds=20, worker_queue=2, runs=8)


async def look() -> str:
    """A tool; no plain one, as virtual time does not wait for threads."""
    await trio.sleep(1)
    return "seen"


class Lab(callboard.agents.Agent):
    """Does what it is told: numbers as so many deltas."""

    async def run(self, message: callboard.Message) -> Any:
        for word in message.text.split():
            if word.isdigit():
                for number in range(int(word)):
                    await trio.sleep(0.01)
                    await self.emit("agent_delta", {"text": f"{number}"})
            elif word == "tool":
                await self.tool("look", {"at": "it"}, look)
            elif word == "sorry":
                raise callboard.AgentError("sorry", "not today")
            elif word == "boom":
                raise ZeroDivisionError("secret")
            elif word == "wait":
                await trio.sleep_forever()
            elif word == "receipt":
                await (await self.emit("x.noted", {}))
        return [message.user, message.agent, self.attempt, [[each.text, each.answer] for each in message.history]]


class Again(Lab):
    """The same, and may begin again."""

    restartable = True


@asynccontextmanager
async def lab(limits: callboard.Limits = SHORT, **options: Any) -> AsyncIterator[tuple[Node, Station]]:
    """A node whose agent is remote, and a place for workers."""
    async with open_node(agents={"lab": callboard.Remote()}, limits=limits, **options) as node:
        yield node, Station(node.board, node.nursery)


async def told(peer: Peer, until: str) -> list[dict[str, Any]]:
    """All records up to the next one of this type."""
    await peer.until_record(until)
    return peer.records


def types(records: list[dict[str, Any]]) -> list[str]:
    """What happened, in short."""
    return [record["type"].removeprefix("agent_") for record in records]


# S6 S7
async def test_a_worker_does_a_run_as_an_agent_of_the_node_would() -> None:
    """Red if an event is lost or out of order, the history is missing, or the end is not the agent's own."""
    async with lab() as (node, station):
        station.start({"lab": Lab})
        peer, _ = await node.enter()
        await peer.send(say(1, "2 tool receipt"))
        records = list(await told(peer, "agent_completed"))
        expected = ["started", "delta", "delta", "tool_executing", "tool_completed", "x.noted", "completed"]
        assert types(records) == expected
        assert [record["data"]["text"] for record in records[1:3]] == ["0", "1"]
        assert records[4]["data"]["ok"] is True
        assert records[-1]["data"]["result"] == ["ada", "lab", 1, []]
        await peer.send(say(2, "1"))
        while len(peer.records) < len(expected) + 3:
            await peer.receive()
        history = peer.records[-1]["data"]["result"][3]
        assert history == [["2 tool receipt", ["ada", "lab", 1, []]]]
        assert (await node.board.report())["workers"] == {"connected": 1, "runs": 0, "waiting": 0}


# S6
@pytest.mark.parametrize("text, code", [("1 sorry", "sorry"), ("1 boom", "agent_failed")])
async def test_a_run_that_fails_at_its_worker(text: str, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """An AgentError is the user's to read; of a bug only the type is told."""
    async with lab() as (node, station):
        station.start({"lab": Lab})
        peer, _ = await node.enter()
        await peer.send(say(1, text))
        records = await told(peer, "agent_error")
        assert types(records) == ["started", "delta", "error"]
        assert records[-1]["data"]["code"] == code
        assert "secret" not in str(records)


# S5
async def test_a_repeat_is_acknowledged_and_not_appended() -> None:
    """Red if an event that is said again is recorded again, or its worker never hears that it is there."""
    async with lab() as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            assert (await worker.hello())["t"] == "welcome"
            await peer.send(say(1, "x"))
            order = await worker.hear("run")
            event = {"t": "event", "run": order["run"], "attempt": 1, "type": "agent_delta"}
            for _ in range(3):
                await worker.say(**event, n=1, data={"text": "one"})
                assert (await worker.hear("ack"))["n"] == 1
            await worker.say(**event, n=2, data={"text": "two"})
            assert (await worker.hear("ack"))["n"] == 2
            await worker.say(**event, n=1, data={"text": "one"})
            assert (await worker.hear("ack"))["n"] == 2
            end = {"t": "end", "run": order["run"], "attempt": 1, "n": 3, "result": "done"}
            await worker.say(**end)
            assert (await worker.hear("ack"))["n"] == 3
            await worker.say(**end)
            assert (await worker.hear("cancel"))["reason"] == "fenced"
        records = await told(peer, "agent_completed")
        assert types(records) == ["started", "delta", "delta", "completed"]


# S6
async def test_the_run_of_a_worker_that_dies_gets_its_one_end() -> None:
    """Red if it stays open, ends at once although the worker may come back, or an open call is left open."""
    async with lab() as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            await worker.hello()
            await peer.send(say(1, "x"))
            order = await worker.hear("run")
            call = {"call": "c", "tool": "look", "arguments": {}}
            await worker.say(t="event", run=order["run"], attempt=1, n=1, type="tool_executing", data=call)
            await worker.hear("ack")
            died = trio.current_time()
        records = await told(peer, "agent_error")
        assert trio.current_time() - died == pytest.approx(SHORT.worker_seconds, abs=0.5)
        assert types(records) == ["started", "tool_executing", "tool_completed", "error"]
        assert records[-1]["data"]["code"] == "agent_failed"
        assert "WorkerLost" in records[-1]["data"]["message"]
        assert records[-1]["data"]["by"] == "supervisor"


# S6 S7
async def test_a_restartable_run_goes_to_another_worker_and_the_stale_one_is_fenced() -> None:
    """Red if it ends, its open call stays open, two workers speak in it, or the stale one is not told."""
    async with lab() as (node, station):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as stale:
            await stale.hello(restartable=True)
            await peer.send(say(1, "2"))
            order = await stale.hear("run")
            event = {"t": "event", "run": order["run"], "attempt": 1}
            await stale.say(**event, n=1, type="tool_executing", data={"call": "c", "tool": "look", "arguments": {}})
            await stale.hear("ack")
        station.start({"lab": Again})
        records = await told(peer, "agent_completed")
        expected = ["started", "tool_executing", "tool_completed", "x.restarted", "delta", "delta", "completed"]
        assert types(records) == expected
        assert (records[2]["data"]["ok"], records[3]["data"]) == (False, {"attempt": 2})
        assert records[-1]["data"]["result"][2] == 2
        async with raw_worker(node.board) as stale:
            await stale.hello(runs=[{"run": order["run"], "attempt": 1}])
            fenced = await stale.hear("cancel")
            assert (fenced["run"], fenced["attempt"], fenced["reason"]) == (order["run"], 1, "fenced")
            await stale.say(**event, n=2, type="agent_delta", data={"text": "late"})
            assert (await stale.hear("cancel"))["reason"] == "fenced"
        await peer.send(say(2, "1"))
        await peer.until_record("agent_completed")
        assert "late" not in str(peer.records)


async def test_a_run_that_loses_every_worker_is_not_begun_for_ever() -> None:
    """Red if a run that kills its workers kills all of them."""  # S13
    async with lab() as (node, _):
        peer, _ = await node.enter()
        await peer.send(say(1, "x"))
        for attempt in (1, 2, 3):
            async with raw_worker(node.board) as worker:
                await worker.hello(restartable=True, worker=f"{attempt:032x}")
                assert (await worker.hear("run"))["attempt"] == attempt
        records = await told(peer, "agent_error")
        assert types(records) == ["started", "x.restarted", "x.restarted", "error"]


# S4 S5
@pytest.mark.parametrize("seed", range(8))
async def test_a_worker_that_was_cut_off_goes_on_with_what_it_had(seed: int) -> None:
    """Red if an event is lost or doubled over a cut, or the run is given up while its worker may come back."""
    rng = random.Random(seed)
    async with lab(attrs.evolve(SHORT, worker_seconds=300, worker_queue=4, heartbeat_seconds=3_000)) as (node, station):
        station.start({"lab": Lab}, capacity=2, rng=rng)
        peer, _ = await node.enter()
        for number in range(4):
            await peer.send(say(number + 1, "30 receipt 30"))
        cuts = 0
        with trio.fail_after(600):
            while types(peer.records).count("completed") < 4:
                with trio.move_on_after(rng.expovariate(5)):
                    await peer.receive()
                    continue
                cuts += station.cut()
        assert cuts >= 2
        runs: dict[str, list[str]] = {}
        for record in peer.records:
            if record["type"] == "agent_delta":
                runs.setdefault(record["run"], []).append(record["data"]["text"])
        assert sorted(map(len, runs.values())) == [60] * 4
        assert all(texts == [*map(str, range(30)), *map(str, range(30))] for texts in runs.values())


# S9
async def test_cancel_reaches_the_worker() -> None:
    """Red if the run's one end is not written at once, or its worker goes on."""
    async with lab() as (node, station):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            await worker.hello()
            await peer.send(say(1, "wait"))
            order = await worker.hear("run")
            await peer.send({"t": "command", "id": 2, "op": "cancel", "run": order["run"], "data": {}})
            heard = await worker.hear("cancel")
            assert (heard["run"], heard["attempt"], heard["reason"]) == (order["run"], 1, "cancelled")
            records = await told(peer, "agent_cancelled")
            assert types(records) == ["started", "cancelled"]
        scope = station.start({"lab": Lab})
        peer.commands = 2
        run = await peer.ask("wait")
        await trio.sleep(1)
        assert (await node.board.report())["workers"]["runs"] == 1
        await peer.command("cancel", run=run, data={})
        assert (await peer.end_of(run))["type"] == "agent_cancelled"
        await peer.end_of(await peer.ask("1"))
        await trio.sleep(1)
        assert (await node.board.report())["workers"]["runs"] == 0
        scope.cancel()


# S13
async def test_runs_wait_for_a_worker_in_a_bounded_queue() -> None:
    """`busy` beyond it, `no_worker` when nobody comes, and first come first served."""
    async with lab() as (node, _):
        peer, _ = await node.enter()
        for number in range(3):
            await peer.send(say(number + 1, f"{number}"))
        records = await told(peer, "agent_error")
        assert records[-1]["data"]["code"] == "busy"
        assert (await node.board.report())["workers"]["waiting"] == 2
        await trio.sleep(SHORT.worker_wait_seconds)
        while types(peer.records).count("error") < 3:
            await peer.receive()
        assert [record["data"]["code"] for record in peer.records if record["type"] == "agent_error"] == [
            "busy",
            "no_worker",
            "no_worker",
        ]
        peer.commands = 3
        runs = [await peer.ask("0") for _ in range(2)]
        async with raw_worker(node.board) as worker:
            await worker.hello(capacity=1)
            for run in runs:
                assert (await worker.hear("run"))["run"] == run
                await worker.say(t="end", run=run, attempt=1, n=1, result=1)
                assert (await peer.end_of(run))["type"] == "agent_completed"


async def test_the_least_loaded_worker_gets_the_run() -> None:
    """Counted by the share of its capacity."""
    async with lab() as (node, _), raw_worker(node.board) as small, raw_worker(node.board) as large:
        await small.hello(worker="1" * 32, capacity=1)
        await large.hello(worker="2" * 32, capacity=4)
        peer, _ = await node.enter()
        orders = []
        for number in range(5):
            await peer.send(say(number + 1, "x"))
        orders = [await large.hear("run") for _ in range(4)]
        orders.append(await small.hear("run"))
        assert len({order["run"] for order in orders}) == 5


async def closing_code(node: Node, bearer: str | None = None, **options: Any) -> int:
    """What a connection is closed with before it says anything."""
    async with raw_worker(node.board, bearer, **options) as worker:
        return await worker.closed()


# S12
async def test_who_is_no_worker() -> None:
    """A token that proves nothing: 4302; one without the scope, or for some sessions only: 4003; a page: 4005."""
    async with lab() as (node, _):
        board = node.board
        assert await closing_code(node, "not.a.token") == 4302
        assert await closing_code(node, token(board, lifetime_seconds=-1)) == 4302
        assert await closing_code(node, token(board, scope="operator")) == 4003
        assert await closing_code(node, token(board, sessions=[callboard.SessionKey("ada").id])) == 4003
        assert await closing_code(node, origin="https://app.example.org") == 4005
        async with raw_worker(board, token(board, lifetime_seconds=60)) as worker:
            await worker.hello()
            began = trio.current_time()
            while True:
                message = await worker.hear()
                if message["t"] == "ping":
                    await worker.say(t="pong")
                if trio.current_time() - began > 40:
                    break
            assert await worker.closed() == 4300
        async with raw_worker(board) as worker:
            await worker.hello()
            async with raw_worker(board, token(board, "another")) as thief:
                await thief.say(t="hello", worker=ID, client="", agents={"lab": {}}, capacity=1)
                assert await thief.closed() == 4003
            async with raw_worker(board) as again:
                await again.hello()
                assert await worker.closed() == 4008
                await board.close_user("lab")
                assert await again.closed() == 4006


BROKEN: list[tuple[int, dict[str, Any]]] = [
    (4002, {"t": "hello", "worker": ID, "client": "", "agents": {"lab": {}}, "capacity": 1}),
    (4001, {"t": "event", "run": "RUN", "attempt": 0, "n": 1, "type": "x.a", "data": {}}),
    (4001, {"t": "event", "run": "RUN", "attempt": 1, "n": 0, "type": "x.a", "data": {}}),
    (4001, {"t": "event", "run": "RUN", "attempt": 1, "n": 1, "type": "x.a", "data": []}),
    (4102, {"t": "event", "run": "RUN", "attempt": 1, "n": 2, "type": "x.a", "data": {}}),
    (4007, {"t": "event", "run": "RUN", "attempt": 1, "n": 1, "type": "x.a", "data": {"x": "y" * 300_000}}),
]


@pytest.mark.parametrize("code, message", BROKEN)
async def test_a_worker_that_breaks_a_rule_is_closed(code: int, message: dict[str, Any]) -> None:
    """With the code that says which; and its run is another's, or ends."""
    async with lab() as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            await worker.hello()
            await peer.send(say(1, "x"))
            order = await worker.hear("run")
            await worker.say(**{key: order["run"] if value == "RUN" else value for key, value in message.items()})
            assert await worker.closed() == code
        await peer.until_record("agent_error")


async def test_what_comes_before_the_hello_and_a_name_that_is_not_known() -> None:
    """4002, 4105 where nothing comes, and 4003 with the names that there are."""
    async with lab() as (node, _):
        async with raw_worker(node.board) as worker:
            await worker.say(t="pong")
            assert await worker.closed() == 4002
        assert await closing_code(node) == 4105
        async with raw_worker(node.board) as worker:
            await worker.say(t="hello", worker=ID, client="", agents={"lib": {}}, capacity=1)
            assert await worker.closed() == 4003
        with trio.fail_after(30), pytest.RaisesGroup(callboard.agents.WorkerRefused, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                Station(node.board, nursery).start({"lib": Lab})
                await trio.sleep_forever()


# S13
async def test_no_more_than_the_window_is_taken() -> None:
    """Red if a worker that heeds no acknowledgement fills the node's memory."""
    journal = HeldJournal()
    async with lab(journal=journal) as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            window = (await worker.hello())["window"]
            await peer.ask("x")
            order = await worker.hear("run")
            journal.hold_appends = True
            for n in range(1, window + 2):
                await worker.say(t="event", run=order["run"], attempt=1, n=n, type="x.a", data={"n": n})
            assert await worker.closed() == 4102
        journal.release()
        await peer.end_of(order["run"])
        assert peer.of_run(order["run"]).count("x.a") == window


# S6 S7
async def test_an_event_out_of_place_is_refused_and_the_run_goes_on() -> None:
    """Red if it is recorded, ends the run, or its worker does not hear of it."""
    async with lab() as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            await worker.hello()
            await peer.send(say(1, "x"))
            run = (await worker.hear("run"))["run"]
            wrong: list[tuple[str, dict[str, Any]]] = [
                ("agent_started", {"agent": "lab", "input": "x", "by": "session"}),
                ("agent_cancelled", {"by": "user", "reason": "x"}),
                ("agent_completed", {"result": 1, "duration_ms": 1}),
                ("tool_completed", {"call": "c", "tool": "t", "ok": True, "result": 1, "duration_ms": 1}),
                ("agent_delta", {"words": "x"}),
                ("made_up", {}),
            ]
            for n, (type, data) in enumerate(wrong, 1):
                await worker.say(t="event", run=run, attempt=1, n=n, type=type, data=data)
                assert (await worker.hear("refused"))["n"] == n
                assert (await worker.hear("ack"))["n"] == n
            await worker.say(t="end", run=run, attempt=1, n=len(wrong) + 1, result="done")
            await worker.hear("ack")
        assert types(await told(peer, "agent_completed")) == ["started", "completed"]


async def test_a_node_that_drains_lets_its_workers_finish() -> None:
    """The open run ends by itself, then the worker is closed with 4200 and a new one is not taken."""  # S6
    async with lab() as (node, _):
        peer, _ = await node.enter()
        async with raw_worker(node.board) as worker:
            await worker.hello()
            await peer.send(say(1, "x"))
            run = (await worker.hear("run"))["run"]

            async def drain() -> None:
                await node.board.drain(10)

            node.nursery.start_soon(drain)
            assert (await worker.hear("goaway"))["by_ms"] == 10_000
            assert await closing_code(node) == 4200
            await worker.say(t="end", run=run, attempt=1, n=1, result="done")
            await worker.hear("ack")
            await peer.until_record("agent_completed")
            await peer.stream.aclose()
            assert await worker.closed() == 4200


async def test_a_worker_that_stops_in_order_is_not_waited_for() -> None:
    """Red if a deploy of workers costs each run the time in which a lost one may come back."""
    async with lab() as (node, station):
        peer, _ = await node.enter()
        scope = station.start({"lab": Again})
        await peer.send(say(1, "wait"))
        await peer.until_record("agent_started")
        await trio.sleep(1)
        assert (await node.board.report())["workers"]["runs"] == 1
        began = trio.current_time()
        scope.cancel()
        async with raw_worker(node.board) as other:
            await other.hello(worker="9" * 32)
            assert (await other.hear("run"))["attempt"] == 2
        assert trio.current_time() - began < 1
