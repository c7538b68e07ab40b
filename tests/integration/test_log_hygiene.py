"""What no log line ever holds, at any level: tokens, tickets, what users write, and what agents answer."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import pykka
import pytest
import trio
from joserfc import jwt
from joserfc.jwk import OctKey

import callboard
from callboard import Agent, AsyncioAgent, BlockingMessage, Message
from callboard.runtime import TRACEBACKS
from tests.integration.boards import KEY, Visitors, ask_http, open_board, settled, visitors
from tests.integration.boards import counts as counts_of
from tests.integration.node_process import node_process
from tests.integration.sample_app import Steps, Waits
from tests.integration.wrongs import AFTER_WELCOME, BEFORE_WELCOME, bad_tokens, good_token, hello

# Stands in all that a user or an agent says here; whoever logs any of it is found by it.
MARK = "qEbZk7xv"


class Fails(Agent):
    """Raises what it was asked, behind a cause that says it too."""

    async def run(self, message: Message) -> None:
        try:
            int(message.text)
        except ValueError as error:
            raise RuntimeError(f"cannot do {message.text}") from error


class FailsOnAsyncio(AsyncioAgent):
    """The same on asyncio, in a group."""

    async def run(self, message: Message) -> None:
        raise ExceptionGroup(message.text, [KeyError(message.text)])


class FailsOnThread(pykka.ThreadingActor):
    """The same on a thread."""

    def on_receive(self, message: BlockingMessage) -> None:
        raise LookupError(message.text)


AGENTS: dict[str, Callable[[], Agent | pykka.ThreadingActor]] = {
    "steps": Steps,
    "waits": Waits,
    "fails": Fails,
    "fails_on_asyncio": FailsOnAsyncio,
    "fails_on_thread": FailsOnThread,
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged at any level by anybody, as it would stand in a file; but not by the clients of the tests."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: not record.name.startswith("websockets"))
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "callboard", "trio-websocket", "pykka", "asyncio")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Secrets:
    """What was used in a test and must not be found anywhere."""

    def __init__(self) -> None:
        self.known = {MARK}

    def tell(self, secret: str) -> str:
        """Note a secret, and give it back."""
        self.known.add(secret)
        return secret

    def found_in(self, text: str) -> list[str]:
        """The lines in which any of them stands."""
        return [line for line in text.splitlines() if any(secret in line for secret in self.known)]


def request(method: str, target: str, token: str, body: str = "", **headers: str) -> bytes:
    """A request that asks for the end of its connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"Authorization: Bearer {token}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def all_goes_well(guests: Visitors, secrets: Secrets) -> None:
    """A user logs in, asks, resumes, cancels, and each kind of agent fails."""
    token = secrets.tell(good_token("ada"))
    answer = await ask_http(guests.board.port, request("POST", "/v1/tickets", token, f'{{"session": "{MARK}"}}'))
    found = re.search(rb'"ticket":"([^"]+)"', answer)
    assert found is not None, answer
    ticket = secrets.tell(found[1].decode())
    peer = await guests.connect()
    welcome = await peer.hello(ticket, client=f"client {MARK}")
    run = await peer.ask(f"what is {MARK}?")
    assert MARK in (await peer.end_of(run))["data"]["result"]
    waiting = await peer.ask(MARK, agent="waits")
    cancel = await peer.command("cancel", run=waiting)
    assert (await peer.result(cancel))["ok"]
    await peer.end_of(waiting)
    for agent in ("fails", "fails_on_asyncio", "fails_on_thread"):
        assert (await peer.end_of(await peer.ask(f"and {MARK}?", agent=agent)))["type"] == "agent_error"
    peer.protocol.send_ping(MARK.encode())
    peer.protocol.send_pong(MARK.encode())
    await peer.send({"t": "ack", "seq": 1})
    peer.protocol.send_close(1000, f"bye {MARK}")
    await peer._flush()
    assert await peer.closed() == 1000
    again = await guests.connect()
    await again.hello(
        secrets.tell(await guests.board.ticket("ada", session=MARK)), start={"epoch": welcome["epoch"], "seq": 1}
    )
    await again.leave()
    await guests.board.publish("ada", "x.note", {"text": MARK}, session=MARK)
    await guests.board.close_user("ada")


