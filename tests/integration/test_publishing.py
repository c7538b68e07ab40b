"""A service publishes over HTTP to a real `callboard serve`, which is killed with signal 9 in between."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import trio
from joserfc import jwt
from joserfc.jwk import OctKey

from callboard import SessionKey
from tests.integration.boards import ask_http
from tests.integration.node_process import node_process
from tests.integration.test_restart import client
from tests.integration.test_signals import port_of

SESSION = SessionKey("ada").id


def service_token(folder: Path) -> str:
    """What `callboard token --user billing --scope agent` would print."""
    text = (folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()
    claims = {"sub": "billing", "scope": "agent", "exp": 2**34}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(bytes.fromhex(text)))


async def publish(folder: Path, port: int, key: str, n: int, session: str = SESSION) -> tuple[int, Any]:
    """One attempt: the status and the answer, 0 where the node is not there or went away in the middle."""
    body = json.dumps({"type": "x.paid", "data": {"key": key, "n": n}}).encode()
    head = (
        f"POST /v1/sessions/{session}/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {service_token(folder)}\r\nIdempotency-Key: {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        answer = await ask_http(port, head.encode() + body)
    except OSError:
        return 0, None
    top, _, rest = answer.partition(b"\r\n\r\n")
    return (int(top.split()[1]), json.loads(rest)) if top.startswith(b"HTTP/1.1") else (0, None)


# S5
async def test_a_publication_is_known_by_the_next_node(tmp_path: Path) -> None:
    """Red if a key is forgotten with its process, its answer changes, or the record is there twice."""
    with node_process(tmp_path) as node:
        async with client(node, tmp_path) as peer:
            port = port_of(node)
            assert (await publish(tmp_path, port, "a", 1, session="0" * 32))[0] == 404
            first = await publish(tmp_path, port, "a", 1)
            assert first[0] == 201
            assert await publish(tmp_path, port, "a", 1) == first
            second = await publish(tmp_path, port, "b", 2)
            while len(peer.records) < 2:
                await peer.receive()
            assert [record["id"] for record in peer.records] == [first[1]["id"], second[1]["id"]]
        node.signal(signal.SIGKILL)
        await trio.to_thread.run_sync(node.wait)
    with node_process(tmp_path) as node:
        port = await trio.to_thread.run_sync(lambda: port_of(node))
        assert await publish(tmp_path, port, "b", 2) == second
        assert await publish(tmp_path, port, "a", 1) == first
        assert (await publish(tmp_path, port, "a", 2))[0] == 422
        third = await publish(tmp_path, port, "c", 3)
        assert third[1]["seq"] == 3
        async with client(node, tmp_path, start="first") as peer:
            while len(peer.records) < 3:
                await peer.receive()
            said = [(record["data"]["key"], record["data"]["n"]) for record in peer.records]
            assert said == [("a", 1), ("b", 2), ("c", 3)]


# S5
async def test_publications_under_way_when_the_node_is_killed_are_recorded_once(tmp_path: Path) -> None:
    """Red if what was sent and not answered is lost or doubled, when it is repeated to the next node."""
    answers: dict[str, Any] = {}
    ports: list[int] = []
    all_answered = trio.Event()

    async def repeat(key: str) -> None:
        while key not in answers:
            status, answer = await publish(tmp_path, ports[-1], key, 1)
            assert status in (0, 201, 503)
            if status == 201:
                answers[key] = answer
                if len(answers) == len(keys):
                    all_answered.set()
            else:
                await trio.sleep(0.1)  # between two attempts, as a service would

    keys = [f"key-{number}" for number in range(40)]
    with node_process(tmp_path) as node:
        async with client(node, tmp_path):
            ports.append(port_of(node))
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(repeat, key)
            while not answers:
                await trio.lowlevel.checkpoint()
            node.signal(signal.SIGKILL)
            await trio.to_thread.run_sync(node.wait)
            early = dict(answers)
            with node_process(tmp_path) as again:
                ports.append(await trio.to_thread.run_sync(lambda: port_of(again)))
                with trio.fail_after(60):
                    await all_answered.wait()
                async with client(again, tmp_path, start="first") as peer:
                    while len(peer.records) < len(keys):
                        await peer.receive()
                    assert sorted(record["data"]["key"] for record in peer.records) == sorted(keys)
                    places = {record["id"]: record["seq"] for record in peer.records}
                    assert all(places[answer["id"]] == answer["seq"] for answer in answers.values())
                    for key, answer in early.items():
                        assert (await publish(tmp_path, ports[-1], key, 1))[1] == answer
