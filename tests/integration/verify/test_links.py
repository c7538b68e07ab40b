"""What a connection writes down of what comes, and that each of its waits ends, with evidence."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket

from callboard.transport.verify import Line, Plan
from callboard.transport.verify.evidence import Evidence, Findings, Setback
from callboard.transport.verify.judge import judge
from callboard.transport.verify.link import Link
from callboard.transport.verify.story import Story, User
from callboard.transport.verify.tickets import Ticket
from callboard.transport.verify.world import World
from tests.integration.verify.test_mutants import Silent

WELCOME = {
    "t": "welcome",
    "session": "s",
    "connection": "c",
    "epoch": "0" * 16,
    "first": 0,
    "head": 0,
    "from": 1,
    "mode": "fresh",
    "last_id": 0,
    "heartbeat_ms": 1,
    "timeout_ms": 1,
    "limits": {"frame_bytes": 1, "depth": 1, "commands_per_s": 1.0, "burst": 1, "runs": 1, "history": 1},
    "server": "a test",
}


class Node:
    """A WebSocket server that says what a test tells it to say."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.story = Story(User("ada", "token"), "main", "s")
        self.connection: WebSocketConnection
        self.port = 0
        self._there = trio.Event()
        self._done = trio.Event()

    async def handle(self, request: WebSocketRequest) -> None:
        self.connection = await request.accept(subprotocol="callboard.v1.json")
        self._there.set()
        await self._done.wait()

    async def say(self, *frames: dict[str, Any] | str | bytes) -> None:
        for frame in frames:
            await self.connection.send_message(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def heard(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(await self.connection.get_message())
        return heard

    def evidence(self, line: Line) -> Evidence | None:
        return self.findings.outcomes[line].first

    @asynccontextmanager
    async def link(self, seconds: float = 20.0) -> AsyncIterator[Link]:
        plan = Plan(url=f"http://127.0.0.1:{self.port}", timeout_seconds=seconds)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncClient(verify=tls) as http:
            world = World(
                plan, self.token, http, tls, self.findings, Silent(), random.Random(1).randbytes, random.Random(1)
            )
            ticket = Ticket("t", "s", f"ws://127.0.0.1:{self.port}/v1/connect", 30.0, trio.current_time())
            async with world.open(self.story, "device 1", ticket) as link:
                await self._there.wait()
                yield link
                self._done.set()

    async def token(self, user: str, scope: str) -> str:
        raise AssertionError("nobody logs in here")


@asynccontextmanager
async def a_node() -> AsyncIterator[Node]:
    """A node of the test's own."""
    node = Node()
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, node.handle, "127.0.0.1", 0, None)
        node.port = server.port
        try:
            yield node
        except BaseException as raised:  # noqa: BLE001 - raised again outside of the nursery
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


def record(seq: int, type: str = "agent_delta", run: str = "r", **data: Any) -> dict[str, Any]:
    """A record as it comes."""
    return {"seq": seq, "at": 1, "id": f"{run}/{seq}", "type": type, "run": run, "data": data or {"text": "…"}}


async def test_what_comes_is_written_down() -> None:
    """Records, results, and the ping's answer with the head."""
    async with a_node() as node, node.link() as link:
        started = record(1, "agent_started", agent="a", input="?", by="session")
        ended = record(2, "agent_completed", result=None, duration_ms=1)
        await node.say(
            WELCOME,
            {"t": "events", "events": [started, ended]},
            {"t": "gap", "from": 3, "to": 5, "reason": "retention"},
        )
        await node.say({"t": "result", "id": 1, "ok": {"run": "r"}, "seq": 1}, {"t": "ping", "seq": 5})
        assert await node.heard() == {"t": "pong", "seq": 5}
        assert [item.seq for item in link.records] == [1, 2]
        assert len(link.items) == 3
        assert (link.started["r"].seq, link.ended["r"].seq, link.head) == (1, 2, 5)
        assert link.answers[1][0].ok("run") == "r"
        assert [outcome.line for outcome in node.findings.outcomes.values() if outcome.failures] == []


STRANGE: list[tuple[list[dict[str, Any] | str | bytes], Line]] = [
    ([{"t": "events", "events": []}], Line.BEFORE_WELCOME),
    ([{"t": "goaway", "reason": "draining", "in_ms": 0, "by_ms": 1}], Line.BEFORE_WELCOME),
    ([WELCOME, "{"], Line.FRAMES),
    ([WELCOME, "[]"], Line.FRAMES),
    ([WELCOME, {"x": 1}], Line.FRAMES),
    ([WELCOME, b"{}"], Line.FRAMES),
    ([WELCOME, WELCOME], Line.FRAMES),
    ([{**WELCOME, "from": "1"}], Line.FRAMES),
    ([WELCOME, {"t": "events", "events": [{**record(1), "seq": "1"}]}], Line.FRAMES),
    ([WELCOME, {"t": "events", "events": {}}], Line.FRAMES),
    ([WELCOME, {"t": "result", "id": 1}], Line.FRAMES),
    ([WELCOME, {"t": "result", "id": 1, "ok": {}, "error": {}}], Line.FRAMES),
    ([WELCOME, {"t": "gap", "from": 1}], Line.FRAMES),
]


@pytest.mark.parametrize("frames, line", STRANGE)
async def test_what_breaks_the_wire_is_put_down(frames: list[dict[str, Any] | str | bytes], line: Line) -> None:
    """Against one line, with the frame; and the connection is read on."""
    async with a_node() as node, node.link() as link:
        await node.say(*frames, {"t": "error", "code": "later", "message": ""})
        await link.until(lambda: link.errors or None, Line.UNKNOWN_TYPE, "the last frame")
        failed = [outcome.line for outcome in node.findings.outcomes.values() if outcome.failures]
        # Where there was no welcome, the last frame comes before it too.
        assert line in failed
        assert set(failed) <= {line, Line.BEFORE_WELCOME}
        evidence = node.evidence(line)
        assert evidence is not None
        assert (evidence.user, evidence.device) == ("ada", "device 1")


async def test_a_wait_ends_with_evidence() -> None:
    """What does not come in time is put down against the line that waited for it."""
    async with a_node() as node, node.link(0.2) as link:
        with pytest.raises(Setback):
            await link.end_of("r")
        evidence = node.evidence(Line.TERMINAL)
        assert evidence is not None
        assert evidence.seen == "nothing of it in 0.2 s"
        with pytest.raises(Setback):
            await link.until_closed(Line.SECOND_HELLO, "a close with 4002")
        assert node.evidence(Line.SECOND_HELLO) is not None


async def test_a_close_ends_a_wait() -> None:
    """Whoever waits is told the code, against the line of those who are closed unasked."""
    async with a_node() as node, node.link() as link:
        await node.say(WELCOME)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.connection.aclose, 4100, "internal error")
            with pytest.raises(Setback):
                await link.end_of("r")
        evidence = node.evidence(Line.ENTRY)
        assert evidence is not None
        assert evidence.seen == "closed with 4100 internal error"
        assert link.closed is not None
        with pytest.raises(Setback):
            await link.send({"t": "ack", "seq": 0})


