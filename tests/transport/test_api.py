"""The HTTP side of a whole board, over streams in memory and in virtual time."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import trio

import callboard
from callboard.actors import StoreUnavailable
from callboard.transport import Request, Response
from tests.transport.held_journal import HeldJournal
from tests.transport.memory_client import NOW, ask, open_board

PAGE = "https://app.example.org"


def token(board: callboard.Board, user: str = "ada", **more: object) -> str:
    """A good token."""
    return board.authenticator.token(user, **more)  # type: ignore[arg-type]


async def test_a_ticket_for_the_bearer() -> None:
    """201 with all that a client needs, told to nobody else."""
    async with open_board() as board:
        answer = await ask(board, "POST", "/v1/tickets", token=token(board))
        assert answer.status == 201
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.json) == {"ticket", "session", "expires_in_s", "url"}
        assert answer.json["session"] == callboard.SessionKey("ada").id
        assert answer.json["expires_in_s"] == 30
        assert answer.json["url"] == "ws://node.example/v1/connect"
        named = await ask(board, "POST", "/v1/tickets", token=token(board), body=b'{"session":"notes","future":1}')
        assert named.json["session"] == callboard.SessionKey("ada", "notes").id
        assert named.json["ticket"] != answer.json["ticket"]


async def test_nobody_can_name_the_session_of_another() -> None:
    """The same name is another session for another user."""  # S1
    async with open_board() as board:
        sessions = {
            (await ask(board, "POST", "/v1/tickets", token=token(board, user), body=b'{"session":"main"}')).json[
                "session"
            ]
            for user in ("ada", "grace", "ada/main", "main")
        }
        assert len(sessions) == 4


BAD_BODIES = [b"{", b"[]", b'"main"', b'{"session":1}', b'{"session":""}', b'{"session":null}', b'{"session":"a\\nb"}']


@pytest.mark.parametrize("body", [*BAD_BODIES, b"\xff", b"[" * 10_000, b'{"session":"%s"}' % (b"x" * 201)])
async def test_a_bad_body_is_a_problem(body: bytes) -> None:
    """400 says what is wrong with it."""
    async with open_board() as board:
        answer = await ask(board, "POST", "/v1/tickets", token=token(board), body=body)
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["detail"]


async def test_without_a_good_token_there_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """401 with a challenge, for every route that is somebody's; one log line each, without the token."""  # S12
    caplog.set_level(logging.INFO, "callboard")
    async with open_board() as board:
        for method, path in (("POST", "/v1/tickets"), ("GET", "/v1/sessions"), ("GET", "/v1/statistics")):
            for header in (None, "Bearer", "Basic YWRhOg==", "Bearer not.a.token", "bearer x y"):
                headers = {} if header is None else {"authorization": header}
                answer = await ask(board, method, path, headers=headers)
                assert answer.status == 401, (method, path, header)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        twice = await ask(
            board, "GET", "/v1/sessions", token=token(board), headers={"Authorization": f"Bearer {token(board)}"}
        )
        assert twice.status == 401
    lines = [record.message for record in caplog.records]
    assert lines.count("POST /v1/tickets refused: 401") == 5
    assert not any("not.a.token" in line for line in lines)


async def test_an_expired_token() -> None:
    """It is refused from its very second on."""
    async with open_board() as board:
        mine = token(board, lifetime_seconds=60)
        assert (await ask(board, "GET", "/v1/sessions", token=mine)).status == 200
        await trio.sleep(60)
        answer = await ask(board, "GET", "/v1/sessions", token=mine)
        assert (answer.status, answer.json["detail"]) == (401, "the token has expired")


async def test_a_user_sees_its_own_sessions_only() -> None:
    """Names and ids of the caller's own, in the order of their making."""  # S1
    async with open_board() as board:
        for user, name in (("ada", "main"), ("grace", "main"), ("ada", "notes")):
            await board.session(user, name)
        assert (await ask(board, "GET", "/v1/sessions", token=token(board))).json == {
            "sessions": [{"name": name, "session": callboard.SessionKey("ada", name).id} for name in ("main", "notes")]
        }
        assert (await ask(board, "GET", "/v1/sessions", token=token(board, "eve"))).json == {"sessions": []}


async def test_statistics_are_the_operators() -> None:
    """A scope is needed, and the scope of another name does not do."""  # S12
    async with open_board() as board:
        for scope, status in (("", 403), ("operators", 403), ("agent", 403), ("agent operator", 200)):
            answer = await ask(board, "GET", "/v1/statistics", token=token(board, scope=scope))
            assert answer.status == status, scope
        statistics = (await ask(board, "GET", "/v1/statistics", token=token(board, scope="operator"))).json
        assert statistics["serving"] is True
        assert statistics["sessions"] == 0


