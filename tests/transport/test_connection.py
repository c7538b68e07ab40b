"""A connection's life, over streams in memory and in virtual time: hello, welcome, records, failures, the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import callboard
from callboard.actors import Attach, RunCommand
from tests.transport.held_journal import HeldJournal
from tests.transport.memory_client import NOW, ask
from tests.transport.nodes import Fragile, open_node, say, seqs
from tests.transport.peer import Closed, Peer

A, B = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What fails inside the fence of a connection is logged; nothing may, but where a test makes it."""
    yield
    errors = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert all("ZeroDivisionError" in error for error in errors), errors


# -- hello and welcome -------------------------------------------------------------------------------------------------


async def test_welcome_tells_all_that_a_client_needs() -> None:
    """The position, the limits, and the heartbeat; every limit is that of the one config object."""  # S13
    limits = callboard.Limits(heartbeat_seconds=7.0, timeout_seconds=3.0, runs=2, frame_bytes=5_000)
    async with open_node(limits=limits) as node:
        _peer, welcome = await node.enter()
        assert welcome.pop("connection")
        assert len(welcome.pop("epoch")) == 16
        assert welcome == {
            "t": "welcome",
            "session": callboard.SessionKey("ada").id,
            "first": 0,
            "head": 0,
            "from": 1,
            "mode": "fresh",
            "last_id": 0,
            "heartbeat_ms": 7_000,
            "timeout_ms": 3_000,
            "limits": {
                "frame_bytes": 5_000,
                "depth": 32,
                "commands_per_s": 20.0,
                "burst": 40,
                "runs": 2,
                "history": 1_000,
            },
            "server": f"callboard/{callboard.__version__}",
        }


STARTS: list[tuple[str, Any, str, int]] = [
    ("none", None, "fresh", 13),
    ("first", "first", "fresh", 1),
    ("last", {"last": 2}, "fresh", 15),
    ("last 0", {"last": 0}, "fresh", 17),
    ("last many", {"last": 100}, "fresh", 1),
    ("position 0", {"seq": 0}, "replay", 1),
    ("position", {"seq": 9}, "replay", 10),
    ("position at the head", {"seq": 16}, "replay", 17),
    ("another epoch", {"seq": 9, "epoch": "f" * 16}, "reset", 13),
]


@pytest.mark.parametrize("what, start, mode, first", STARTS, ids=[case[0] for case in STARTS])
async def test_where_a_connection_begins(what: str, start: Any, mode: str, first: int) -> None:
    """`from` is the first record that comes, and all after it come."""  # S2, S4
    async with open_node(limits=callboard.Limits(history=4)) as node:
        peer, welcome = await node.enter()
        await peer.send(say(1, "14"))
        await peer.until_record("agent_completed")
        if isinstance(start, dict) and "seq" in start:
            start = {"epoch": welcome["epoch"], **start}
        other, second = await node.enter(device=B, **({} if start is None else {"start": start}))
        assert (second["mode"], second["from"], second["first"], second["head"]) == (mode, first, 1, 16)
        await peer.send(say(2, "0"))
        await other.until(lambda message: bool(other.records) and other.records[-1]["seq"] == 18)
        assert seqs(other) == list(range(first, 19))


async def test_a_position_beyond_the_head_means_another_history() -> None:
    """The journal has lost what this client saw: a new epoch for all, each told by a reset."""  # S10
    async with open_node() as node:
        peer, welcome = await node.enter()
        _other, second = await node.enter(device=B, start={"epoch": welcome["epoch"], "seq": 5})
        assert second["mode"] == "reset"
        assert second["epoch"] != welcome["epoch"]
        assert await peer.closed() == 4200
        _again, third = await node.enter(start={"epoch": welcome["epoch"], "seq": 0})
        assert (third["mode"], third["epoch"]) == ("reset", second["epoch"])


