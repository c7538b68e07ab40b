"""The application: who somebody is, is its own business; what is said to whom, the board's."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

import callboard

__all__ = ["WordCounter", "create_app"]


class WordCounter(callboard.AsyncioAgent):
    """Counts the words of a text, chunk by chunk; asyncio code, as the rest of the application."""

    async def run(self, message: callboard.Message) -> dict[str, int]:
        """Say how far it is after each line, and give the most frequent words."""
        counts: Counter[str] = Counter()
        for number, line in enumerate(message.text.splitlines(), 1):
            counts.update(await self.tool("split", {"line": number}, partial(words_of, line)))
            await self.emit("agent_thinking", {"text": f"{counts.total()} words in {number} lines"})
            await asyncio.sleep(0)
        return dict(counts.most_common(10))


def words_of(line: str) -> list[str]:
    """A tool; a plain function, so it runs in a thread."""
    return re.findall(r"\w+", line.lower())


class Login(BaseModel):
    """What a login form sends."""

    user: str
    password: str


class Note(BaseModel):
    """Something the application itself says in a user's session."""

    text: str


def board_of(request: Request) -> callboard.AsyncioBoard:
    """The board that the application's lifespan opened."""
    board: callboard.AsyncioBoard = request.app.state.board
    return board


def user_of(request: Request, bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    """The user whose token a request carries; 401 without one that is good."""
    try:
        return board_of(request).authenticator.verify(bearer.credentials).user
    except callboard.TokenRefused as refused:
        raise HTTPException(401, str(refused)) from None


Board = Annotated[callboard.AsyncioBoard, Depends(board_of)]
User = Annotated[str, Depends(user_of)]


def create_app() -> FastAPI:
    """The application with what the environment says.

    BOARD_USERS: who may log in, ``name:password`` separated by commas; nobody if not set.
    BOARD_PORT: where the board listens; 8765 if not set.
    BOARD_ORIGINS: origins whose pages may connect, separated by commas; the application's own, for one.
    """
    users = dict(entry.split(":", 1) for entry in _listed("BOARD_USERS"))
    port = int(os.environ.get("BOARD_PORT", "8765"))
    return _app(users, port, _listed("BOARD_ORIGINS"))


def _listed(name: str) -> list[str]:
    return [entry for entry in os.environ.get(name, "").split(",") if entry]


def _app(users: Mapping[str, str], port: int, origins: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A key of this process: tokens end with it. Give it one from outside to run several.
        key = secrets.token_bytes(32)
        async with callboard.open_in_thread(
            agents={"words": WordCounter}, port=port, key=key, origins=origins
        ) as app.state.board:
            yield

    app = FastAPI(title="An application with a board", lifespan=lifespan)

    @app.post("/login")
    async def login(login: Login, board: Board) -> dict[str, str]:
        expected = users.get(login.user)
        if expected is None or not secrets.compare_digest(login.password.encode(), expected.encode()):
            raise HTTPException(401, "user or password is wrong")
        return {"token": board.authenticator.token(login.user, lifetime_seconds=3600)}

    @app.post("/ticket")
    async def ticket(request: Request, user: User, board: Board) -> dict[str, str]:
        return {
            "ticket": await board.ticket(user, origin=request.headers.get("origin")),
            "url": f"ws://{request.url.hostname}:{board.port}/v1/connect",
        }

    @app.post("/notes", status_code=201)
    async def note(note: Note, user: User, board: Board) -> dict[str, Any]:
        position = await board.publish(user, "x.note", {"text": note.text})
        return {"epoch": position.epoch, "seq": position.seq}

    @app.get("/runs")
    def runs(user: User, board: Board) -> dict[str, int]:
        # A plain handler: FastAPI runs it in a thread, where the board's methods block.
        counts: dict[str, int] = board.threads.report()["runs"]
        return counts

    return app
