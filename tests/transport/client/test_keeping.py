"""From connection to connection: when the next one is tried, when none is, and how a client is left."""

import random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from callboard.transport.client import (
    Closed,
    Link,
    NoTicketNow,
    SessionClosed,
    Ticket,
    TicketDenied,
    TokenSourceFailed,
    Unreachable,
    open_client,
)
from callboard.transport.protocol import Goaway, encode

from .played import Fate, PlayedNode, attached, later


def waits(node: PlayedNode) -> list[float]:
    """The seconds between attempts."""
    return [after - before for before, after in zip(node.attempts, node.attempts[1:], strict=False)]


@pytest.mark.parametrize("code", [4000, 4003, 4006, 4008, 4099, 1002, 1007, 1009])
async def test_who_is_told_not_to_come_back_does_not(code: int) -> None:
    """Neither before the welcome nor after it."""
    for fate in (Fate(hello=code), Fate(messages=0, end=code)):
        async with attached(fate) as (client, node):
            with pytest.raises(SessionClosed) as closed:
                await anext(client)
            assert closed.value.code == code
            await trio.sleep(1_000)
            assert len(node.attempts) == 1


@pytest.mark.parametrize(
    "code, least, most",
    [
        (4100, 1, 2),
        (4104, 1, 2),
        (1013, 1, 2),
        (3999, 1, 2),
        (4200, 0, 0),
        (4201, 0, 0),
        (4300, 0, 0),
        (4301, 0, 0),
        (1001, 0, 1),
        (1012, 0, 1),
    ],
)
async def test_what_a_close_code_says_is_done(code: int, least: float, most: float) -> None:
    """Each time with a new ticket."""
    for seed in range(10):
        async with attached(Fate(messages=0, end=code), seed=seed) as (client, node):
            await client.wait_connected()
            await client.wait_disconnected()
            await client.wait_connected()
            assert least <= waits(node)[0] <= most
            tickets = [link.hello.ticket for link in node.links if link.hello is not None]
            assert tickets == ["ticket-1", "ticket-2"]


@pytest.mark.parametrize("code", [4200, 4300, 1012, 1006, 4100])
@pytest.mark.parametrize("welcomed", [True, False])
async def test_a_node_that_says_the_same_over_and_over_is_not_stormed(code: int, welcomed: bool) -> None:
    """In ten minutes it is asked some sixty times, as the mean of a wait of up to twenty seconds is ten."""
    fate = Fate(messages=0, end=code) if welcomed else Fate(hello=code)
    async with attached(*[fate] * 1_000) as (_client, node):
        await trio.sleep(600)
        assert 20 <= len(node.attempts) <= 150


async def test_a_network_that_fails_is_backed_off_from() -> None:
    """A second at least, twenty at most."""
    fates = [Fate(opening=Closed(1006, "played")), Fate(hello=1006), Fate(ticket=later())] * 4
    async with attached(*fates) as (client, node):
        await client.wait_connected()
        assert all(1.0 <= wait <= 20.0 for wait in waits(node))
        assert len(node.attempts) == 13


async def test_retry_after_is_obeyed() -> None:
    """With jitter on top."""
    async with attached(Fate(ticket=later(40.0)), Fate(ticket=later(7.0))) as (client, node):
        await client.wait_connected()
        first, second = waits(node)
        assert 40.0 <= first <= 42.0
        assert 7.0 <= second <= 11.0


async def test_a_ticket_that_is_denied_ends_the_client() -> None:
    """The first one, and one for a later connection."""
    denied = Fate(ticket=TicketDenied(403, "played"))
    for fates in ([denied], [Fate(messages=0, end=4300), denied]):
        async with attached(*fates) as (client, _node):
            with pytest.raises(TicketDenied, match="403 played"):
                await anext(client)
            with pytest.raises(TicketDenied, match="403 played"):
                await client.send("hi")


async def test_what_the_token_source_raises_is_raised() -> None:
    """As it is: it is the program's own."""
    async with attached(Fate(ticket=TokenSourceFailed(KeyError("login")))) as (client, _node):
        with pytest.raises(KeyError, match="login"):
            await client.wait_connected()


async def test_a_denied_ticket_for_the_next_connection_leaves_the_present_one_alone() -> None:
    """It delivers to its end; then it is told."""
    fates = Fate(goaway_ms=0), Fate(ticket=TicketDenied(401, "played")), Fate(ticket=TicketDenied(401, "played"))
    async with attached(*fates) as (client, node):
        await trio.sleep(100)
        node.append()
        assert (await anext(client)).seq == 1
        node.current.end(4200)
        with pytest.raises(TicketDenied):
            await anext(client)


async def test_a_node_out_of_reach_is_given_up_when_it_was_said() -> None:
    """The last try is at that time, and says what the trouble was."""
    async with attached(*[Fate(opening=Closed(1006, "no route"))] * 999, give_up_seconds=60.0) as (client, node):
        began = trio.current_time()
        assert client.trouble == "not connected yet"
        with pytest.raises(Unreachable, match="not reached for 60 seconds; last: no route"):
            await client.wait_connected()
        assert trio.current_time() - began == 60.0
        assert node.attempts[-1] - began == 60.0


async def test_time_that_it_was_reached_does_not_count() -> None:
    """Only what has passed since."""
    fates = [Fate(), *[Fate(ticket=later())] * 999]
    async with attached(*fates, give_up_seconds=30.0) as (client, _node):
        await trio.sleep(10_000)
        assert client.connected
        lost = trio.current_time()
        client.cut()
        assert not client.connected
        with pytest.raises(Unreachable):
            await anext(client)
        assert trio.current_time() - lost == 30.0


