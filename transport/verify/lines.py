"""What is checked: each line of the table, what it claims, and what is timed with it.

Also what no client can see from outside, so that a table without a failure is not read as more than it is. This file
knows no sockets and judges nothing.
"""

from __future__ import annotations

from enum import Enum, unique

__all__ = ["BEYOND", "Line"]


@unique
class Line(Enum):
    """One line of the table. `title` is the claim, `timed` what its latencies measure, empty if nothing."""

    title: str
    timed: str

    # The defaults serve type checkers only, for which `Line("x")` is a call of this.
    def __new__(cls, value: str, title: str = "", timed: str = "") -> Line:
        """Make a member of its name on the wire of `--json`, its claim and what is timed."""
        member = object.__new__(cls)
        member._value_ = value
        member.title = title
        member.timed = timed
        return member

    # -- login and tickets
    ENTRY = "entry", "everybody gets in, and nobody is closed unasked", "ticket"
    TOKENS = "tokens", "no token, or a bad one: 401", "request"
    ALG_NONE = "alg-none", "a token with alg none: 401", "request"
    USED = "used", "a used ticket: 4301", "hello to close"
    FORGED = "forged", "a forged ticket: 4302", "hello to close"
    EXPIRED = "expired", "an expired ticket: 4300", "hello to close"
    FOREIGN = "foreign", "a ticket of another origin: 4303, and burnt", "hello to close"
    ORIGIN = "origin", "a foreign origin: 4005", "hello to close"
    RACE = "race", "a ticket raced by sockets: exactly one wins", ""
    # -- connections
    BEFORE_WELCOME = "before-welcome", "nothing before welcome", "hello to welcome"
    SECOND_HELLO = "second-hello", "a second hello: 4002", "hello to close"
    UNKNOWN_TYPE = "unknown-type", "an unknown `t` is answered, and it goes on", "frame to answer"
    FRAMES = "frames", "every frame is of the protocol's form", ""
    # -- streams
    OWN = "own", "own records only", ""
    CONTIGUOUS = "contiguous", "seq is contiguous from welcome.from on", ""
    IDENTICAL = "identical", "all devices see the same, byte for byte", "message to first event"
    MERGED = "merged", "merged deltas say what the single ones say", ""
    IDS = "ids", "record ids are unique", ""
    # -- runs
    GRAMMAR = "grammar", "the run grammar is legal", ""
    TOOL_PAIRS = "tool-pairs", "tool calls are paired by call id", ""
    TERMINAL = "terminal", "one terminal event for each run, the last", "message to end of run"
    CANCEL = "cancel", "cancel ends an open run: agent_cancelled", "cancel to end of run"
    CANCEL_ENDED = "cancel-ended", "cancel of another: ended, unknown_run", ""
    DISCONNECT = "disconnect", "a closed socket cancels nothing", ""
    # -- commands
    ANSWERED = "answered", "every command gets its result", "command to result"
    POSITION = "position", "result.seq is where agent_started stands", ""
    REPEAT = "repeat", "a repeated command id: the same run, once", "command to result"
    CONFLICT = "conflict", "a command id with another body: id_conflict", ""
    # -- coming back
    RESUME = "resume", "a cut socket resumes without loss or repeat", "hello to welcome"
    FIRST = "first", 'start "first": a new device sees all', "ticket to last record"
    LAST = "last", "start {last: n}: exactly n records", ""
    # -- apart from each other
    NAMES = "names", "another name is another session", ""
    LISTED = "listed", "GET /v1/sessions: the caller's own only", "request"
    SLOW = "slow", "a client that reads nothing delays nobody", "message to first event"
    # -- after all have left
    CONNECTIONS_BACK = "connections-back", "afterwards connections as at the beginning", ""
    TICKETS_BACK = "tickets-back", "afterwards tickets as at the beginning", ""
    RUNS_BACK = "runs-back", "afterwards open runs as at the beginning", ""
    TASKS_BACK = "tasks-back", "afterwards tasks as at the beginning", ""
    REGISTRY = "registry", "registry entries are the live sessions", ""


BEYOND = (
    "durability: nothing is killed, so what a crash or a restart of the node leaves is not seen",
    "time-outs that take long: heartbeat, run deadline, passivation, the end of a login",
    "limits: frame size, rates, connections of a user or an address",
    "draining and goaway: the node is not stopped",
    "retention: no session is filled until its oldest records go",
)
"""What is not checked at all, whatever the node. The first of it is what goes on through restarts."""