async def test_the_result_of_a_connection_before_does_not_come_before_welcome() -> None:
    """A device comes back while its command is being made durable; the answer of that is for after welcome."""  # S5
    journal = HeldJournal()

    class Hasty(callboard.Session):
        def on_receive(self, message: Any) -> Any:
            answer = super().on_receive(message)
            if isinstance(message, Attach):
                journal.release()  # durable in the very turn in which the new connection attached
            return answer

    async with open_node(session=Hasty, journal=journal) as node:
        first, _ = await node.enter()
        journal.hold_appends = True
        await first.send(say(1, "hi"))
        await wait_all_tasks_blocked()
        second, _welcome = await node.enter()
        await second.send(say(1, "hi"))
        result = await second.result(1)
        assert result["ok"]["run"] == second.records[0]["run"]
        await second.until_record("agent_completed")
        assert [record["type"] for record in second.records] == ["agent_started", "agent_completed"]
        assert await first.closed() == 4008


async def test_a_session_that_fails_right_after_it_was_attached_to() -> None:
    """The connection attaches to the next incarnation before it welcomes: it must not listen to one that is gone."""

    class Falling(Fragile):
        def on_receive(self, message: Any) -> Any:
            answer = super().on_receive(message)
            if isinstance(message, Attach) and not self.restarts:
                self.actor_ref.tell("fall")
            return answer

    async with open_node(session=Falling) as node:
        peer, _ = await node.enter()
        await peer.send(say(1, "hi"))
        await peer.until_record("agent_completed")
        assert seqs(peer) == [1, 2]


async def test_a_login_that_ends_ends_the_connection() -> None:
    """With the token's `exp`, to the second."""  # S12
    async with open_node() as node:
        token = node.board.authenticator.token("ada", lifetime_seconds=100)
        ticket = (await ask(node.board, "POST", "/v1/tickets", token=token)).json["ticket"]
        started = trio.current_time()
        peer = await node.connect()
        await peer.hello(ticket)
        await _answer_pings(peer)
        assert peer.protocol.close_code == 4300
        assert trio.current_time() - started == pytest.approx(100, abs=1.1)  # the token's times are whole seconds


async def _answer_pings(peer: Peer) -> None:
    try:
        while True:
            message = await peer.receive()
            if message["t"] == "ping":
                await peer.send({"t": "pong", "seq": message["seq"]})
    except Closed:
        pass


async def test_a_token_that_ended_between_ticket_and_hello() -> None:
    """It opens nothing."""  # S12
    async with open_node() as node:
        token = node.board.authenticator.token("ada", lifetime_seconds=3)
        ticket = (await ask(node.board, "POST", "/v1/tickets", token=token)).json["ticket"]
        peer = await node.connect()
        await trio.sleep(4)
        await peer.send({"t": "hello", "ticket": ticket, "device": A, "client": "peer"})
        assert await peer.closed() == 4300


async def test_a_store_that_does_not_answer() -> None:
    """4104 after `store_seconds`, which tells the client to come again; the place is free then."""
    journal = HeldJournal()
    journal.hold_opens = True
    async with open_node(journal=journal, limits=callboard.Limits(store_seconds=10.0)) as node:
        peer = await node.connect()
        started = trio.current_time()
        await peer.send({"t": "hello", "ticket": await node.board.ticket("ada"), "device": A, "client": "peer"})
        assert await peer.closed() == 4104
        assert trio.current_time() - started == 10
        await wait_all_tasks_blocked()
        assert node.board.connections() == ()
        journal.release()


async def test_a_session_that_cannot_start_is_refused_and_no_other() -> None:
    """4101 for its user, who is to come again later; another user notices nothing."""  # A7

    class Choosy(callboard.Session):
        async def on_start(self) -> None:  # type: ignore[override]
            if self.key.user == "ada":
                raise RuntimeError("no")
            await super().on_start()

    async with open_node(session=Choosy) as node:
        peer = await node.connect()
        await peer.send({"t": "hello", "ticket": await node.board.ticket("ada"), "device": A, "client": "peer"})
        assert await peer.closed() == 4101
        other, _ = await node.enter("grace")
        await other.send(say(1, "hi"))
        await other.until_record("agent_completed")


