"""What the wire tells of a node's limits."""

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import Limits, limits_on_wire, milliseconds


def test_defaults_are_what_the_protocol_names() -> None:
    """A client written from the protocol's description relies on them."""
    limits = NodeLimits()
    assert limits_on_wire(limits) == Limits(
        frame_bytes=65_536, depth=32, commands_per_s=20, burst=40, runs=4, history=1_000
    )
    assert limits.hello_seconds == 5
    assert (milliseconds(limits.heartbeat_seconds), milliseconds(limits.timeout_seconds)) == (25_000, 10_000)