async def test_a_command_that_may_be_tried_again_is() -> None:
    """Under the same id, as an answer with `retry` is not kept."""
    async with a_node() as node, node.link() as link:
        await node.say(WELCOME)
        await link.until(lambda: link.welcome, Line.ENTRY, "welcome")

        async def answer() -> None:
            first = await node.heard()
            busy = {"code": "busy", "message": "later", "retry": True}
            await node.say({"t": "result", "id": first["id"], "error": busy})
            assert await node.heard() == first
            await node.say({"t": "result", "id": first["id"], "ok": {"run": "r"}, "seq": 1})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            id, given, said = await link.say("hi")
        assert (id, given.ok("run"), said.run, said.seq) == (1, "r", "r", 1)


async def test_a_run_that_no_result_names_is_judged_by_what_it_was_begun_with() -> None:
    """A text of this session's own: run once more. One that was refused: not refused. Any other: somebody else's."""
    for text, line in (("mine", Line.REPEAT), ("refused", Line.CONFLICT), ("strange", Line.OWN), ("lost", None)):
        async with a_node() as node, node.link() as link:
            node.story.texts |= {"mine", "lost"}
            node.story.refused.add("refused")
            node.story.unanswered.add("lost")
            node.story.links.append(link)
            started = record(1, "agent_started", agent="a", input=text, by="session")
            await node.say(WELCOME, {"t": "events", "events": [started]})
            await link.reach(1, Line.IDENTICAL)
            judge(node.findings, [node.story])
            failed = [outcome.line for outcome in node.findings.outcomes.values() if outcome.failures]
            assert failed == ([] if line is None else [line])
