"""Messages that are well formed, for tests to start from."""

import json
from typing import Literal

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import (
    Command,
    Events,
    Hello,
    Welcome,
    WireRecord,
    encode,
    limits_on_wire,
    milliseconds,
)

DEVICE = "0123456789abcdef0123456789abcdef"
EPOCH = "00000000000000e1"
OTHER_EPOCH = "00000000000000e2"
TICKET = "a-ticket"

Mode = Literal["replay", "fresh", "reset"]


def as_text(message: dict[str, object]) -> str:
    """A frame as any other client would write it."""
    return json.dumps(message)


def hello(ticket: str = TICKET) -> str:
    """A first frame."""
    return encode(Hello(ticket=ticket, device=DEVICE, client="test")).decode()


def command(command_id: int) -> str:
    """A command of that id."""
    return encode(Command(id=command_id, op="user_message", data={"text": "hi"})).decode()


def welcome(
    mode: Mode = "fresh",
    *,
    from_seq: int = 1,
    head: int = 0,
    epoch: str = EPOCH,
    last_id: int = 0,
    limits: NodeLimits | None = None,
) -> Welcome:
    """A verdict."""
    limits = limits or NodeLimits()
    return Welcome(
        session="s-1",
        connection="c-1",
        epoch=epoch,
        first=min(1, head),
        head=head,
        from_seq=from_seq,
        mode=mode,
        last_id=last_id,
        heartbeat_ms=milliseconds(limits.heartbeat_seconds),
        timeout_ms=milliseconds(limits.timeout_seconds),
        limits=limits_on_wire(limits),
        server="callboard/test",
    )


def record(seq: int | tuple[int, int]) -> WireRecord:
    """A record with that seq, or merged from that stretch."""
    return WireRecord(seq=seq, id=f"r/{seq}", type="agent_delta", run="r", at=1_700_000_000_000, data={"text": "x"})


def events(*seqs: int | tuple[int, int]) -> bytes:
    """A frame of such records."""
    return encode(Events(tuple(record(seq) for seq in seqs)))
