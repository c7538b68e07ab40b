"""Publications over HTTP, to a whole board over streams in memory and in virtual time."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from joserfc import jwt
from joserfc.jwk import OctKey

import callboard
from tests.transport.held_journal import HeldJournal
from tests.transport.memory_client import KEY, NOW, Answer, ask, open_board
from tests.transport.nodes import Fragile

ADA = callboard.SessionKey("ada")
EVENT = {"type": "x.paid", "data": {"n": 1}}


def path(session: str = ADA.id) -> str:
    """Where events of a session are published."""
    return f"/v1/sessions/{session}/events"


async def publish(
    board: callboard.Board,
    key: str | None = "k",
    event: Mapping[str, Any] | bytes = EVENT,
    *,
    session: str = ADA.id,
    service: str = "billing",
    scope: str = "agent",
    sessions: list[str] | None = None,
) -> Answer:
    """One attempt of a service."""
    token = board.authenticator.token(service, scope=scope, sessions=sessions)
    headers = {} if key is None else {"Idempotency-Key": key}
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return await ask(board, "POST", path(session), token=token, body=body, headers=headers)


async def records(board: callboard.Board, key: callboard.SessionKey = ADA) -> list[Any]:
    """What the journal has of a session."""
    page = await board.journal.read(key.id, 0, max_records=100, max_bytes=10**6)
    return [json.loads(record.encoded) for record in page]


# S5
async def test_an_event_is_recorded_once_however_often_it_is_sent() -> None:
    """201 says where; a repetition says the same; another key, service or session is another event."""
    async with open_board() as board:
        await board.session("ada")
        await board.session("grace")
        answer = await publish(board)
        assert answer.status == 201
        assert set(answer.json) == {"epoch", "seq", "id"}
        assert answer.headers["cache-control"] == "no-store"
        (record,) = await records(board)
        assert (record["seq"], record["id"], record["type"], record["data"]) == (
            1,
            answer.json["id"],
            "x.paid",
            {"n": 1},
        )
        assert "run" not in record
        reordered = b'{"data": {"n": 1}, "future": true, "run": null, "type": "x.paid"}'
        for again in (await publish(board), await publish(board, event=reordered)):
            assert (again.status, again.json) == (201, answer.json)
        assert (await publish(board, "k2")).json["seq"] == 2
        assert (await publish(board, service="mail")).json["seq"] == 3
        assert (await publish(board, session=callboard.SessionKey("grace").id)).json["seq"] == 1
        assert len(await records(board)) == 3
        assert (await board.report())["publications"] == {"201": 6}


# S5
async def test_a_used_key_is_good_for_nothing_else() -> None:
    """422, and nothing is recorded."""
    async with open_board() as board:
        await board.session("ada")
        await publish(board)
        for event in ({"type": "x.paid", "data": {"n": 2}}, {"type": "x.other", "data": {"n": 1}}):
            answer = await publish(board, event=event)
            assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
            assert "Idempotency-Key" in answer.json["detail"]
        assert len(await records(board)) == 1


# S1 S12
async def test_who_may_not_speak_learns_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """No scope: 403, there or not. A session that is not for this service: the same 404 as for none."""
    caplog.set_level(logging.INFO, "callboard")
    grace = callboard.SessionKey("grace")
    async with open_board() as board:
        await board.session("ada")
        await board.session("grace")
        for scope in ("", "operator", "agents", "Agent"):
            there = await publish(board, scope=scope)
            nowhere = await publish(board, scope=scope, session="0" * 32)
            assert (there.status, there.body) == (nowhere.status, nowhere.body)
            assert there.status == 403
        nowhere = await publish(board, session="0" * 32)
        assert nowhere.status == 404
        for sessions in ([], [grace.id], ["ada", "*", ""]):
            answer = await publish(board, sessions=sessions)
            assert (answer.status, answer.body) == (nowhere.status, nowhere.body)
        assert (await publish(board, sessions=[grace.id, ADA.id])).status == 201
        for session in ("ada", "main", "%2e%2e", ADA.id.upper()):
            assert (await publish(board, session=session)).status == 404
        assert len(await records(board)) == 1
        assert await records(board, grace) == []
        assert (await board.report())["publications"] == {"201": 1, "403": 8, "404": 8}
    told = [record.message for record in caplog.records if "not for it" in record.message]
    assert len(told) == 8


async def test_a_limit_that_is_not_understood_is_no_licence() -> None:
    """A `sessions` that is no list of ids makes the token worth nothing: 401."""  # S12
    async with open_board() as board:
        await board.session("ada")
        for sessions in (ADA.id, {ADA.id: True}, [1], [None], None, True):
            claims = {"sub": "billing", "scope": "agent", "exp": NOW + 60, "sessions": sessions}
            token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(KEY))
            headers = {"idempotency-key": "k"}
            answer = await ask(board, "POST", path(), token=token, body=json.dumps(EVENT).encode(), headers=headers)
            assert answer.status == 401
        assert await records(board) == []


# S1 S7
async def test_only_what_is_a_services_own_may_be_said() -> None:
    """An event of a run that is not its own: 403, there or not; an agent's event outside of one: 422."""
    async with open_board() as board:
        await board.session("ada")
        for run in ("0" * 32, ""):
            answer = await publish(board, event={**EVENT, "run": run})
            assert answer.status == 403
        for type in ("agent_delta", "agent_completed", "y", "x.", "x." + "y" * 80):
            answer = await publish(board, event={"type": type, "data": {"text": "hi"}})
            assert answer.status == 422, type
            assert answer.json["detail"]
        assert await records(board) == []