async def test_who_leaves_while_it_waits_for_its_welcome() -> None:
    """Nothing of it is left: no connection, no timer, and the session is told."""  # S9
    journal = HeldJournal()
    async with open_node(journal=journal, limits=callboard.Limits(connections_per_user=1)) as node:
        before = (await node.board.report())["timers"]
        journal.hold_opens = True
        peer = await node.connect()
        await peer.send({"t": "hello", "ticket": await node.board.ticket("ada"), "device": A, "client": "peer"})
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await trio.sleep(1)
        journal.release()
        await wait_all_tasks_blocked()
        assert node.board.connections() == ()
        assert (await node.board.report())["timers"] == before
        await node.enter()


# -- records -----------------------------------------------------------------------------------------------------------


async def test_an_old_backlog_is_read_from_the_journal() -> None:
    """What is no longer in memory comes all the same, in order, and new records behind it."""  # S2, S8
    journal = HeldJournal()
    limits = callboard.Limits(tail_records=4, batch_bytes=300)
    async with open_node(journal=journal, limits=limits) as node:
        peer, _ = await node.enter()
        await peer.send(say(1, "50"))
        await peer.until_record("agent_completed")
        journal.hold_reads = True
        late, welcome = await node.enter(device=B, start="first")
        assert (welcome["from"], welcome["head"]) == (1, 52)
        await peer.send(say(2, "hi"))
        await peer.until(lambda message: seqs(peer)[-1:] == [54])
        journal.release()
        await late.until(lambda message: seqs(late)[-1:] == [54])
        assert seqs(late) == list(range(1, 55))


async def test_what_cannot_be_had_is_declared() -> None:
    """A client that fell behind what is kept gets a gap, then the rest: every record or a word on it."""  # S2, S10
    limits = callboard.Limits(tail_records=4, retained_records=10, batch_bytes=300, write_seconds=1_000.0)
    async with open_node(limits=limits) as node:
        peer, _ = await node.enter()
        slow = await node.connect(lockstep=True)
        await slow.hello(await node.board.ticket("ada"), B)
        await peer.send(say(1, "50"))
        await peer.until_record("agent_completed")
        await wait_all_tasks_blocked()
        seen: list[int] = []
        gaps = []
        while not seen or seen[-1] < 52:
            message = await slow.receive()
            if message["t"] == "gap":
                assert message["reason"] == "retention"
                assert message["from"] == (seen[-1] if seen else 0) + 1
                gaps.append((message["from"], message["to"]))
                seen += range(message["from"], message["to"] + 1)
            elif message["t"] == "events":
                seen += [record["seq"] for record in message["events"]]
        assert seen == list(range(1, 53))
        assert gaps


async def test_a_slow_connection_delays_nobody() -> None:
    """One that takes nothing holds one frame; the other sees all at once. It is cut after its time."""  # S8
    async with open_node(limits=callboard.Limits(write_seconds=15.0, batch_bytes=1_000)) as node:
        peer, _ = await node.enter()
        slow = await node.connect(lockstep=True)
        await slow.hello(await node.board.ticket("ada"), B)
        started = trio.current_time()
        await peer.send(say(1, "500"))
        await peer.until_record("agent_completed")
        assert trio.current_time() == started
        [stalled] = [connection for connection in node.board.connections() if connection.waiting_bytes]
        assert stalled.waiting_bytes < 1_500
        await trio.sleep(16)
        assert len(node.board.connections()) == 1
        assert (await node.board.report())["connections"]["closed"] == {"4202": 1}


async def test_a_restarted_session_is_not_noticed() -> None:
    """Its connections attach anew where they are, and get the answers that were still to come."""  # S4, S5
    journal = HeldJournal()
    async with open_node(journal=journal, session=Fragile) as node:
        peer, _ = await node.enter()
        await peer.send(say(1, "3"))
        await peer.until_record("agent_completed")
        journal.hold_appends = True
        await peer.send(say(2, "more"))
        await wait_all_tasks_blocked()
        session = await node.board.session("ada")
        session.tell("fall")
        await wait_all_tasks_blocked()
        journal.release()
        second = await peer.result(2)
        await peer.until(lambda message: peer.records[-1]["run"] == second["ok"]["run"] and len(peer.records) > 6)
        assert seqs(peer) == list(range(1, len(peer.records) + 1))
        assert len(node.board.connections()) == 1