async def test_a_node_that_asks_to_go_is_not_given_up_while_it_delivers() -> None:
    """However long there is no other."""
    fates = [Fate(goaway_ms=0), *[Fate(ticket=later())] * 999]
    async with attached(*fates, give_up_seconds=30.0) as (client, node):
        await trio.sleep(1_000)
        node.append()
        assert (await anext(client)).seq == 1


async def test_whoever_never_gives_up_says_so() -> None:
    """With an infinite time."""
    fates = [Fate(ticket=later())] * 2_000
    async with attached(*fates, give_up_seconds=float("inf")) as (client, node):
        await client.wait_connected()
        assert len(node.attempts) == 2_001


async def test_a_node_that_does_not_answer_the_hello_is_left() -> None:
    """After ten seconds."""
    async with attached(Fate(hello=0)) as (client, _node):
        began = trio.current_time()
        await client.wait_connected()
        assert 11.0 <= trio.current_time() - began <= 12.0


async def test_a_node_that_says_other_things_than_welcome_is_left_too() -> None:
    """They are none of this connection's; the time goes on."""
    async with attached(Fate(hello=0)) as (client, node):
        for _ in range(30):
            await trio.sleep(1)
            node.links[0].say(encode(Goaway(reason="x", in_ms=0, by_ms=0)))
        assert len(node.links) == 2
        assert client.connected


async def test_a_node_that_falls_silent_is_left() -> None:
    """After heartbeat and time-out together, and told 4201."""
    async with attached(records=1) as (client, node):
        await client.wait_caught_up()
        heard = trio.current_time()
        node.current.silent = True
        await client.wait_disconnected()
        assert trio.current_time() - heard == 35.0
        assert node.links[0].closed_with == 4201
        await client.wait_connected()
        assert trio.current_time() - heard == 35.0


async def test_a_node_that_takes_nothing_is_left() -> None:
    """After ten seconds, without another word, as nothing can follow half a frame."""
    async with attached() as (client, node), trio.open_nursery() as nursery:
        await client.wait_connected()
        node.current.stalled = True
        began = trio.current_time()
        nursery.start_soon(client.send, "hello?")
        await client.wait_disconnected()
        assert trio.current_time() - began == 10.0
        await client.wait_connected()


async def test_what_the_body_raises_is_raised_as_it_is() -> None:
    """Not in a group."""

    async def fail() -> None:
        async with attached_bare() as client:
            await client.wait_connected()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_a_body_that_is_cancelled_is_left_at_once() -> None:
    """By a scope around it."""
    with trio.move_on_after(7) as scope:
        async with attached_bare() as client:
            async for _ in client:
                pass
    assert scope.cancelled_caught
    assert trio.current_time() - (scope.deadline - 7) == 7.0


async def test_a_bug_is_raised_as_it_is() -> None:
    """It ends the body, wherever that waits, and is not wrapped into a group."""

    class Broken:
        """Fails in a way that no way may."""

        async def ticket(self) -> Ticket:
            await trio.sleep(3)
            raise ZeroDivisionError

        async def open(self, nursery: trio.Nursery, url: str) -> Link:
            raise NotImplementedError

    with pytest.raises(ZeroDivisionError):
        async with open_client(Broken()):
            await trio.sleep_forever()


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.5, 2.5, 3.5, 4.5])
async def test_it_can_be_left_at_any_moment(moment: float) -> None:
    """While a token, a ticket or a link is waited for, in the handshake, in a pause, when open: no task is left."""

    class Slow(PlayedNode):
        """Takes a second for everything."""

        async def ticket(self) -> Ticket:
            await trio.sleep(1)
            return await super().ticket()

        async def open(self, nursery: trio.Nursery, url: str) -> Link:
            await trio.sleep(1)
            return await super().open(nursery, url)

    before = trio.lowlevel.current_statistics().tasks_living
    async with attached(Fate(hello=4100), records=5, node_class=Slow) as (_client, node):
        await trio.sleep(moment)
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert all(link.closed_with is not None or not link.open for link in node.links)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"device": "D" * 32}, "device"),
    ({"client": "c" * 201}, "client"),
    ({"start": -1}, "start"),
    ({"start": ("zz", 1)}, "epoch"),
    ({"give_up_seconds": 0.0}, "give_up_seconds is 0"),
    ({"give_up_seconds": float("nan")}, "give_up_seconds is nan"),
]


@pytest.mark.parametrize("options, named", WRONG, ids=[case[1] for case in WRONG])
async def test_what_no_node_would_take_is_refused_at_once(options: dict[str, Any], named: str) -> None:
    """With the name of what is wrong; not in a group."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match=named):
            async with open_client(PlayedNode(nursery), **options):
                raise AssertionError("not reached")


async def test_statistics_say_where_it_stands() -> None:
    """From the first attempt to the end."""
    async with attached(Fate(ticket=NoTicketNow("played"))) as (client, node):
        assert client.statistics().state == "disconnected"
        assert client.trouble == "not connected yet"
        await wait_all_tasks_blocked()
        assert client.trouble == "played"
        await client.wait_connected()
        assert (client.statistics().state, client.trouble) == ("open", "")
        node.current.end(4100)
        await client.wait_disconnected()
        assert (client.statistics().state, client.trouble) == ("disconnected", "closed with 4100: played")
    assert client.statistics().state == "closed"


def attached_bare() -> Any:
    """A client of a played node that needs no nursery of the test's."""

    class Alone(PlayedNode):
        """Serves in the client's nursery."""

        async def open(self, nursery: trio.Nursery, url: str) -> Link:
            self._nursery = nursery
            return await super().open(nursery, url)

    return open_client(Alone(None), rng=random.Random(0))  # type: ignore[arg-type]
