"""Merging on the wire: who asked for it and lags gets fewer bytes that say the same; nobody else notices anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

import callboard
from callboard.transport.connection import MAX_TOLD
from tests.transport.nodes import Node, open_node, say
from tests.transport.peer import Message, Peer

A, B, C = "a" * 32, "b" * 32, "c" * 32


class Talks(callboard.Agent):
    """Says so many words, each on its own, one every 20 ms as a model does, or in bursts, or with a tool."""

    async def run(self, message: callboard.Message) -> str:
        count, _, how = message.text.partition(" ")
        for number in range(int(count)):
            if how not in ("fast", "burst") and not (how == "pairs" and number % 2):
                await trio.sleep(0.02)
            receipt = await self.emit("agent_delta", {"text": f"wörd{number} "})
            if how != "burst" and not (how == "pairs" and number % 2 == 0):
                await receipt
            if how == "tool" and number == int(count) // 2:
                await self.tool("look", {}, trio.lowlevel.checkpoint)
        return "done"


AGENTS = {"talks": Talks}
# Nothing of these tests is about them.
PATIENT = callboard.Limits(write_seconds=10_000.0, heartbeat_seconds=5_000.0)


def stretch(record: Message) -> tuple[int, int]:
    """The first and the last seq that a record stands for."""
    seq: Any = record["seq"]
    return (seq, seq) if isinstance(seq, int) else (seq[0], seq[1])


def merged(records: Sequence[Message]) -> list[tuple[int, int]]:
    """The stretches that came as one record."""
    return [stretch(record) for record in records if not isinstance(record["seq"], int)]


def spelled(records: Sequence[Message]) -> list[tuple[int, str, Any]]:
    """What the records say, without how they were cut: each delta as its letters, at the seq that ends its record.

    Between two records that are not deltas of one run only the text as a whole is looked at.
    """
    said: list[tuple[int, str, Any]] = []
    expected = stretch(records[0])[0] if records else 1
    for record in records:
        first, last = stretch(record)
        assert first == expected
        expected = last + 1
        if record["type"] == "agent_delta":
            if said and said[-1][1] == record["run"]:
                said[-1] = (last, record["run"], said[-1][2] + record["data"]["text"])
            else:
                said.append((last, record["run"], record["data"]["text"]))
        else:
            assert isinstance(record["seq"], int), "nothing but deltas merges"
            said.append((last, record["type"], record))
    return said


async def join(node: Node, device: str, *, lockstep: bool = False, **hello: Any) -> tuple[Peer, Message]:
    """A connection of this device that was welcomed."""
    peer = await node.connect(lockstep=lockstep)
    return peer, await peer.hello(await node.board.ticket("ada"), device, **hello)


async def read_to(peer: Peer, seq: int) -> list[Message]:
    """All records up to this one."""
    while not peer.records or stretch(peer.records[-1])[1] < seq:
        await peer.receive()
    return peer.records


async def test_who_keeps_up_gets_every_piece_when_it_is_said() -> None:
    """Nothing is merged and nothing held back: each record is there in the moment in which it was accepted.

    Red if merging waits for more, or if a connection that keeps up is taken for one that lags: not because two pieces
    became durable in one turn either.
    """
    async with open_node(agents=AGENTS) as node:
        peer, _ = await join(node, A, merge=True)
        await peer.send(say(1, "6 pairs"))
        began = trio.current_time()
        arrived = []
        while len(peer.records) < 8:
            message = await peer.receive()
            if message["t"] == "events":
                seqs = [record["seq"] for record in message["events"]]
                arrived.append((round(trio.current_time() - began, 3), seqs))
        assert arrived == [(0.0, [1]), (0.02, [2, 3]), (0.04, [4, 5]), (0.06, [6, 7]), (0.06, [8])]


async def test_what_memory_holds_no_more_is_merged() -> None:
    """A burst of which only the end is in memory when this connection has its turn; the rest is read."""
    async with open_node(agents=AGENTS, limits=callboard.Limits(tail_records=4)) as node:
        peer, _ = await join(node, A, merge=True)
        await peer.send(say(1, "50 burst"))
        await read_to(peer, 52)
        assert len(merged(peer.records)) == 1
        other, _ = await join(node, B)
        assert spelled(peer.records) == spelled(await read_to(other, 52))


async def test_what_a_slow_replay_brings_ends_at_the_head_that_welcome_told() -> None:
    """What has come since then is not taken for something that was missed."""
    async with open_node(agents=AGENTS, limits=PATIENT) as node:
        peer, _ = await join(node, A)
        await peer.send(say(1, "2000"))
        await read_to(peer, 700)
        slow, welcome = await join(node, B, lockstep=True, start="first", merge=True)
        await read_to(peer, 2_002)
        assert spelled(await read_to(slow, 2_002)) == spelled(peer.records)
        assert welcome["head"] >= 700
        assert welcome["head"] in [last for _, last in merged(slow.records)]


@pytest.mark.parametrize("tail", [4, 1_024], ids=["from the journal", "from memory"])
async def test_a_replay_is_merged_for_who_asks_for_it(tail: int) -> None:
    """The same story in fewer records; an answer is cut where a tool is used, and at the head told by the welcome."""
    async with open_node(agents=AGENTS, limits=callboard.Limits(tail_records=tail)) as node:
        peer, _ = await join(node, A)
        await peer.send(say(1, "40 tool"))
        await read_to(peer, 12)
        plain, welcome = await join(node, B, start="first")
        merging, _ = await join(node, C, start="first", merge=True)
        head = welcome["head"]
        for each in (peer, plain, merging):
            await read_to(each, 44)
        assert merged(plain.records) == []
        assert plain.records == peer.records
        assert spelled(merging.records) == spelled(plain.records)
        assert merged(merging.records)[0] == (2, head)
        assert 12 <= head < 20
        last = next(record for record in merging.records if record["seq"] == [2, head])
        unmerged = plain.records[head - 1]
        text = "".join(record["data"]["text"] for record in plain.records[1:head])
        assert last == {**unmerged, "seq": [2, head], "data": {"text": text}}


async def test_a_position_in_the_middle_of_a_stretch_gets_the_rest_of_it() -> None:
    """Positions are the log's own: where another connection's records were cut means nothing to this one."""  # S4
    async with open_node(agents=AGENTS) as node:
        peer, welcome = await join(node, A)
        await peer.send(say(1, "10"))
        await read_to(peer, 12)
        for seq in range(13):
            start = {"epoch": welcome["epoch"], "seq": seq}
            other, back = await join(node, B, start=start, merge=True)
            assert (back["mode"], back["from"]) == ("replay", seq + 1)
            if seq < 12:
                assert spelled(await read_to(other, 12)) == spelled(peer.records[seq:])
                assert merged(other.records) == [(max(2, seq + 1), 11)][: int(seq < 10)]
            await other.leave()


async def test_no_stretch_goes_across_what_a_ping_said() -> None:
    """A client that compares its position with one that it was told finds itself there, not beyond."""
    limits = attrs.evolve(PATIENT, heartbeat_seconds=25.0)
    async with open_node(agents=AGENTS, limits=limits) as node:
        peer, _ = await join(node, A)
        slow, _ = await join(node, B, lockstep=True, merge=True)
        await peer.send(say(1, "3000"))  # for a minute, while the slow one takes nothing
        for _ in range(13):
            await trio.sleep(5)
            for each in (peer, slow):
                await each.send({"t": "ack", "seq": 0})
        pings = []
        while not slow.records or stretch(slow.records[-1])[1] < 3_002:
            message = await slow.receive()
            if message["t"] == "ping":
                pings.append(message["seq"])
        assert len(pings) == 2
        assert set(pings) < {last for _, last in merged(slow.records)}
        assert not any(first <= ping < last for ping in pings for first, last in merged(slow.records))
        assert spelled(slow.records) == spelled(await read_to(peer, 3_002))


async def test_the_positions_that_a_connection_was_told_are_bounded() -> None:
    """Who trickles for ever is pinged for ever: beyond a bound nothing merges, rather than across them."""  # S13
    async with open_node(agents=AGENTS, limits=attrs.evolve(PATIENT, heartbeat_seconds=5.0)) as node:
        peer, _ = await join(node, A)
        slow, _ = await join(node, B, lockstep=True, merge=True)
        ticks = MAX_TOLD + 2
        for _ in range(ticks):
            await node.board.publish("ada", "x.tick", {})
            await trio.sleep(5)
            for each in (peer, slow):
                await each.send({"t": "ack", "seq": 0})
        await peer.send(say(1, "20 burst"))
        await read_to(peer, ticks + 22)
        assert await read_to(slow, ticks + 22) == peer.records


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "wait", "leave", "say", "say tool", "say fast", "kill"]),
        st.integers(0, 60),
    ),
    max_size=14,
)


# S4 S10
@settings(max_examples=60)
@given(STEPS, st.sampled_from([4, 1_024]), st.sampled_from([400, 65_536]))
async def test_a_slow_device_that_comes_and_goes_has_the_whole_story(
    steps: list[tuple[str, int]], tail: int, batch: int
) -> None:
    """Red if a record is lost, doubled or moved by merging, whatever waited, and wherever a connection ended."""
    limits = attrs.evolve(PATIENT, tail_records=tail, batch_bytes=batch, commands_per_s=1e6, burst=1_000)
    async with open_node(agents=AGENTS, limits=limits) as node:
        witness, welcome = await join(node, A, start="first")
        have: list[Message] = []
        slow: Peer | None = None
        said = 0

        async def follow(count: int) -> None:
            """Read so many messages, if they come; apply what they say as a client has to."""
            nonlocal slow
            if slow is None:
                at = stretch(have[-1])[1] if have else 0
                start = {"epoch": welcome["epoch"], "seq": at}
                slow, again = await join(node, B, lockstep=True, start=start, merge=True)
                assert (again["mode"], again["from"]) == ("replay", at + 1)
            for _ in range(count):
                with trio.move_on_after(1):
                    message = await slow.receive()
                    if message["t"] == "events":
                        have.extend(message["events"])

        for what, much in steps:
            if what == "read":
                await follow(1 + much % 4)
            elif what == "wait":
                await trio.sleep(much / 20)
            elif what == "kill":
                (await node.board.session("ada")).kill()
                await trio.sleep(60)  # more often than now and then ends in quarantine
            elif what == "leave":
                if slow is not None:
                    await trio.aclose_forcefully(slow.stream)
                slow = None
            else:
                said += 1
                await witness.send(say(said, f"{much}{what[3:]}"))
                # Sent; it is accepted whenever the session has a turn.
                await wait_all_tasks_blocked()
        await trio.sleep(200)
        head = (await node.board.publish("ada", "x.last", {})).seq
        await read_to(witness, head)
        while not have or stretch(have[-1])[1] < head:
            await follow(1)
        assert spelled(have) == spelled(witness.records)


@attrs.frozen
class Taken:
    """What a slow phone took: bytes, `events` messages, records; and how long after the last word it had them all."""

    bytes: int
    messages: int
    records: int
    behind_seconds: float


async def take_slowly(*, merge: bool, answers_at_once: int) -> Taken:
    """Three answers of a thousand words, on a link of 2,000 bytes a second; a witness has the same."""
    taken = messages = 0
    ended = 0.0
    async with open_node(agents=AGENTS, limits=PATIENT) as node:
        peer, _ = await join(node, A)
        phone, _ = await join(node, B, lockstep=True, merge=merge)
        receive = phone.stream.receive_some

        async def receive_slowly(max_bytes: int | None = None) -> bytes | bytearray:
            nonlocal taken
            data = await receive(100)
            taken += len(data)
            await trio.sleep(len(data) / 2_000)
            return data

        async def ask() -> None:
            nonlocal ended
            for id in (1, 2, 3):
                await peer.send(say(id, "1000"))
                if id >= answers_at_once:
                    await read_to(peer, id * 1_002)
            ended = trio.current_time()

        vars(phone.stream)["receive_some"] = receive_slowly
        node.nursery.start_soon(ask)
        while not phone.records or stretch(phone.records[-1])[1] < 3 * 1_002:
            messages += (await phone.receive())["t"] == "events"
        behind_seconds = trio.current_time() - ended
        assert spelled(phone.records) == spelled(peer.records)
    return Taken(taken, messages, len(phone.records), behind_seconds)


async def test_a_slow_reader_takes_a_part_of_the_bytes() -> None:
    """Counted, not timed. Pieces of answers that are given at the same time alternate, and stay what they are."""
    plain = await take_slowly(merge=False, answers_at_once=1)
    merging = await take_slowly(merge=True, answers_at_once=1)
    assert (plain.records, plain.behind_seconds > 180) == (3 * 1_002, True)
    assert merging.bytes < plain.bytes / 4
    # Nothing merges before it waits, so it is the link that decides how much: just so that it keeps up.
    assert merging.behind_seconds < 1
    together = await take_slowly(merge=True, answers_at_once=3)
    assert 0.7 * plain.bytes < together.bytes < plain.bytes


async def test_a_replay_takes_a_tenth_of_the_bytes() -> None:
    """Counted: what a page that is loaded anew is sent of one answer of nine hundred words."""
    async with open_node(agents=AGENTS) as node:
        peer, _ = await join(node, A)
        await peer.send(say(1, "900 fast"))
        await read_to(peer, 902)
        sizes = []
        for merge in (False, True):
            other = await node.connect()
            receive, size = other.stream.receive_some, 0

            async def count(max_bytes: int | None = None, receive: Any = receive) -> bytes | bytearray:
                nonlocal size
                data: bytes = await receive(max_bytes)
                size += len(data)
                return data

            vars(other.stream)["receive_some"] = count
            await other.hello(await node.board.ticket("ada"), B, merge=merge)
            await read_to(other, 902)
            sizes.append(size)
        assert sizes[1] < sizes[0] / 10