async def test_an_op_that_fells_its_session_is_interrupted_and_not_run_again() -> None:
    """The command is answered by the next incarnation; the connection stays."""  # S5
    async with open_node(session=Fragile) as node:
        peer, _ = await node.enter()
        await peer.send({"t": "command", "id": 1, "op": "fall", "data": {}})
        assert (await peer.result(1))["error"]["code"] == "interrupted"
        await peer.send(say(2, "hi"))
        await peer.until_record("agent_completed")


async def test_a_session_that_keeps_falling_is_left_alone() -> None:
    """Its connections are closed with 4101, and no other user's."""  # A7
    async with open_node(session=Fragile) as node:
        peer, _ = await node.enter()
        other, _ = await node.enter("grace")
        for id in range(1, 20):
            await peer.send({"t": "command", "id": id, "op": "fall", "data": {}})
        assert await peer.closed() == 4101
        again = await node.connect()
        await again.send({"t": "hello", "ticket": await node.board.ticket("ada"), "device": A, "client": "peer"})
        assert await again.closed() == 4101
        await other.send(say(1, "hi"))
        await other.until_record("agent_completed")
        assert await node.board.release("ada")
        await node.enter()


async def test_a_client_that_leaves_a_session_with_a_full_mailbox() -> None:
    """The session hears of it all the same, and nothing fails."""  # S11

    class Narrow(Fragile):
        mailbox_capacity = 2

    journal = HeldJournal()
    async with open_node(journal=journal, session=Narrow) as node, trio.open_nursery() as nursery:
        peer, _ = await node.enter()
        await node.enter("grace")
        session = await node.board.session("ada")
        journal.hold_opens = True
        session.tell("fall")
        await wait_all_tasks_blocked()
        nursery.start_soon(node.board.publish, "ada", "x.a", {})
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await trio.sleep(1)
        assert len(node.board.connections()) == 1
        journal.release()


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_commands_without_result_are_bounded() -> None:
    """128 may wait; the next is refused, to be sent again."""  # S13
    journal = HeldJournal()
    limits = callboard.Limits(burst=200, runs=200)
    async with open_node(journal=journal, limits=limits) as node:
        peer, _ = await node.enter()
        journal.hold_appends = True
        for id in range(1, 130):
            await peer.send(say(id, f"{id}"))
        result = await peer.result(129)
        assert (result["error"]["code"], result["error"]["retry"]) == ("rate", True)
        journal.release()
        for id in range(1, 129):
            assert (await peer.result(id))["ok"]["run"]


async def test_a_closed_socket_cancels_no_run() -> None:
    """The run ends as it would have, and the device finds it where it is."""  # S9
    async with open_node() as node:
        peer, welcome = await node.enter()
        await peer.send(say(1, "wait"))
        run = (await peer.result(1))["ok"]["run"]
        await peer.stream.aclose()
        await trio.sleep(60)
        again, second = await node.enter(start={"epoch": welcome["epoch"], "seq": 0})
        assert second["last_id"] == 1
        await again.send({"t": "command", "id": 2, "op": "cancel", "run": run})
        assert (await again.result(2))["ok"] == {"state": "cancelling"}
        assert (await again.until_record("agent_cancelled"))["data"]["by"] == "user"
        assert seqs(again) == [1, 2]


# -- heartbeat ---------------------------------------------------------------------------------------------------------


async def test_a_silent_client_is_asked_and_then_closed() -> None:
    """A ping after 25 s of quiet, the end 10 s after it, with 4201."""
    async with open_node() as node:
        peer, _ = await node.enter()
        started = trio.current_time()
        assert await peer.receive() == {"t": "ping", "seq": 0}
        assert trio.current_time() - started == pytest.approx(25)
        assert await peer.closed() == 4201
        assert trio.current_time() - started == pytest.approx(35)


async def test_a_client_that_answers_stays() -> None:
    """For an hour; and one timer is all that its heartbeat takes, whatever else is sent."""
    async with open_node() as node:
        before = (await node.board.report())["timers"]
        peer, _ = await node.enter()
        for round in range(144):
            ping = await peer.receive()
            assert ping["t"] == "ping"
            await peer.send({"t": "pong", "seq": ping["seq"]})
            await wait_all_tasks_blocked()
            assert (await node.board.report())["timers"] == before + 1, round
        assert trio.current_time() > 3_500
        await peer.leave()
        await trio.sleep(1)
        assert (await node.board.report())["timers"] == before


