"""The bounds of one connection."""

import pytest

from callboard.transport.protocol import Limits, ProtocolLimits


def test_defaults_are_what_the_protocol_names() -> None:
    """A client written from the protocol's description relies on them."""
    limits = ProtocolLimits()
    assert limits.on_wire() == Limits(frame_bytes=65_536, depth=32, commands_per_s=20, burst=40, runs=4, history=1_000)
    assert (limits.hello_seconds, limits.heartbeat_ms, limits.timeout_ms) == (5, 25_000, 10_000)


@pytest.mark.parametrize(
    "name, value",
    [
        *((name, 0) for name in ("frame_bytes", "depth", "burst", "runs", "history")),
        *((name, 0.0) for name in ("commands_per_s", "hello_seconds", "heartbeat_seconds", "timeout_seconds")),
        ("heartbeat_seconds", float("inf")),
        ("timeout_seconds", float("nan")),
        ("hello_seconds", -1.0),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(name: str, value: float) -> None:
    """The message names the field and the value."""
    with pytest.raises(ValueError, match=f"{name} is {value!r}: it must be"):
        ProtocolLimits(**{name: value})  # type: ignore[arg-type]
