"""A worker: it offers agents to a node, gets runs, and stays connected until it is cancelled.

Runs go on while there is no connection; what was said and is not acknowledged is said again on the next one. A run that
the node does not want any more, because it was cancelled or is another worker's by now, is cancelled here.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from ...actors import AgentError, Exchange, InvalidEvent, Message, check_json
from ...runtime import log_traceback
from ..client import Backoff, Closed, Socket, StreamOpener, TokenSource, agents_url, ask_token, hold_socket
from ..protocol import (
    AGENTS_SUBPROTOCOL,
    BadFrame,
    CloseCode,
    HeldRun,
    Offer,
    RunCancel,
    RunEnd,
    RunError,
    RunOrder,
    RunRefused,
    RunSettled,
    UnknownType,
    Verdict,
    WorkerGoaway,
    WorkerHello,
    WorkerPing,
    WorkerPong,
    WorkerWelcome,
    decode_node,
    encode_agents,
    verdict,
)
from .agent import Agent
from .work import Work, WorkLimits

__all__ = ["WorkerRefused", "connect"]

logger = logging.getLogger("callboard")

# From the handshake to the welcome.
WELCOME_SECONDS = 10.0


class WorkerRefused(Exception):
    """The node does not take this worker, and would not take it later either; says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


async def connect(
    url: str,
    *,
    token: TokenSource,
    agents: Mapping[str, Callable[[], Agent]],
    capacity: int = 8,
    client: str = "callboard-python",
    tls: ssl.SSLContext | None = None,
    open_stream: StreamOpener = trio.open_tcp_stream,
    rng: random.Random | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,  # noqa: TID251 - a composition root, as `open` is
) -> None:
    """Do runs for a node until cancelled. Connects again, with back-off, whatever cuts the connection.

    Args:
        url: the node, ``http(s)://…``.
        token: a JWT with the scope `agent`, or what gives one, asked before each connection.
        agents: name → `Agent` subclass, or what makes one; the node's `App` has a `Remote` of each name.
        capacity: how many runs at once.
        client: what this worker calls itself.
        tls: how to verify the node's certificate; the system's authorities if not given.
        open_stream: opens a stream to a host and port.
        rng: the source of jitter.
        random_bytes: the source of this worker's id.

    Raises:
        WorkerRefused: the node does not take this worker, and would not later.
        ValueError: the url, the token or the agents are not usable.
    """
    if not agents or not all(map(callable, agents.values())):
        raise ValueError(f"`agents` is {agents!r:.80}; it has to map at least one name to an Agent class")
    if not 1 <= capacity <= 1_024:
        raise ValueError(f"`capacity` is {capacity}; allowed are 1 to 1024")
    address = agents_url(url)
    worker = _Worker(random_bytes(16).hex(), dict(agents), capacity, client)
    backoff = Backoff(rng or random.Random(random_bytes(16)))
    # Raised outside of the nursery, which would wrap it into a group.
    refused: WorkerRefused | None = None
    async with trio.open_nursery() as nursery:
        while refused is None:
            bearer = await ask_token(token)
            holding = partial(
                hold_socket,
                address,
                subprotocol=AGENTS_SUBPROTOCOL,
                bearer=bearer,
                tls=tls,
                open_stream=open_stream,
            )
            closed = await worker.one_connection(holding, nursery, lambda: backoff.opened(trio.current_time()))
            what = verdict(closed.code)
            if what is Verdict.DO_NOT_RETRY or (what is Verdict.NEW_TICKET and isinstance(token, str)):
                refused = WorkerRefused(closed.code, closed.reason)
            else:
                await trio.sleep(backoff.ended(what, trio.current_time()))
        nursery.cancel_scope.cancel()
    raise refused


