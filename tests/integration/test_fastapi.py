"""The FastAPI example as uvicorn serves it: login, ticket, an answer over a WebSocket, and an ordered end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio

from tests.transport.peer import Peer

TEXT = "to be or not to be\nthat is the question"


@attrs.frozen
class Served:
    """A uvicorn process, and a client of it."""

    process: trio.Process
    http: httpx.AsyncClient

    async def token(self, user: str, password: str) -> str:
        """Log in."""
        answer = await self.http.post("/login", json={"user": user, "password": password})
        answer.raise_for_status()
        token: str = answer.json()["token"]
        return token


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """The example on free ports of loopback."""
    environment = {**os.environ, "BOARD_USERS": "ann:secret,bob:hidden", "BOARD_PORT": "0"}
    command = [sys.executable, "-m", "uvicorn", "--factory", "--port", "0", "callboard.examples.fastapi_app:create_app"]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    said = ""
    try:
        with trio.fail_after(60):
            while "Uvicorn running on " not in said or not said.endswith("\n"):
                said += (await process.stderr.receive_some()).decode()
        url = said.partition("Uvicorn running on ")[2].split()[0]
        async with httpx.AsyncClient(base_url=url) as http, trio.open_nursery() as nursery:
            nursery.start_soon(_read_on, process.stderr)
            yield Served(process, http)
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        await process.wait()
        await process.stderr.aclose()


async def _read_on(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
async def test_a_users_browser_gets_the_agents_answer_through_the_application(order: signal.Signals) -> None:
    """Also what the application itself says; then a signal ends both, and the browser is told to come back."""
    async with served() as app:
        bearer = {"Authorization": f"Bearer {await app.token('ann', 'secret')}"}
        ticket = (await app.http.post("/ticket", headers=bearer)).json()
        port = int(ticket["url"].removesuffix("/v1/connect").rpartition(":")[2])
        peer = await Peer.connect(port)
        try:
            await peer.hello(ticket["ticket"])
            run = await peer.ask(TEXT)
            end = await peer.end_of(run)
            assert end["data"]["result"]["be"] == 2
            assert peer.of_run(run) == [
                "agent_started",
                *["tool_executing", "tool_completed", "agent_thinking"] * 2,
                "agent_completed",
            ]
            noted = await app.http.post("/notes", headers=bearer, json={"text": "hello"})
            assert noted.status_code == 201
            assert (await peer.until_record("x.note"))["seq"] == noted.json()["seq"]
            assert (await app.http.get("/runs", headers=bearer)).json()["agent_completed"] == 1
            app.process.send_signal(order)
            assert await peer.closed() == 4200
        finally:
            await trio.aclose_forcefully(peer.stream)
        with trio.fail_after(60):
            # uvicorn ends by the signal that it got, once all is closed.
            assert await app.process.wait() in (0, -order, 128 + order)


async def test_nobody_gets_in_without_the_applications_word() -> None:
    """S12. A wrong password, no token, a made-up one: no ticket."""
    async with served() as app:
        for login in ({"user": "ann", "password": "hidden"}, {"user": "eve", "password": "secret"}):
            assert (await app.http.post("/login", json=login)).status_code == 401
        assert (await app.http.post("/ticket")).status_code in (401, 403)
        made_up = {"Authorization": "Bearer " + "x" * 40}
        assert (await app.http.post("/ticket", headers=made_up)).status_code == 401
        token = await app.token("bob", "hidden")
        assert (await app.http.post("/ticket", headers={"Authorization": f"Bearer {token}x"})).status_code == 401