async def all_goes_wrong(guests: Visitors, secrets: Secrets) -> None:
    """Every refusal there is, of what holds secrets."""
    board = guests.board
    for token in map(secrets.tell, bad_tokens("bad")):
        if len(token) > 20:
            assert b" 401 " in await ask_http(board.port, request("POST", "/v1/tickets", token))
    good = secrets.tell(good_token("bad"))
    wrong = jwt.encode({"alg": "HS256", "kid": MARK}, {"sub": MARK + "\n", "exp": time() + 9}, OctKey.import_key(KEY))
    requests: list[tuple[bytes, bytes]] = [
        (request("POST", "/v1/tickets", wrong), b" 401 "),
        (request("POST", "/v1/tickets", good, f'{{"session": ["{MARK}"]}}'), b" 400 "),
        (request("POST", "/v1/tickets", good, f'{{"session": "{MARK}\\n"}}'), b" 400 "),
        (request("POST", "/v1/tickets", good, MARK), b" 400 "),
        (request("POST", "/v1/tickets", good, Origin=f"http://{MARK}.example"), b" 403 "),
        (request("GET", f"/v1/statistics?match={MARK}", good), b" 403 "),
        (request("GET", f"/{MARK}?ticket={MARK}", good), b" 404 "),
        (request("PUT", "/v1/tickets", good, MARK, Cookie=MARK), b" 405 "),
        (request("GET", f"/v1/connect?ticket={MARK}", good), b" 426 "),
        (request("GET", f"/%ff{MARK}", good), b" 400 "),
        (f"GET /v1/tickets HTTP/1.1\r\nHost: x\r\n{MARK} : x\r\n\r\n".encode(), b" 400 "),
    ]
    for raw, status in requests:
        assert status in (await ask_http(board.port, raw)).splitlines()[0], raw
    marked: list[tuple[str | bytes | dict[str, object], int]] = [
        (f'{{"t":"{MARK}"}}', 4002),
        (MARK, 4001),
        ({**hello("x"), "start": MARK}, 4001),
        ({**hello("x"), "device": MARK}, 4001),
        (hello(MARK), 4302),
        (MARK.encode(), 4001),
    ]
    cases = [*marked, *((frame, code) for _, frame, code in BEFORE_WELCOME)]
    used = secrets.tell(await board.ticket("bad"))
    peer = await guests.connect()
    await peer.hello(used)
    cases += [(hello(used), 4301), (hello(secrets.tell(await board.ticket("bad", origin=board.url))), 4303)]
    for frame, code in cases:
        other = await guests.connect()
        await other.send(frame)
        assert await other.closed() == code, frame
        await other.stream.aclose()
    await peer.send({"t": MARK})
    assert (await peer.receive())["code"] == "unknown_type"
    for op, data in ((MARK, {MARK: MARK}), ("user_message", {"text": {MARK: 1}}), ("cancel", {"run": MARK})):
        assert "error" in await peer.result(await peer.command(op, data=data))
    await peer.leave()
    later = [({"t": "command", "id": 1, "op": MARK, "run": [MARK]}, 4001), *((f, c) for _, f, c in AFTER_WELCOME)]
    for frame, code in later:
        peer = await guests.enter("bad")
        await peer.send(frame)
        assert await peer.closed() == code, frame
        await peer.stream.aclose()
    peer = await guests.enter("bad")
    peer.protocol.send_text(MARK.encode() + b"\xff")
    await peer._flush()
    assert await peer.closed() == 1007
    await peer.stream.aclose()


async def test_no_log_line_holds_a_secret_or_a_text(log: io.StringIO) -> None:
    """The golden path, every kind of agent's failure and all refusals, at debug level: ids, types and places only."""
    secrets = Secrets()
    async with open_board(AGENTS, frame_bytes=2_048) as board, visitors(board) as guests:
        before = await counts_of(board)
        await all_goes_well(guests, secrets)
        await all_goes_wrong(guests, secrets)
        for user, session in (("ada", MARK), ("bad", "main")):
            await (await board.session(user, session)).stop(block=False)
        await settled(board, {name: before[name] for name in ("connections", "tcp", "runs")})
    text = log.getvalue()
    for said in ("opened", "ended: 4301", "refused: 401", "failed: RuntimeError", "failed: LookupError", "KeyError"):
        assert said in text, said  # what is looked through is really the log
    assert 'raise RuntimeError(f"cannot do {message.text}") from error' in text  # the place, not the text
    assert "caused by ValueError" in text
    assert len(secrets.known) > 8
    assert secrets.found_in(text) == []


async def test_tracebacks_with_texts_are_there_for_who_asks_for_them_by_name(log: io.StringIO) -> None:
    """A developer sees what an exception says; no other level brings it out."""
    logging.getLogger(TRACEBACKS).setLevel(logging.DEBUG)
    try:
        async with open_board(AGENTS) as board, visitors(board) as guests:
            peer = await guests.enter("ada")
            await peer.end_of(await peer.ask(MARK, agent="fails"))
            await peer.leave()
    finally:
        logging.getLogger(TRACEBACKS).setLevel(logging.CRITICAL + 1)
    assert f"RuntimeError: cannot do {MARK}" in log.getvalue()


def test_a_served_node_says_no_more_on_its_terminal(tmp_path: Path) -> None:
    """`callboard serve` in a process of its own: what it writes has no ticket, token or text."""
    with node_process(tmp_path) as node:
        url = node.url
        key = bytes.fromhex((tmp_path / "callboard" / "callboard-dev.key").read_text(encoding="ascii"))
        token = jwt.encode({"alg": "HS256"}, {"sub": "ada", "exp": time() + 600}, OctKey.import_key(key))
        said: list[str] = []

        async def main() -> None:
            async with callboard.connect(url, token=token) as session:
                for agent in ("steps", "fails"):
                    run = await session.send(f"{MARK}?", agent=agent)
                    said.append(run)

        trio.run(main)
        assert len(said) == 2
    text = "\n".join(node.lines)
    assert "serves" in text
    assert [line for line in node.lines if MARK in line or token in line or key.hex() in line] == []
