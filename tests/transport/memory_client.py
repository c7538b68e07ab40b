"""Asking a board over a stream in memory, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import trio
from trio.testing import memory_stream_pair

import callboard

__all__ = ["KEY", "NOW", "Answer", "ask", "open_board"]

KEY = bytes(range(32))
NOW = 1_700_000_000.0


@attrs.frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Quiet(callboard.Agent):
    """Says nothing of its own."""

    async def run(self, message: callboard.Message) -> str:
        return message.text


@asynccontextmanager
async def open_board(
    *,
    agents: Mapping[str, Callable[[], callboard.Agent]] | None = None,
    wall_clock: Callable[[], float] | None = None,
    **options: Any,
) -> AsyncIterator[callboard.Board]:
    """A board that listens nowhere. Its wall clock is trio's, from `NOW` on."""
    began = trio.current_time()
    async with callboard.open(
        agents=agents or {"quiet": Quiet},
        port=None,
        key=KEY,
        wall_clock=wall_clock or (lambda: NOW + trio.current_time() - began),
        **options,
    ) as board:
        yield board


async def ask(
    board: callboard.Board,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    ours, theirs = memory_stream_pair()
    fields = {"host": "node.example", "content-length": str(len(body)), **(headers or {})}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    client = h11.Connection(h11.CLIENT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.serve_stream, theirs)
        sent = client.send(h11.Request(method=method, target=path, headers=list(fields.items()))) or b""
        sent += (client.send(h11.Data(data=body)) or b"") + (client.send(h11.EndOfMessage()) or b"")
        await ours.send_all(sent)
        response: h11.Response | None = None
        content = b""
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(bytes(await ours.receive_some()))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                content += event.data
            else:
                break
        await ours.aclose()
    assert response is not None
    return Answer(response.status_code, {name.decode(): value.decode() for name, value in response.headers}, content)
