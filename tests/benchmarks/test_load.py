"""The load generator of the delivery benchmark: what its clients let pass, and what they do not."""

import json
from typing import Any

import pytest

from benchmarks.delivery.load import KINDS, Client, Wrong
from benchmarks.delivery.payload import pieces


def client(kind: str) -> tuple[Client, list[Client]]:
    """A client of ann's that waits for three events, and who was done."""
    done: list[Client] = []
    return KINDS[kind]("ann", {"events": 3}, done.append), done


def event(number: int, name: str = "ann") -> bytes:
    """An event as all servers send it."""
    return str(number).join(pieces(f"/{name}")).encode()


def framed(kind: str, *events: bytes) -> list[bytes]:
    """As a server of this kind frames them."""
    if kind == "callboard":
        return [b'{"t":"events","events":[' + b",".join(events) + b"]}"]
    if kind == "socket.io":
        return [b'42["event",' + one + b"]" for one in events]
    if kind == "centrifuge":
        return [b"\n".join(b'{"result":{"channel":"ann","data":{"data":' + one + b"}}}" for one in events)]
    return list(events)


def take(taker: Client, messages: list[bytes]) -> None:
    """Have a client take messages."""
    for message in messages:
        taker.take(memoryview(message))


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_is_done_when_it_has_all(kind: str) -> None:
    """Red if it is done too early, never, or counts messages wrongly."""
    ann, done = client(kind)
    take(ann, framed(kind, event(1), event(2)))
    assert done == []
    take(ann, framed(kind, event(3)))
    assert done == [ann]
    assert ann.messages == len(framed(kind, event(1), event(2))) + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong", [(event(1), event(3)), (event(2),), (event(1), event(1)), (event(1), event(2, "bob"))]
)
def test_a_client_takes_nothing_that_is_not_the_next_of_its_own(kind: str, wrong: tuple[bytes, ...]) -> None:
    """Red if a check of the benchmark cannot fail: one lost, one twice, one of another client's."""
    ann, _ = client(kind)
    with pytest.raises(Wrong):
        take(ann, framed(kind, *wrong))


def test_the_payload_is_as_long_as_a_record_of_callboard() -> None:
    """Red if peers are given less to send."""
    from callboard.actors import Event, Record

    run = "0" * 32
    text: dict[str, Any] = json.loads(event(7))["data"]
    made = Event.make(f"{run}/7", "agent_delta", run, text, max_bytes=1_000, max_depth=8)
    assert len(Record.of(made, 7, 1_767_225_600_000).encoded) == len(event(7))
