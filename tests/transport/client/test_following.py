"""What a client sees of its session, whatever happens to its connections. In virtual time, on a played node."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from callboard import Position
from callboard.transport.client import Client, Gap, Item, Link, Reset, SessionClosed
from callboard.transport.client.opening import BACKLOG_ITEMS
from callboard.transport.protocol import Ack, Pong, Start, encode
from callboard.transport.protocol import Gap as GapMessage

from .played import Fate, PlayedNode, attached, later

EPOCH = f"{1:016x}"


async def take(client: Client, count: int) -> list[int | tuple[int, int]]:
    """The seqs of the next records."""
    return [(await anext(client)).seq for _ in range(count)]


async def take_all(client: Client, count: int) -> list[Item]:
    """The next items of every kind."""
    items = client.everything()
    return [await anext(items) for _ in range(count)]


async def test_records_come_in_order_and_the_position_is_the_consumers() -> None:
    """Not that of the wire: what was not taken yet would be lost to who resumes there."""
    async with attached(records=7) as (client, _node):
        assert client.position is None
        await client.wait_caught_up()
        assert client.position == (EPOCH, 0)
        assert await take(client, 3) == [1, 2, 3]
        assert client.position == (EPOCH, 3)
        assert client.statistics().backlog == 4
        assert client.session == "s-1"
    async with attached(records=9, start=(EPOCH, 3)) as (client, _node):
        assert client.position == (EPOCH, 3)
        assert await take(client, 6) == [4, 5, 6, 7, 8, 9]
        assert client.statistics().resets == 0


@pytest.mark.parametrize("start, first", [(None, 1), ("first", 1), (2, 6), (0, 8), (Position(EPOCH, 5), 6)])
async def test_where_to_begin(start: object, first: int) -> None:
    """With all, with the last n, with what comes next, behind a position as `publish` and receipts give it."""
    async with attached(records=7, start=start) as (client, node):
        await client.wait_connected()
        node.append()
        assert (await take(client, 1)) == [first]


async def test_a_cut_in_the_middle_loses_and_repeats_nothing() -> None:
    """The next connection begins behind what was taken off the wire, taken by the consumer or not."""
    async with attached(records=100) as (client, node):
        seen = await take(client, 5)
        client.cut()
        await client.wait_disconnected()
        assert node.current.abandoned
        seen += await take(client, 95)
        assert seen == list(range(1, 101))
        assert client.statistics().connects == 2
        assert client.statistics().records == 100


async def test_a_record_that_does_not_follow_ends_the_connection_not_the_client() -> None:
    """The rule is to reconnect; 4001 is what the node is told, not what it said."""
    async with attached(Fate(messages=2, skip=True), records=12) as (client, node):
        assert await take(client, 12) == list(range(1, 13))
        assert node.links[0].closed_with == 4001
        assert client.statistics().connects == 2


async def test_a_frame_that_cannot_be_read_ends_the_connection_too() -> None:
    """Whatever it is."""
    async with attached(records=1) as (client, node):
        assert await take(client, 1) == [1]
        node.current.say(b'{"t":"events","events":[{}]}')
        await client.wait_disconnected()
        node.append()
        assert await take(client, 1) == [2]
        assert node.links[0].closed_with == 4001


async def test_what_cannot_be_had_is_told_in_its_place() -> None:
    """A gap stands between the records; whoever only wants records is not kept by it."""
    async with attached(records=3) as (client, node):
        assert await take(client, 3) == [1, 2, 3]
        client.cut()
        node.append(5)
        node.session.trim(7)
        assert await take_all(client, 1) == [Gap(from_seq=4, to_seq=6, reason="retention")]
        assert client.position == (EPOCH, 6)
        assert await take(client, 2) == [7, 8]
        assert client.statistics().gaps == 1


async def test_another_history_is_told_in_its_place() -> None:
    """What had come of the old one and was not taken is dropped with it; the position is the old one until then."""
    async with attached(records=6) as (client, node):
        await client.wait_caught_up()
        assert await take(client, 2) == [1, 2]
        node.restart(kept=1)
        node.append()
        await client.wait_disconnected()
        await client.wait_connected()
        assert client.position == (EPOCH, 2)
        assert await take_all(client, 1) == [Reset(epoch=f"{2:016x}", from_seq=1)]
        assert client.position == (f"{2:016x}", 0)
        assert await take(client, 2) == [1, 2]
        assert client.statistics().resets == 1


async def test_whoever_only_wants_records_goes_on_in_the_new_history() -> None:
    """The seqs begin anew."""
    async with attached(records=2) as (client, node):
        assert await take(client, 2) == [1, 2]
        node.restart()
        node.append(2)
        assert await take(client, 2) == [1, 2]
        assert client.position == (f"{2:016x}", 2)


async def test_a_slow_consumer_is_waited_for_in_bounded_memory() -> None:
    """Nothing is read while the backlog is full, and the silence of that time is not held against the node."""
    async with attached(records=5 * BACKLOG_ITEMS, start="first") as (client, _node):
        await wait_all_tasks_blocked()
        assert BACKLOG_ITEMS <= client.statistics().backlog < BACKLOG_ITEMS + 3
        await trio.sleep(3_600)
        assert client.statistics().backlog < BACKLOG_ITEMS + 3
        assert await take(client, 5 * BACKLOG_ITEMS) == list(range(1, 5 * BACKLOG_ITEMS + 1))
        assert client.statistics().connects == 1


async def test_a_command_gets_its_answer_past_a_full_backlog() -> None:
    """Records that stand in its way are left out, and fetched anew once there is room."""
    async with attached(records=5 * BACKLOG_ITEMS, start="first") as (client, node):
        await wait_all_tasks_blocked()
        assert await client.send("past all that") == "run-1"
        assert client.statistics().backlog < BACKLOG_ITEMS + 3
        assert await take(client, 5 * BACKLOG_ITEMS + 1) == list(range(1, 5 * BACKLOG_ITEMS + 2))
        assert client.statistics().records == 5 * BACKLOG_ITEMS + 1
        assert node.done == [(0, "past all that")]


async def test_a_command_behind_what_is_left_out_does_not_stop_the_consumer() -> None:
    """Its answer is late: what was left out is fetched as soon as there is room, and the command is asked for again."""
    async with attached(Fate(answers=["lost"]), records=3 * BACKLOG_ITEMS, start="first") as (client, node):
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, "past all that")
            await wait_all_tasks_blocked()
            assert await take(client, 3 * BACKLOG_ITEMS) == list(range(1, 3 * BACKLOG_ITEMS + 1))
        assert node.done == [(0, "past all that")]


async def test_a_gap_past_a_full_backlog_is_left_out_too() -> None:
    """It does not follow what was left out."""
    async with attached(records=BACKLOG_ITEMS, start="first") as (client, node):
        await wait_all_tasks_blocked()
        node.append(3)
        node.session.trim(BACKLOG_ITEMS + 3)
        node.current.cursor = BACKLOG_ITEMS + 4
        node.current.say(encode(GapMessage(from_seq=BACKLOG_ITEMS + 1, to_seq=BACKLOG_ITEMS + 2, reason="retention")))
        await client.send("past that")
        assert await take(client, BACKLOG_ITEMS) == list(range(1, BACKLOG_ITEMS + 1))
        assert await take_all(client, 1) == [
            Gap(from_seq=BACKLOG_ITEMS + 1, to_seq=BACKLOG_ITEMS + 2, reason="retention")
        ]
        assert await take(client, 2) == [BACKLOG_ITEMS + 3, BACKLOG_ITEMS + 4]


async def test_a_cancelled_consumer_takes_nothing() -> None:
    """What it did not see comes next."""
    async with attached() as (client, node):
        for seq in range(1, 20):
            with trio.move_on_after(1):
                await anext(client)
            node.append()
            assert await take(client, 1) == [seq]


async def test_pings_are_answered_and_records_acknowledged_at_most_once_a_second() -> None:
    """With what was taken off the wire."""
    async with attached(records=1) as (client, node):
        await trio.sleep(0.1)
        for _ in range(10):
            node.append()
            await trio.sleep(0.25)
        await trio.sleep(60)
        assert [ack.seq for ack in node.current.of(Ack)] == [1, 6, 10, 11]
        assert {pong.seq for pong in node.current.of(Pong)} == {11}
        assert client.connected
        assert client.statistics().connects == 1


async def test_goaway_is_followed_without_a_moment_between() -> None:
    """The next connection is open before the last one is left, and begins where that one ended."""
    async with attached(Fate(goaway_ms=5_000), records=3) as (client, node):
        assert await take(client, 3) == [1, 2, 3]
        await trio.sleep(4.9)
        assert len(node.links) == 1
        node.append()
        assert await take(client, 1) == [4]
        await trio.sleep(0.2)
        assert len(node.links) == 2
        assert node.links[0].closed_with == 1000
        hello = node.current.hello
        assert hello is not None
        assert hello.start == Start(epoch=EPOCH, seq=4)
        assert client.connected
        node.append()
        assert await take(client, 1) == [5]


async def test_a_node_that_drains_delivers_until_another_takes_its_clients() -> None:
    """There is no ticket to be had meanwhile, as with a single node that is restarted."""
    refusals = [Fate(ticket=later()) for _ in range(5)]
    async with attached(Fate(goaway_ms=1_000), *refusals) as (client, node):
        await client.wait_connected()
        for seq in range(1, 20):
            await trio.sleep(0.5)
            assert client.connected
            node.append()
            assert await take(client, 1) == [seq]
        await trio.sleep(200)
        assert client.statistics().connects == 2
        assert len(node.attempts) == 7


class EndsInThatMoment(PlayedNode):
    """Closes its first connection for good in the moment in which the next one is open."""

    async def open(self, nursery: trio.Nursery, url: str) -> Link:
        link = await super().open(nursery, url)
        if len(self.links) == 2:
            self.links[0].end(4003)
        return link


async def test_a_successor_that_is_not_needed_any_more_is_closed() -> None:
    """Else it would stay open, without a hello, for as long as the program goes on."""
    async with attached(Fate(goaway_ms=0), node_class=EndsInThatMoment) as (client, node):
        with pytest.raises(SessionClosed, match="4003"):
            await take(client, 1)
        assert node.links[1].closed_with == 1000


async def test_a_node_that_closes_while_the_next_is_looked_for_is_left() -> None:
    """Then it goes on as after any end."""
    async with attached(Fate(goaway_ms=0), Fate(ticket=later(30.0)), records=2) as (client, node):
        assert await take(client, 2) == [1, 2]
        await trio.sleep(10)
        assert client.trouble == ""  # that no ticket is to be had for another is none while there is this one
        node.current.end(4200)
        await client.wait_disconnected()
        node.append()
        assert await take(client, 1) == [3]
        assert client.statistics().connects == 2


async def test_goaway_over_and_over_is_no_busy_loop() -> None:
    """The first is followed at once."""
    async with attached(*[Fate(goaway_ms=0)] * 1_000) as (_client, node):
        await trio.sleep(600)
        assert 30 <= len(node.links) <= 150


async def test_a_device_has_one_connection() -> None:
    """The older client is ended by the newer one, and says why."""
    device = "d" * 32
    async with attached(device=device) as (older, node):
        await older.wait_connected()
        node.current.end(4008)
        with pytest.raises(SessionClosed) as closed:
            await anext(older)
        assert closed.value.code == 4008
        assert older.statistics().state == "closed"


async def test_records_that_came_before_the_end_are_still_given() -> None:
    """Then it is raised, each time one asks."""
    async with attached(Fate(messages=1, end=4006), records=3) as (client, _node):
        await trio.sleep(1)
        assert await take(client, 3) == [1, 2, 3]
        for _ in range(2):
            with pytest.raises(SessionClosed, match="4006"):
                await anext(client)
        with pytest.raises(SessionClosed):
            await client.wait_connected()
