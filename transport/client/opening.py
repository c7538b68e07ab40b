"""`callboard.connect`: a client for the body of an ``async with``. Here the parts are joined, and chance comes in."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import trio

from ...actors import Position as RecordPosition
from ..protocol import Start
from .backlog import Position
from .client import Client
from .keeper import Keeper
from .tickets import TokenSource
from .urls import check_node_url
from .way import NetworkWay, Way

__all__ = ["BACKLOG_ITEMS", "connect", "open_client"]

# As many records wait here at most as a node gives to who names no position.
BACKLOG_ITEMS = 1_000


@asynccontextmanager
async def open_client(
    way: Way,
    *,
    device: str | None = None,
    start: Position | RecordPosition | int | Literal["first"] | None = None,
    merge: bool = True,
    client: str = "callboard-python",
    give_up_seconds: float = 300.0,
    backlog_items: int = BACKLOG_ITEMS,
    rng: random.Random | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,  # noqa: TID251 - a composition root, as `open` is
) -> AsyncIterator[Client]:
    """Attach to the session that `way` leads to. See `connect`, which is this over the network.

    Args:
        way: how to get in.
        device: see `connect`.
        start: see `connect`.
        merge: see `connect`.
        client: see `connect`.
        give_up_seconds: see `connect`.
        backlog_items: how many records may wait to be taken before no more are read.
        rng: see `connect`.
        random_bytes: the source of device ids.
    """

    def new_device() -> str:
        return random_bytes(16).hex()

    keeper = Keeper(
        way,
        device=new_device() if device is None else device,
        new_device=new_device,
        client=client,
        start=_start(start),
        merge=merge,
        give_up_seconds=give_up_seconds,
        backlog_items=backlog_items,
        rng=rng or random.Random(random_bytes(16)),
    )
    # What is raised inside is raised again outside of the nursery, which would wrap it into a group.
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            nonlocal raised
            try:
                await keeper.run(nursery)
            except Exception as bug:  # noqa: BLE001 - see above
                raised = bug
                nursery.cancel_scope.cancel()

        nursery.start_soon(keep)
        try:
            yield Client(keeper)
        except BaseException as error:  # noqa: BLE001 - see above
            raised = raised or error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: TokenSource,
    session: str = "main",
    device: str | None = None,
    start: Position | RecordPosition | int | Literal["first"] | None = None,
    merge: bool = True,
    client: str = "callboard-python",
    origin: str | None = None,
    tls: ssl.SSLContext | None = None,
    give_up_seconds: float = 300.0,
    rng: random.Random | None = None,
) -> AsyncIterator[Client]:
    """Attach to a session of a node, inside trio, for the body of an ``async with``.

    ::

        async with callboard.connect("http://127.0.0.1:8765", token=token) as session:
            run = await session.send("What does json.dumps do?")
            async for record in session:
                print(record.type, record.data)
                if record.run == run and record.type in ("agent_completed", "agent_error", "agent_cancelled"):
                    break

    It does not wait for the node: what is wrong is told by iterating, by commands, and by `Client.wait_connected`.

    Args:
        url: the node, ``http://…`` or ``https://…``. It is gone to straight, not by a proxy of the environment.
        token: the user's bearer token, or a function that gives a fresh one, asked before each connection. A plain
            function must not block; an async one may take its time. What it raises ends the client.
        session: the session's name.
        device: 32 hex digits that this program keeps for its installation; random if not given. A device has one
            connection: a newer one ends the older with `SessionClosed`, code 4008.
        start: where to begin: behind a position (`callboard.Position`, or epoch and seq), with the last n records, or
            ``"first"``. By default with as many of the last ones as the node gives.
        merge: whether what waits for this program may come merged: a stretch of `agent_delta` of one run as one record,
            whose `seq` is ``(a, b)`` and whose text is all of theirs. False for who needs every piece by itself.
        client: what this program calls itself, 200 characters at most.
        origin: an origin to name, as a page would.
        tls: how to verify a node's certificate; the system's authorities if not given.
        give_up_seconds: how long the node may be out of reach before `Unreachable` is raised.
        rng: the source of jitter.

    Raises:
        ValueError: the url is no ``http(s)`` address, or an argument is nothing that a node would take.
    """
    if origin is not None and not (origin.isascii() and origin.isprintable()):
        raise ValueError(f"origin is {origin!r:.200}; it may have printable ASCII characters only")
    way = NetworkWay(check_node_url(url), token, session, origin, tls)
    async with open_client(
        way, device=device, start=start, merge=merge, client=client, give_up_seconds=give_up_seconds, rng=rng
    ) as attached:
        yield attached


def _start(start: Position | RecordPosition | int | Literal["first"] | None) -> Start | Literal["first"] | None:
    if isinstance(start, RecordPosition):
        return Start(epoch=start.epoch, seq=start.seq)
    if isinstance(start, tuple):
        return Start(epoch=start[0], seq=start[1])
    return Start(last=start) if isinstance(start, int) else start