class _Worker:
    """What lasts from connection to connection."""

    def __init__(self, id: str, agents: dict[str, Callable[[], Agent]], capacity: int, client: str) -> None:
        self._id = id
        self._agents = agents
        self._capacity = capacity
        self._client = client
        self._works: dict[str, Work] = {}
        # What is to be sent: what `_works` may say again, and a pong or two. None while there is no connection.
        self._out: deque[bytes] | None = None
        self._more = trio.Event()

    async def one_connection(
        self, holding: Callable[..., Any], works: trio.Nursery, opened: Callable[[], None]
    ) -> Closed:
        """Be connected once; gives how it ended."""
        async with trio.open_nursery() as nursery:
            try:
                socket: Socket = await nursery.start(holding)
            except Closed as closed:
                return closed
            ended = await self._talk(socket, nursery, works, opened)
            self._out = None
            nursery.cancel_scope.cancel()
        return ended

    async def _talk(
        self, socket: Socket, nursery: trio.Nursery, works: trio.Nursery, opened: Callable[[], None]
    ) -> Closed:
        try:
            with trio.fail_after(WELCOME_SECONDS):
                await socket.send(encode_agents(self._hello()))
                welcome = decode_node(await socket.receive())
            if not isinstance(welcome, WorkerWelcome):
                return Closed(1002, "something was said before welcome")
            opened()
            limits = WorkLimits(welcome.window, welcome.window_bytes, welcome.event_bytes, welcome.depth)
            self._out = deque(frame for work in self._works.values() for frame in work.frames)
            nursery.start_soon(self._write, socket, self._out)
            silence = (welcome.heartbeat_ms + welcome.timeout_ms) / 1000
            while True:
                with trio.fail_after(silence):
                    data = await socket.receive()
                with suppress(UnknownType):  # a newer node's
                    self._heard(decode_node(data), limits, works)
        except Closed as closed:
            return closed
        except BadFrame as error:
            socket.close(1002)
            return Closed(1002, str(error))
        except trio.TooSlowError:
            socket.abandon()
            return Closed(CloseCode.HEARTBEAT_LOST, "nothing is heard of the node")

    def _hello(self) -> WorkerHello:
        offers = {
            name: Offer(restartable=bool(getattr(make, "restartable", False))) for name, make in self._agents.items()
        }
        held = [HeldRun(run=work.run, attempt=work.attempt) for work in self._works.values()]
        return WorkerHello(worker=self._id, client=self._client, agents=offers, capacity=self._capacity, runs=held)

    async def _write(self, socket: Socket, out: deque[bytes]) -> None:
        try:
            while True:
                while out:
                    await socket.send(out.popleft())
                self._more = trio.Event()
                await self._more.wait()
        except Closed:
            return  # whoever reads hears of it too

    def _put(self, frame: bytes) -> None:
        if self._out is not None:
            self._out.append(frame)
            self._more.set()

    def _heard(self, message: object, limits: WorkLimits, works: trio.Nursery) -> None:
        match message:
            case RunOrder():
                self._begin(message, limits, works)
            case RunSettled(run=run, attempt=attempt, n=n):
                work = self._find(run, attempt)
                if work is not None:
                    work.settle(n)
            case RunRefused(run=run, attempt=attempt, n=n, message=text):
                work = self._find(run, attempt)
                if work is not None:
                    work.refuse(n, text)
            case RunCancel(run=run, attempt=attempt):
                work = self._find(run, attempt)
                if work is not None:
                    del self._works[run]
                    work.scope.cancel()
            case WorkerPing():
                self._put(encode_agents(WorkerPong()))
            case WorkerGoaway() | WorkerWelcome():
                pass  # the close says when to go

    def _find(self, run: str, attempt: int) -> Work | None:
        work = self._works.get(run)
        return work if work is not None and work.attempt == attempt else None

    def _begin(self, order: RunOrder, limits: WorkLimits, works: trio.Nursery) -> None:
        earlier = self._works.get(order.run)
        if earlier is not None:
            if earlier.attempt >= order.attempt:
                return
            earlier.scope.cancel()
        work = self._works[order.run] = Work(order.run, order.attempt, limits, self._put)
        works.start_soon(self._work, order, work)

    async def _work(self, order: RunOrder, work: Work) -> None:
        """Do one run, up to the acknowledgement of its end."""
        history = tuple(Exchange(each.text, each.answer) for each in order.history)
        message = Message(order.text, order.run, order.session, order.user, order.agent, history)
        result, error = None, None
        with work.scope:
            try:
                agent = self._agents[order.agent]()
                agent._begin(work)
                result = await agent.run(message)
                check_json(result, work.limits.depth, "result")
                if len(encode_agents(_end(work, 1, result, None))) > work.limits.event_bytes:
                    raise InvalidEvent("the result takes too many bytes")
            except AgentError as told:
                result, error = None, RunError(code=told.code[:64] or "error", message=told.message[:2_000])
            except Exception as failed:  # noqa: BLE001 - an agent's bug is its run's alone
                logger.error("run %s failed: %s", order.run, type(failed).__name__)
                log_traceback(failed, "run %s failed", order.run)
                text = f"the agent ended without a result ({type(failed).__name__})"
                result, error = None, RunError(code="agent_failed", message=text)
            n = await work.say(lambda n: encode_agents(_end(work, n, result, error)))
            await work.wait_settled(n)
        if self._works.get(order.run) is work:
            del self._works[order.run]


def _end(work: Work, n: int, result: Any, error: RunError | None) -> RunEnd:
    return RunEnd(run=work.run, attempt=work.attempt, n=n, result=result, error=error)
