"""The bounds that one connection keeps its client to, each default with its reason.

Knows no configuration source: the composition root reads one and builds this class from it.
"""

from __future__ import annotations

from typing import Any

import attrs

from .messages import Limits

__all__ = ["ProtocolLimits"]


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name} is {value!r}: it must be above 0 and finite")


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} is {value!r}: it must be 1 or more")


@attrs.frozen(kw_only=True)
class ProtocolLimits:
    """What a client may send and how long either end waits.

    Attributes:
        frame_bytes: UTF-8 bytes of one client frame. 64 KiB holds a long message of a person and bounds
            what one connection can make the node parse at a time.
        depth: nested maps and lists, the frame's own map being the first. 32 is far beyond hand-written
            data and far below the interpreter's recursion limit.
        commands_per_s: commands a second in the long run. 20 is faster than anybody types or clicks.
        burst: commands at once after a pause. 40, two seconds' worth, lets a client repeat what it has
            open after a reconnect.
        runs: runs that may be open in a session at once. 4 lets a person work in a few places and
            keeps one user from taking all agents.
        history: records a new connection gets that names no position. 1,000 is a long conversation, and
            about 200 KB.
        hello_seconds: time for the first frame. 5 s covers a slow phone; an idle socket is not worth more.
        heartbeat_seconds: silence before a ping. 25 s stays below the 30 s and 60 s after which common
            proxies cut an idle connection.
        timeout_seconds: time for the answer. 10 s outlasts a change from Wi-Fi to mobile network.
    """

    frame_bytes: int = attrs.field(default=65_536, validator=_at_least_one)
    depth: int = attrs.field(default=32, validator=_at_least_one)
    commands_per_s: float = attrs.field(default=20, validator=_positive)
    burst: int = attrs.field(default=40, validator=_at_least_one)
    runs: int = attrs.field(default=4, validator=_at_least_one)
    history: int = attrs.field(default=1_000, validator=_at_least_one)
    hello_seconds: float = attrs.field(default=5.0, validator=_positive)
    heartbeat_seconds: float = attrs.field(default=25.0, validator=_positive)
    timeout_seconds: float = attrs.field(default=10.0, validator=_positive)

    @property
    def heartbeat_ms(self) -> int:
        """`heartbeat_seconds` as `welcome` carries it."""
        return round(self.heartbeat_seconds * 1000)

    @property
    def timeout_ms(self) -> int:
        """`timeout_seconds` as `welcome` carries it."""
        return round(self.timeout_seconds * 1000)

    def on_wire(self) -> Limits:
        """Return the map that `welcome` tells the client."""
        return Limits(
            frame_bytes=self.frame_bytes,
            depth=self.depth,
            commands_per_s=self.commands_per_s,
            burst=self.burst,
            runs=self.runs,
            history=self.history,
        )