async def test_no_hello() -> None:
    """Five seconds, then 4105; nothing else is said."""
    async with open_node() as node:
        peer = await node.connect()
        started = trio.current_time()
        assert await peer.closed() == 4105
        assert trio.current_time() - started == pytest.approx(5)


async def test_a_client_that_never_answers_a_close() -> None:
    """It is waited for `close_seconds`, and then it is over."""
    async with open_node(limits=callboard.Limits(close_seconds=2.0)) as node:
        ours, theirs = memory_stream_pair()
        done: list[float] = []

        async def serve() -> None:
            await node.board.serve_stream(theirs)
            done.append(trio.current_time())

        node.nursery.start_soon(serve)
        peer = await Peer.over(ours)
        started = trio.current_time()
        await peer.send("{")
        await trio.sleep(10)
        assert done == [started + 2]


# -- bugs --------------------------------------------------------------------------------------------------------------


async def test_a_bug_in_one_connection_touches_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its type, ends that connection with 4100, and its place is free."""
    broken: list[bool] = []

    def clock() -> float:
        if broken:
            raise ZeroDivisionError("a secret")
        return NOW

    async with open_node(wall_clock=clock) as node:
        other, _ = await node.enter("grace")
        token = node.board.authenticator.token("ada")
        ticket = (await ask(node.board, "POST", "/v1/tickets", token=token)).json["ticket"]
        peer = await node.connect()
        broken.append(True)
        await peer.send({"t": "hello", "ticket": ticket, "device": A, "client": "peer"})
        assert await peer.closed() == 4100
        broken.clear()
        await other.send(say(1, "hi"))
        await other.until_record("agent_completed")
        assert [connection.peer for connection in node.board.connections()] == ["-"]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [error.getMessage().partition("failed")[2] for error in errors] == [": ZeroDivisionError"]


async def test_each_connection_and_refusal_is_one_line_without_content(caplog: pytest.LogCaptureFixture) -> None:
    """Who, where from, to which session, and how it ended; no ticket, no text."""
    caplog.set_level(logging.INFO, "callboard")
    async with open_node() as node:
        peer, welcome = await node.enter()
        await peer.send(say(1, "a private text"))
        await peer.until_record("agent_completed")
        await peer.leave()
        refused = await node.connect()
        await refused.send({"t": "hello", "ticket": "no-such-ticket", "device": A, "client": "peer"})
        assert await refused.closed() == 4302
        await wait_all_tasks_blocked()
    session, connection = welcome["session"], welcome["connection"]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("connection")]
    assert lines[:2] == [
        f"connection {connection} from - to session {session} opened",
        f"connection {connection} from - to session {session} ended: 1000",
    ]
    assert lines[2].endswith("from - to session - ended: 4302")
    everything = " ".join(record.getMessage() for record in caplog.records)
    assert "private" not in everything
    assert "no-such-ticket" not in everything


async def test_a_crash_keeps_the_order_of_a_new_devices_commands() -> None:
    """The session fails at the first of three; the others stand in its mailbox. All three run once, in their order.

    Red when those that were on their way are taken before the connection asks again: the second command of a device
    that nobody knows looks like one of a forgotten device, and its client would ask everything anew. (S5)
    """
    to_fall = [True]

    class Stumbles(callboard.Session):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, RunCommand) and to_fall:
                to_fall.clear()
                raise RuntimeError("stumbled")
            return super().on_receive(message)

    async with open_node(session=Stumbles) as node:
        peer, _ = await node.enter()
        for id in (1, 2, 3):
            await peer.send(say(id, f"{id}"))
        for id in (1, 2, 3):
            assert "ok" in await peer.result(id)
        started = [record["data"]["input"] for record in peer.records if record["type"] == "agent_started"]
        while len(started) < 3:
            await peer.receive()
            started = [record["data"]["input"] for record in peer.records if record["type"] == "agent_started"]
        assert started == ["1", "2", "3"]
