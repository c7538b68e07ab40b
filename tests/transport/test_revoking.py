"""A user is shut out: connections, tickets and tokens, whatever they are in the middle of. In virtual time."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import callboard
from tests.transport.held_journal import HeldJournal
from tests.transport.memory_client import ask
from tests.transport.nodes import open_node, say
from tests.transport.peer import Peer

A, B = "a" * 32, "b" * 32


async def test_all_of_a_user_ends_and_nothing_of_another() -> None:
    """Every connection with 4006, tickets too; a run goes on, and another user notices nothing."""  # S12, S1, S9
    async with open_node() as node:
        first, _ = await node.enter()
        second, _ = await node.enter(device=B)
        other, _ = await node.enter("grace")
        unused, others = await node.board.ticket("ada"), await node.board.ticket("grace")
        await first.send(say(1, "wait"))
        await first.until_record("agent_started")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.closed)
            nursery.start_soon(second.closed)
            assert await node.board.close_user("ada") == callboard.transport.Revocation(connections=2, tickets=1)
        assert first.protocol.close_code == second.protocol.close_code == 4006
        late = await node.connect()
        await late.send({"t": "hello", "ticket": unused, "device": A, "client": "peer"})
        assert await late.closed() == 4006
        assert (await node.board.report())["runs"]["open"] == 1
        await other.send(say(1, "0"))
        await other.until_record("agent_completed")
        third = await node.connect()
        assert (await third.hello(others, B))["t"] == "welcome"
        assert len(node.board.connections("grace")) == len(node.board.connections()) == 2


async def test_a_client_that_does_not_answer_is_cut_within_a_second() -> None:
    """The call returns when its connections are gone, and not later than that."""
    async with open_node(limits=callboard.Limits(close_seconds=20.0)) as node:
        await node.enter()
        started = trio.current_time()
        await node.board.close_user("ada")
        assert trio.current_time() - started == pytest.approx(1.0)
        assert node.board.connections() == ()


async def test_nothing_is_said_or_taken_any_more() -> None:
    """From the moment of the call: what is published is not delivered, what is commanded is not done."""  # S12
    async with open_node() as node:
        peer, _ = await node.enter()
        node.nursery.start_soon(node.board.close_user, "ada")
        await wait_all_tasks_blocked()
        await node.board.publish("ada", "x.secret", {})
        await peer.send(say(1, "0"))
        assert await peer.closed() == 4006
        assert peer.records == []
        assert (await node.board.report())["runs"]["started"] == 0


@pytest.mark.parametrize("seed", range(20))
async def test_who_is_about_to_be_let_in_is_not_let_in(seed: int) -> None:
    """A ticket is being taken, or the session started, while its user is shut out; whichever comes first."""  # S12
    chance = random.Random(seed)
    journal = HeldJournal()
    async with open_node(journal=journal) as node:
        journal.hold_opens = seed % 2 == 0
        peers = [await node.connect() for _ in range(4)]
        issued: list[str] = []
        codes: dict[str, int] = {}

        async def come(peer: Peer, device: str) -> None:
            ticket = await node.board.ticket("ada")
            issued.append(device)
            for _ in range(chance.randrange(8)):
                await trio.lowlevel.checkpoint()
            await peer.send({"t": "hello", "ticket": ticket, "device": device, "client": "peer"})
            codes[device] = await peer.closed()

        async with trio.open_nursery() as nursery:
            for number, peer in enumerate(peers):
                nursery.start_soon(come, peer, f"{number:032x}")
            for _ in range(chance.randrange(16)):
                await trio.lowlevel.checkpoint()
            before = len(issued)
            await node.board.close_user("ada")
            # Whose ticket was issued before is out, whatever it was in the middle of; whose is newer may be in.
            closing = set(issued[:before])
            await wait_all_tasks_blocked()
            assert closing <= codes.keys()
            await node.board.close_user("ada")
            journal.release()
        assert codes == {f"{number:032x}": 4006 for number in range(4)}


async def test_a_token_gets_no_new_ticket() -> None:
    """Or all of it would be undone by the client's next attempt; `tokens=False` leaves that to the platform."""  # S12
    async with open_node() as node:
        token = node.board.authenticator.token("ada")
        await node.board.close_user("ada", tokens=False)
        assert (await ask(node.board, "POST", "/v1/tickets", token=token)).status == 201
        await node.board.close_user("ada")
        for method, path in (("POST", "/v1/tickets"), ("GET", "/v1/sessions")):
            answer = await ask(node.board, method, path, token=token)
            assert answer.status == 401
            assert "revoked" in answer.json["detail"]
        await trio.sleep(1)
        assert (await ask(node.board, "POST", "/v1/tickets", token=node.board.authenticator.token("ada"))).status == 201


async def test_a_ticket_that_is_being_made_is_not_given() -> None:
    """While the journal is asked for the user's sessions the user is shut out: its token is looked at once more."""
    journal = HeldJournal()
    async with open_node(journal=journal) as node:  # S12
        token = node.board.authenticator.token("ada")
        answers: list[int] = []

        async def ask_for_a_ticket() -> None:
            body = b'{"session":"notes"}'
            answers.append((await ask(node.board, "POST", "/v1/tickets", token=token, body=body)).status)

        journal.hold_sessions = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_for_a_ticket)
            await wait_all_tasks_blocked()
            await node.board.close_user("ada")
            journal.release()
        assert answers == [401]
        assert (await node.board.report())["tickets"] == 0


async def test_operators_shut_users_out_over_http() -> None:
    """With the scope `operator`, and with nothing less."""  # S12
    async with open_node() as node:
        peer, _ = await node.enter()
        await node.board.ticket("ada")
        node.nursery.start_soon(peer.closed)

        async def revoke(scope: str, body: bytes) -> tuple[int, object]:
            token = node.board.authenticator.token("root", scope=scope)
            answer = await ask(node.board, "POST", "/v1/revocations", token=token, body=body)
            return answer.status, answer.json

        for scope in ("", "agent"):
            assert (await revoke(scope, b'{"user":"ada"}'))[0] == 403
        for body in (b"", b"{}", b"[]", b'{"user":1}', b'{"user":""}', b'{"user":"%s"}' % (b"x" * 201), b"\xff"):
            assert (await revoke("operator", body))[0] == 400
        assert len(node.board.connections()) == 1
        assert await revoke("operator", b'{"user":"ada"}') == (200, {"connections": 1, "tickets": 1})
        assert await revoke("operator", b'{"user":"nobody"}') == (200, {"connections": 0, "tickets": 0})
        assert peer.protocol.close_code == 4006
