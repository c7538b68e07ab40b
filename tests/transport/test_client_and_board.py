"""The client and the board on one clock, with a network between them that loses, holds and refuses.

`client/test_once.py` plays the node, to have it say whatever a node may say; here both ends are the real ones, from the
request for a ticket to the agent's last word.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

import callboard
from callboard.transport.client import Client, Gap, NetworkWay, Reset, WireRecord, open_client
from tests.transport.memory_client import open_board
from tests.transport.nodes import Echo

# As many runs and commands as a test may have; their bounds are looked at elsewhere.
LIMITS = callboard.Limits(runs=100, commands_per_s=1_000.0, burst=100, history=5)


class Network:
    """Streams to a board. What is sent comes later, in order; a cut loses what is on its way, at any byte."""

    def __init__(self, board: callboard.Board, nursery: trio.Nursery, rng: random.Random) -> None:
        self.stalled_until = 0.0
        self.mute_until = 0.0
        self.refusals = 0
        self._board = board
        self._nursery = nursery
        self._rng = rng
        self._lines: dict[trio.CancelScope, None] = {}

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """A stream, or an OSError."""
        await trio.sleep(self._rng.choice((0.0, 0.02, 0.3)))
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError("played")
        client, near = memory_stream_pair()
        far, server = memory_stream_pair()
        self._nursery.start_soon(self._board.serve_stream, server)
        self._nursery.start_soon(self._line, near, far)
        return client

    def cut(self) -> None:
        """Cut all streams; neither end is told more than that there is no more."""
        for line in list(self._lines):
            line.cancel()

    async def lose_answers(self) -> None:
        """Let what clients say arrive, and cut before they hear anything of it."""
        self.mute_until = trio.current_time() + 4
        await trio.sleep(3)
        self.cut()

    async def _line(self, near: trio.abc.Stream, far: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            self._lines[scope] = None
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, near, far, scope, lambda: self.stalled_until)
                    nursery.start_soon(self._carry, far, near, scope, lambda: max(self.stalled_until, self.mute_until))
            finally:
                del self._lines[scope]
                await trio.aclose_forcefully(near)
                await trio.aclose_forcefully(far)

    async def _carry(
        self,
        source: trio.abc.Stream,
        sink: trio.abc.Stream,
        line: trio.CancelScope,
        held_until: Callable[[], float],
    ) -> None:
        try:
            while data := await source.receive_some(self._rng.choice((7, 500, 65_536))):
                await trio.sleep(self._rng.choice((0.0, 0.0, 0.01, 0.2)))
                await trio.sleep_until(held_until())
                await sink.send_all(data)
            # The other direction goes on: it may carry an answer.
            await trio.sleep(1)
        except trio.BrokenResourceError:
            pass
        line.cancel()


class Device:
    """One client, what it saw and what became of what it said."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.texts: dict[str, str] = {}
        self.starts: list[tuple[str, str]] = []
        self.ends: Counter[str] = Counter()
        self.said: dict[str, str] = {}

    async def watch(self, client: Client) -> None:
        """Take all that comes."""
        async for item in client.everything():
            assert not isinstance(item, Gap | Reset), "nothing was lost, and the history is the same"
            assert isinstance(item, WireRecord)
            self.seqs += range(item.first, item.last + 1)
            data: Any = item.data
            if item.type == "agent_delta":
                self.texts[str(item.run)] = self.texts.get(str(item.run), "") + data["text"]
            if item.type == "agent_started":
                self.starts.append((data["input"], str(item.run)))
            elif item.type in ("agent_completed", "agent_error", "agent_cancelled"):
                self.ends[str(item.run)] += 1

    async def say(self, client: Client, text: str) -> None:
        """Say something, and wait for its run for as long as it takes."""
        self.said[text] = await client.send(text)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "say", "say", "other says", "cut", "cut", "stall", "refuse", "kill", "drop", "both", "unheard"]
        ),
        st.sampled_from([0.0, 0.05, 0.4, 3.0, 40.0]),
    ),
    max_size=25,
)


# S4 S5 S6
@settings(max_examples=50)
@given(STEPS, st.integers(0, 2**32))
async def test_each_record_once_and_each_command_once_through_any_weather(
    steps: list[tuple[str, float]], seed: int
) -> None:
    """Red if a record is lost or comes twice, a message runs twice or never, or a run has no end or two.

    One of the devices has its deltas merged while it lags, and ends with the same.
    """
    rng = random.Random(seed)
    devices = [Device(), Device()]
    async with open_board(agents={"echo": Echo}, limits=LIMITS) as board, trio.open_nursery() as nursery:
        network = Network(board, nursery, rng)
        way = NetworkWay(
            "http://node.example", board.authenticator.token("ada"), "main", None, None, network.open_stream
        )
        opened = partial(open_client, way, start="first", give_up_seconds=1e6, rng=rng, random_bytes=rng.randbytes)
        async with opened() as one, opened(merge=False) as two:
            clients = one, two
            async with trio.open_nursery() as saying:
                for device, client in zip(devices, clients, strict=True):
                    nursery.start_soon(device.watch, client)
                for number, (what, seconds) in enumerate(steps):
                    text = f"{number} {rng.randrange(30)}"
                    match what:
                        case "say":
                            saying.start_soon(devices[0].say, one, text)
                        case "other says":
                            saying.start_soon(devices[1].say, two, text)
                        case "both":
                            saying.start_soon(devices[0].say, one, f"{text} one")
                            saying.start_soon(devices[1].say, two, f"{text} two")
                        case "unheard":
                            saying.start_soon(network.lose_answers)
                            saying.start_soon(devices[0].say, one, text)
                        case "cut":
                            network.cut()
                        case "stall":
                            network.stalled_until = trio.current_time() + rng.choice((1.0, 12.0, 50.0))
                        case "refuse":
                            network.refusals = rng.randint(1, 4)
                            network.cut()
                        case "kill":
                            (await board.session("ada")).kill()
                        case _:
                            rng.choice(clients).cut()
                    await trio.sleep(seconds)
                saying.cancel_scope.deadline = trio.current_time() + 5_000
            await trio.sleep(500)
            for client in clients:
                await client.wait_connected()
            head = (await board.publish("ada", "x.last", {})).seq
            await trio.sleep(100)
            assert [client.statistics().commands for client in clients] == [0, 0]
        nursery.cancel_scope.cancel()
    said = {**devices[0].said, **devices[1].said}
    assert len(said) == sum(what in ("say", "other says", "unheard") for what, _ in steps) + 2 * sum(
        what == "both" for what, _ in steps
    )
    for device in devices:
        assert device.seqs == list(range(1, head + 1))
        assert sorted(device.starts) == sorted(said.items())
        assert device.ends == dict.fromkeys(said.values(), 1)
    assert devices[0].texts == devices[1].texts