async def test_sessions_of_a_user_are_bounded() -> None:
    """Beyond the bound 403 for a new name; those that exist, the main one, and other users have theirs."""
    async with open_board(limits=callboard.Limits(sessions_per_user=2)) as board:  # S13

        async def status(name: str, user: str = "ada") -> int:
            body = json.dumps({"session": name}).encode()
            return (await ask(board, "POST", "/v1/tickets", token=token(board, user), body=body)).status

        for name in ("one", "two"):
            assert await status(name) == 201
            await board.session("ada", name)
        assert [await status(name) for name in ("one", "two", "three", "main")] == [201, 201, 403, 201]
        assert await status("three", user="grace") == 201


async def test_a_store_that_does_not_answer() -> None:
    """Whoever needs it gets 503 after a while; the main session's ticket needs nothing of it."""
    journal = HeldJournal()
    async with open_board(journal=journal, limits=callboard.Limits(store_seconds=3.0)) as board:
        journal.hold_sessions = True
        for method, path, body in (("GET", "/v1/sessions", b""), ("POST", "/v1/tickets", b'{"session":"notes"}')):
            began = trio.current_time()
            answer = await ask(board, method, path, token=token(board), body=body)
            assert answer.status == 503
            assert trio.current_time() - began == 3.0
        assert (await ask(board, "POST", "/v1/tickets", token=token(board))).status == 201


async def test_requests_of_a_user_are_bounded() -> None:
    """Beyond the bound 429, on every route that is somebody's; others are served, and so is the user a second later."""
    async with open_board(limits=callboard.Limits(requests_per_s=1.0)) as board:  # S13
        answers = []
        routes = [("GET", "/v1/sessions"), ("POST", "/v1/tickets"), ("GET", "/v1/statistics")]
        for number in range(12):
            answers.append(await ask(board, *routes[number % 3], token=token(board)))
        assert [answer.status == 429 for answer in answers] == [False] * 10 + [True] * 2
        assert answers[-1].headers["retry-after"] == "1"
        assert (await ask(board, "GET", "/v1/sessions", token=token(board, "grace"))).status == 200
        await trio.sleep(1)
        assert (await ask(board, "GET", "/v1/sessions", token=token(board))).status == 200


async def test_tickets_of_a_user_are_bounded() -> None:
    """429 at the bound, and only for that user."""  # S13
    async with open_board(limits=callboard.Limits(tickets_per_user=2)) as board:
        statuses = [(await ask(board, "POST", "/v1/tickets", token=token(board))).status for _ in range(3)]
        assert statuses == [201, 201, 429]
        assert (await ask(board, "POST", "/v1/tickets", token=token(board, "grace"))).status == 201
        await trio.sleep(30)
        assert (await ask(board, "POST", "/v1/tickets", token=token(board))).status == 201


ROUTES: list[tuple[str, str, int, Mapping[str, str]]] = [
    ("GET", "/nope", 404, {}),
    ("GET", "/v1/tickets/", 404, {}),
    ("GET", "/v1/tickets", 405, {"allow": "POST"}),
    ("DELETE", "/v1/sessions", 405, {"allow": "GET"}),
    ("GET", "/v1/connect", 426, {"upgrade": "websocket"}),
    ("GET", "/v1/agents", 426, {"upgrade": "websocket"}),
    ("GET", f"/v1/sessions/{'0' * 32}/events", 405, {"allow": "POST"}),
    ("GET", "/healthz", 200, {}),
    ("HEAD", "/healthz", 200, {}),
    ("GET", "/readyz", 200, {}),
    ("POST", "/healthz", 405, {"allow": "GET"}),
    ("OPTIONS", "/v1/tickets", 204, {"allow": "POST"}),
    ("GET", "/v1/../healthz", 404, {}),
    ("GET", "/%68ealthz", 200, {}),
    ("GET", "/healthz?x=1", 200, {}),
]


@pytest.mark.parametrize("method, path, status, headers", ROUTES, ids=[f"{case[0]} {case[1]}" for case in ROUTES])
async def test_each_route_has_its_methods(method: str, path: str, status: int, headers: Mapping[str, str]) -> None:
    """What is not there is 404, what is not done there 405, with what is."""
    async with open_board() as board:
        answer = await ask(board, method, path)
        assert answer.status == status
        assert headers.items() <= answer.headers.items()
        assert (answer.body == b"") is (method in ("HEAD", "OPTIONS"))


async def test_pages_of_allowed_origins_may_ask() -> None:
    """They get their origin back, in the answer, in the preflight, and with a problem; no other page does."""
    async with open_board(origins=[PAGE]) as board:
        mine = token(board)
        for origin in (
            PAGE,
            "https://evil.example",
            "null",
            PAGE + ".evil.example",
            "http://app.example.org",
            "http://[",
        ):
            allowed = origin == PAGE
            headers = {"origin": origin}
            preflight = await ask(board, "OPTIONS", "/v1/tickets", headers=headers)
            assert preflight.headers.get("access-control-allow-origin") == (PAGE if allowed else None)
            assert ("access-control-allow-headers" in preflight.headers) is allowed
            answer = await ask(board, "POST", "/v1/tickets", token=mine, headers=headers)
            assert answer.status == (201 if allowed else 403)
            assert answer.headers.get("access-control-allow-origin") == (PAGE if allowed else None)
            assert answer.headers.get("vary") == ("Origin" if allowed else None)
            problem = await ask(board, "GET", "/v1/sessions", headers=headers)
            assert problem.headers.get("access-control-allow-origin") == (PAGE if allowed else None)


