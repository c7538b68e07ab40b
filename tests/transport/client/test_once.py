"""Once, down and up: a client applies each record once, and each command runs once, whatever its node does to it.

Hypothesis draws what becomes of each attempt (tickets, handshakes, cuts, codes, records left out, answers lost), what
the session does meanwhile (it talks, forgets, loses its end, is restarted), how slow the consumer is, and when commands
are made, given up, and the connection cut. Then all goes well, and what was seen and done is compared with the session.
"""

import random
from collections import Counter
from collections.abc import Sequence

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.transport.client import (
    Client,
    Closed,
    CommandFailed,
    Gap,
    Item,
    Reset,
    TooManyCommands,
    WireRecord,
    open_client,
)

from .played import Fate, PlayedNode, later

# No code that ends a client: those are told, and nothing is to be seen after them.
CODES = st.sampled_from([1001, 1006, 1012, 1013, 4100, 4101, 4104, 4200, 4201, 4300, 4301, 4999, 3000])
ANSWERS = st.lists(st.sampled_from(["ok", "ok", "lost", "late", "rate", "busy", "store", "stored"]), max_size=6)
MOMENTS = st.floats(min_value=0.0, max_value=40.0)

FATES = st.one_of(
    st.builds(Fate, ticket=st.sampled_from([later(), later(3.0)])),
    st.builds(Fate, opening=st.just(Closed(1006, "played"))),
    st.builds(Fate, hello=st.sampled_from([0, 1006, 4100, 4105, 4200, 4300, 4302])),
    st.builds(
        Fate,
        messages=st.integers(min_value=0, max_value=6),
        end=CODES,
        skip=st.booleans(),
        goaway_ms=st.sampled_from([None, None, 0, 700]),
        answers=ANSWERS,
        pause_seconds=st.sampled_from([0.0, 0.3]),
    ),
    st.builds(Fate, goaway_ms=st.integers(min_value=0, max_value=9_000), answers=ANSWERS),
)

DEEDS = st.one_of(
    st.tuples(st.just("say"), st.integers(min_value=1, max_value=12)),
    st.tuples(st.just("forget the oldest"), st.integers(min_value=0, max_value=4)),
    st.tuples(st.just("restart"), st.integers(min_value=0, max_value=9)),
    st.tuples(st.just("forget devices"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
)


@attrs.define
class Seen:
    """What a consumer was given, checked while it comes."""

    node: PlayedNode
    closing: bool = False
    epoch: str = ""
    seq: int | None = None
    records: int = 0

    def take(self, item: Item) -> None:
        """Each record follows the one before, and says what the session said there."""
        match item:
            case Reset(epoch, from_seq):
                self.epoch, self.seq = epoch, from_seq - 1
            case Gap(from_seq=first, to_seq=last):
                assert self.seq is None or first == self.seq + 1
                self.seq = last
            case WireRecord():
                assert self.seq is None or item.first == self.seq + 1, f"{item.seq} came after {self.seq}"
                assert isinstance(item.data, dict)
                if not self.epoch:
                    self.epoch = item.data["epoch"]
                assert item.data == {"epoch": self.epoch, "seqs": [item.first, item.last]}
                self.seq = item.last
                self.records += 1


@attrs.define
class Order:
    """A command that was made, and what became of it."""

    text: str
    outcome: object = None

    async def give(self, client: Client, at: float, patience: float) -> None:
        """Make it, and wait for as long as there is patience."""
        await trio.sleep(at)
        with trio.move_on_after(patience):
            try:
                self.outcome = await client.send(self.text)
            except (CommandFailed, TooManyCommands) as refused:
                self.outcome = refused

    def check(self, runs: Counter[tuple[int, str]]) -> None:
        """It ran as often as its caller was told, and never twice in one life of the session."""
        times = [count for (_, text), count in runs.items() if text == self.text]
        assert all(count == 1 for count in times), f"{self.text} ran {times} times"
        if isinstance(self.outcome, str):
            assert times
        elif isinstance(self.outcome, TooManyCommands) or (
            isinstance(self.outcome, CommandFailed) and self.outcome.retry
        ):
            assert not times, f"{self.text} ran, but its caller was told that it may be sent again"


async def consume(client: Client, seen: Seen, pauses: Sequence[float]) -> None:
    """Take what comes, with pauses, and lose patience now and then; at the end, until all is there."""
    items, turn, session = client.everything(), 0, seen.node.session
    while not seen.closing or (seen.epoch, seen.seq) != (session.epoch, session.head):
        turn += 1
        await trio.sleep(pauses[turn % len(pauses)])
        with trio.move_on_after(0.2):
            seen.take(await anext(items))


async def do(node: PlayedNode, client: Client, deeds: Sequence[tuple[str, int]], gaps: Sequence[float]) -> None:
    """What happens beside the connections."""
    for turn, (what, number) in enumerate(deeds):
        await trio.sleep(gaps[turn % len(gaps)])
        match what:
            case "say":
                node.append(number)
            case "forget the oldest":
                node.session.trim(node.session.head - number + 1)
            case "restart":
                node.restart(number)
            case "forget devices":
                node.forget_devices()
            case "cut":
                client.cut()


@settings(max_examples=250)
@given(
    fates=st.lists(FATES, max_size=8),
    deeds=st.lists(DEEDS, max_size=10),
    gaps=st.lists(st.sampled_from([0.0, 0.1, 1.0, 4.0]), min_size=1, max_size=4),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.1, 2.0]), min_size=1, max_size=4),
    orders=st.lists(st.tuples(MOMENTS, st.sampled_from([0.5, 5.0, 900.0, 900.0])), max_size=12),
    records=st.integers(min_value=0, max_value=20),
    backlog_items=st.sampled_from([1, 4, 1_000]),
    seed=st.integers(min_value=0, max_value=2**32),
)
# S4 S5
async def test_each_record_is_applied_once_and_each_command_runs_once(
    fates: list[Fate],
    deeds: list[tuple[str, int]],
    gaps: list[float],
    pauses: list[float],
    orders: list[tuple[float, float]],
    records: int,
    backlog_items: int,
    seed: int,
) -> None:
    """Whatever the node, the network and the program do meanwhile."""
    chance = random.Random(seed)
    async with trio.open_nursery() as nursery:
        node = PlayedNode(nursery, fates)
        node.append(records)
        seen = Seen(node)
        given_orders = [Order(f"order {number}") for number in range(len(orders))]
        opened = open_client(
            node,
            start="first",
            give_up_seconds=1e6,
            backlog_items=backlog_items,
            rng=chance,
            random_bytes=chance.randbytes,
        )
        async with opened as client, trio.open_nursery() as inside:
            inside.start_soon(consume, client, seen, pauses)
            async with trio.open_nursery() as working:
                working.start_soon(do, node, client, deeds, gaps)
                for order, (at, patience) in zip(given_orders, orders, strict=True):
                    working.start_soon(order.give, client, at, patience)
            # All goes well from here on: one more word, and it is seen.
            node.append()
            seen.closing = True
            inside.cancel_scope.deadline = trio.current_time() + 1_000
        statistics = client.statistics()
        nursery.cancel_scope.cancel()
    runs = Counter(node.done)
    for order in given_orders:
        order.check(runs)
    assert client.position == (seen.epoch, seen.seq) == (node.session.epoch, node.session.head)
    assert seen.records <= statistics.records
    assert statistics.resets or seen.records == statistics.records
    assert statistics.commands == 0
    assert statistics.backlog == 0
    for link in node.links:
        first_times = list(dict.fromkeys(link.ids))
        assert first_times == sorted(first_times), "commands went out of their order"
