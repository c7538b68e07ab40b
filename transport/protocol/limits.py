"""What the wire tells of a node's limits. Their values, reasons and checks stand in `Limits` of the actors."""

from __future__ import annotations

from ...actors import Limits as NodeLimits
from .messages import Limits

__all__ = ["limits_on_wire", "milliseconds"]


def limits_on_wire(limits: NodeLimits) -> Limits:
    """The map that `welcome` tells the client."""
    return Limits(
        frame_bytes=limits.frame_bytes,
        depth=limits.depth,
        commands_per_s=limits.commands_per_s,
        burst=limits.burst,
        runs=limits.runs,
        history=limits.history,
    )


def milliseconds(seconds: float) -> int:
    """Seconds as the wire carries them."""
    return round(seconds * 1000)