BAD = [b"", b"{", b"[]", b'{"type":"x.a"}', b'{"data":{}}', b'{"type":1,"data":{}}', b'{"type":"x.a","data":[]}']


@pytest.mark.parametrize(
    "body", [*BAD, b'{"type":"x.a","data":{},"run":1}', b"[" * 10_000, b'{"type":"x.\xff","data":{}}']
)
async def test_a_bad_body_is_a_problem(body: bytes) -> None:
    """400 says what is wrong, and the key stays unused."""
    async with open_board() as board:
        await board.session("ada")
        answer = await publish(board, event=body)
        assert answer.status == 400
        assert answer.json["detail"]
        assert (await publish(board)).status == 201


async def test_data_that_json_does_not_hold_exactly_is_refused() -> None:
    """422 for what a page would read as something else, or that is nested too deep; 413 for what is too large."""
    deep = b'{"type":"x.a","data":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}"
    async with open_board() as board:
        await board.session("ada")
        for body in (b'{"type":"x.a","data":{"n":9007199254740993}}', deep):
            answer = await publish(board, event=body)
            assert answer.status == 422, body
        large = b'{"type":"x.a","data":{"t":"%s"}}' % (b"x" * board.limits.body_bytes)
        assert (await publish(board, event=large)).status == 413
        assert await records(board) == []


@pytest.mark.parametrize("key", [None, "", "x" * 201, "a\tb"])
async def test_a_key_is_needed(key: str | None) -> None:
    """400 names the header."""
    async with open_board() as board:
        await board.session("ada")
        answer = await publish(board, key)
        assert answer.status == 400
        assert "Idempotency-Key" in answer.json["detail"]


# S13
async def test_a_service_that_has_used_up_its_share_is_told_when_to_come_back() -> None:
    """429 until the oldest key has expired; what is known gets its answer meanwhile, and other services have theirs."""
    limits = callboard.Limits(publications=2, publishing_services=2, publication_seconds=60)
    async with open_board(limits=limits) as board:
        await board.session("ada")
        first = await publish(board, "a")
        await trio.sleep(10)
        await publish(board, "b")
        refused = await publish(board, "c")
        assert (refused.status, refused.headers["retry-after"]) == (429, "51")
        assert (await publish(board, "a")).json == first.json
        assert (await publish(board, "c", service="mail")).status == 201
        assert (await publish(board, "c", service="third")).status == 429
        await trio.sleep(51)
        assert (await publish(board, "c")).status == 201
        assert len(await records(board)) == 4


# S13
async def test_how_often_a_service_speaks_is_bounded() -> None:
    """429 beyond it, repetitions and refusals counted; other services have their own share, and users theirs."""
    async with open_board(limits=callboard.Limits(publications_per_s=3, requests_per_s=0.1)) as board:
        await board.session("ada")
        assert [(await publish(board, key)).status for key in ("a", "a", "b", "c")] == [201, 201, 201, 429]
        assert (await publish(board, service="mail")).status == 201
        assert [(await publish(board, service="eve", scope="")).status for _ in range(3)] == [403, 429, 429]
        await trio.sleep(1)
        assert (await publish(board, "c")).status == 201


# S3 S5
async def test_nothing_is_accepted_before_it_is_durable() -> None:
    """The answer waits for the journal; where that takes too long it is 503, and a repetition finds what was done."""
    journal = HeldJournal()
    async with open_board(journal=journal) as board, trio.open_nursery() as nursery:
        await board.session("ada")
        answers: list[tuple[float, Answer]] = []

        async def once() -> None:
            answer = await publish(board)
            answers.append((trio.current_time(), answer))

        journal.hold_appends = True
        began = trio.current_time()
        nursery.start_soon(once)
        await trio.sleep(board.limits.store_seconds - 1)
        assert answers == []
        await trio.sleep(2)
        ((at, refused),) = answers
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert at - began == board.limits.store_seconds
        journal.release()
        answer = await publish(board)
        assert (answer.status, answer.json["seq"]) == (201, 1)
        assert len(await records(board)) == 1


async def test_a_store_that_does_not_answer_holds_nobody_for_ever() -> None:
    """503 in a stated time, also where the session cannot be opened at all."""
    journal = HeldJournal()
    async with open_board(journal=journal) as board:
        await board.session("ada")
        await trio.sleep(10 * board.limits.idle_seconds)
        journal.hold_opens = True
        began = trio.current_time()
        assert (await publish(board)).status == 503
        assert trio.current_time() - began <= 2 * board.limits.store_seconds


async def test_a_node_that_drains_takes_nothing() -> None:
    """503: the publisher repeats it to the next node."""
    async with open_board() as board:
        await board.session("ada")
        await board.drain(0)
        answer = await publish(board)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert await records(board) == []


async def test_a_session_in_quarantine_says_for_how_long() -> None:
    """503 with the time of its rest; when it is over the same key is good."""
    async with open_board(session=Fragile) as board:
        await board.session("ada")
        while True:
            with contextlib.suppress(RuntimeError):
                ref = await board.session("ada")
                await ref.ask_async("fall")
            answer = await publish(board)
            if answer.status == 503:
                break
            assert answer.status == 201
        assert answer.headers["retry-after"] == "60"
        await trio.sleep(60)
        assert (await publish(board)).status == 201
        assert len(await records(board)) == 1
