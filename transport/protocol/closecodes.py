"""The numbered catalogue of close codes: why a connection ended, and what its client does next.

The ranges carry the meaning, so that a client acts rightly on a code that was added after it was written:

    4000-4099   do not retry
    4100-4199   back off (at least 1 s, full jitter, cap 20 s), then resume
    4200-4299   reconnect now and resume
    4300-4399   get a new ticket, then reconnect

This file knows nothing of sockets, tickets or timers: it names codes and verdicts, others act on them.
"""

from __future__ import annotations

from enum import Enum, IntEnum, unique

__all__ = ["MAX_REASON_BYTES", "CloseCode", "Verdict", "clip_reason", "verdict"]

# RFC 6455 section 5.5: a control frame carries at most 125 bytes, of which the close code takes two.
MAX_REASON_BYTES = 123


@unique
class CloseCode(IntEnum):
    """A close code that the server sends; `reason` is the phrase that goes with it."""

    reason: str

    # The default serves type checkers only, for which `CloseCode(4001)` is a call of this.
    def __new__(cls, value: int, reason: str = "") -> CloseCode:
        """Make a member of its number and its reason phrase."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.reason = reason
        return member

    # Do not retry: the same client would be refused again. (4003 and 4004 are kept free: no node of 0.1 says them.)
    VERSION = 4000, "protocol version not supported"
    BAD_FRAME = 4001, "bad frame"
    HELLO = 4002, "hello must be the first frame, once, and nothing before welcome"
    FORBIDDEN = 4003, "forbidden"
    SESSION_GONE = 4004, "session gone"
    ORIGIN = 4005, "origin not allowed"
    REVOKED = 4006, "access revoked"
    TOO_BIG = 4007, "frame too big"
    SUPERSEDED = 4008, "superseded by a newer connection of the same device"
    # Back off, then resume.
    INTERNAL = 4100, "internal error"
    OVERLOADED = 4101, "overloaded"
    RATE = 4102, "too many frames"
    TOO_MANY_CONNECTIONS = 4103, "too many connections"
    STORE_UNAVAILABLE = 4104, "store unavailable"
    HELLO_LATE = 4105, "hello too late"
    # Reconnect now and resume.
    DRAINING = 4200, "node is draining"
    HEARTBEAT_LOST = 4201, "heartbeat lost"
    WRITE_STALLED = 4202, "write stalled"
    # Get a new ticket, then reconnect.
    EXPIRED = 4300, "ticket or login expired"
    USED = 4301, "ticket already used"
    INVALID = 4302, "ticket invalid"
    FOREIGN = 4303, "ticket was issued to another origin"


class Verdict(Enum):
    """What a client does after a connection ended; the value says it in words."""

    DO_NOT_RETRY = "tell the user and stay closed"
    BACK_OFF = "wait at least 1 s with full jitter, at most 20 s, then resume"
    RESUME_NOW = "reconnect at once and resume"
    NEW_TICKET = "get a new ticket, then reconnect and resume"
    RESUME_WITH_JITTER = "reconnect after a short random wait and resume"


_BY_RANGE = {
    40: Verdict.DO_NOT_RETRY,
    41: Verdict.BACK_OFF,
    42: Verdict.RESUME_NOW,
    43: Verdict.NEW_TICKET,
}

_REGISTERED = {
    1001: Verdict.RESUME_WITH_JITTER,  # going away
    1012: Verdict.RESUME_WITH_JITTER,  # service restart
    1013: Verdict.BACK_OFF,  # try again later
    # No close frame came (RFC 6455 section 7.4.1): the way was cut, which says nothing about the node.
    1005: Verdict.RESUME_WITH_JITTER,
    1006: Verdict.RESUME_WITH_JITTER,
    # Sent by the WebSocket library itself about what this client wrote: it would write it again.
    1002: Verdict.DO_NOT_RETRY,
    1007: Verdict.DO_NOT_RETRY,
    1009: Verdict.DO_NOT_RETRY,
}


def verdict(code: int) -> Verdict:
    """Say what a client does after its connection was closed with `code`.

    Codes of the four ranges follow their range, known or not. Any other code that is not registered here
    means back off: that neither storms the node nor gives the session up.
    """
    return _REGISTERED.get(code) or _BY_RANGE.get(code // 100, Verdict.BACK_OFF)


def clip_reason(text: str) -> str:
    """Cut `text` at a character's edge to the `MAX_REASON_BYTES` UTF-8 bytes that a close frame can carry."""
    return text.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