async def test_a_foreign_name_for_this_node_is_no_origin_of_it() -> None:
    """A page of a name that was made to point here (DNS rebinding) names that host; it is not the node's own."""  # S12
    async with open_board() as board:
        headers = {"host": "evil.example", "origin": "http://evil.example"}
        assert (await ask(board, "POST", "/v1/tickets", token=token(board), headers=headers)).status == 403


async def test_the_address_to_connect_to() -> None:
    """It is where the asker came from; what cannot be a host is not repeated."""
    async with open_board() as board:
        mine = token(board)
        for host in ("node.example:8765", "[::1]:80", "10.0.0.1"):
            answer = await ask(board, "POST", "/v1/tickets", token=mine, headers={"host": host})
            assert answer.json["url"] == f"ws://{host}/v1/connect"
        for host in ("x/../y?z", "user@x", "x:port", "[x]"):
            answer = await ask(board, "POST", "/v1/tickets", token=mine, headers={"host": host})
            assert host not in answer.json["url"]


async def test_a_node_that_drains_gives_no_tickets() -> None:
    """503 for tickets and readiness, with when to ask again; it is alive all the same."""
    async with open_board() as board:
        mine = token(board)
        await board.drain(0)
        for method, path in (("POST", "/v1/tickets"), ("GET", "/readyz")):
            answer = await ask(board, method, path, token=mine)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await ask(board, "GET", "/healthz")).status == 200


async def test_handlers_of_the_platform(caplog: pytest.LogCaptureFixture) -> None:
    """They are found by method and path; a bug in one is a 500 for its asker, and no more."""

    async def hello(request: Request) -> Response:
        return Response(200, json.dumps({"path": request.path}).encode())

    async def bug(request: Request) -> Response:
        raise ZeroDivisionError("secret")

    async with open_board(routes=lambda board: {("GET", "/hello"): hello, ("GET", "/bug"): bug}) as board:
        assert (await ask(board, "GET", "/hello")).json == {"path": "/hello"}
        answer = await ask(board, "GET", "/bug")
        assert (answer.status, answer.json["title"]) == (500, "Internal server error")
        assert "secret" not in answer.body.decode()
        assert (await ask(board, "GET", "/hello")).status == 200
    assert "GET /bug failed: ZeroDivisionError" in [record.message for record in caplog.records]


async def test_too_many_connections_of_the_node() -> None:
    """Beyond the bound a connection is closed unread, and its place counts again afterwards."""  # S13
    async with open_board(limits=callboard.Limits(connections=1)) as board, trio.open_nursery() as nursery:
        first_here, first_there = trio.testing.memory_stream_pair()
        nursery.start_soon(board.serve_stream, first_there)
        await trio.testing.wait_all_tasks_blocked()
        second_here, second_there = trio.testing.memory_stream_pair()
        await board.serve_stream(second_there)
        assert await second_here.receive_some() == b""
        await first_here.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(board, "GET", "/healthz")).status == 200
        assert (await board.report())["connections"]["tcp"] == 0


async def test_tokens_are_checked_against_the_boards_own_clock() -> None:
    """Time comes in as a parameter."""  # A12
    async with open_board(wall_clock=lambda: NOW + 10**6) as board:
        assert (await ask(board, "GET", "/v1/sessions", token=token(board))).status == 200


async def test_what_the_journal_in_memory_holds_is_bounded() -> None:
    """Red if the limit is not the journal's: beyond it nothing is taken, and other sessions are not made either."""
    async with open_board(limits=callboard.Limits(journal_bytes=20_000)) as board:  # S13
        await board.publish("ada", "x.note", {"text": "x" * 10_000})
        with pytest.raises(StoreUnavailable, match="the journal took nothing"):
            await board.publish("ada", "x.note", {"text": "x" * 10_000})
        await board.publish("ada", "x.note", {"text": "x"})


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"durability": "Power"}, "durability is 'Power'; allowed are process and power"),
        ({"origins": "https://app.example.org"}, "origins is 'https://app.example.org'; a list"),
        ({"trusted_proxies": "10.0.0.0/8"}, "trusted proxies are '10.0.0.0/8'; a list"),
    ],
)
async def test_what_is_no_setting_is_not_taken_for_another(wrong: Mapping[str, Any], told: str) -> None:
    """Red if a slip of the pen makes records less durable, or is told of letter by letter."""  # S12
    with pytest.raises(callboard.ConfigError, match=told):
        async with open_board(**wrong):
            pass
