"""Every limit of a node in one frozen object (law S13), each default with its reason."""

from __future__ import annotations

import math
from typing import Any

import attrs

__all__ = ["Limits"]


def _positive(default: float) -> Any:
    # What has no end bounds nothing.
    return attrs.field(default=default, validator=[attrs.validators.gt(0), attrs.validators.lt(math.inf)])


@attrs.frozen(kw_only=True)
class Limits:
    """What a node bounds. Seconds and bytes unless the name says otherwise."""

    # -- one message of a client
    frame_bytes: int = _positive(65_536)
    """A client's message in UTF-8 bytes; OWASP's advice for WebSockets is 64 KB or less."""
    fragments: int = _positive(64)
    """Frames that a message may come in: browsers send one, and empty ones would cost memory that no byte counts."""
    depth: int = _positive(32)
    """Nesting of maps and lists in a client's message and in an event's data."""
    commands_per_s: float = _positive(20.0)
    """Commands of one connection in the long run; a person types none of twenty a second."""
    burst: int = _positive(40)
    """Commands of one connection at once, after a quiet time; WebSocket's own pings and pongs have a share as large."""

    # -- one session
    runs: int = _positive(4)
    """Runs that may be open in a session at the same time."""
    run_seconds: float = _positive(600.0)
    """How long a run may take before its supervisor ends it with `agent_error` code ``deadline``."""
    history: int = _positive(1_000)
    """Records that a connection gets which names no position."""
    context_exchanges: int = _positive(50)
    """Earlier messages with their answers that an agent finds in `message.history`."""
    event_bytes: int = _positive(262_144)
    """One event's data, encoded; larger results belong into a store, with a link in the event."""
    window_bytes: int = _positive(262_144)
    """Encoded bytes that one run may have emitted and that are not durable yet; at the bound `emit` waits."""
    undurable_bytes: int = _positive(2_097_152)
    """Bytes of one session that are not durable yet; at the bound commands get ``store_unavailable``."""
    tail_records: int = _positive(1_024)
    """Newest records that a session keeps in memory; older ones are read from the journal."""
    tail_bytes: int = _positive(1_048_576)
    """The same in bytes; the newest record is kept whatever its size."""
    retained_records: int = _positive(10_000)
    """Newest records that the journal keeps of one session; older ones become a `gap`."""
    retained_bytes: int = _positive(16_777_216)
    """Newest bytes of records that a journal on disk keeps of one session; 10,000 records of 1.6 KB."""
    retained_seconds: float = _positive(7_776_000.0)
    """How long a journal on disk keeps a record: 90 days."""
    snapshot_records: int = _positive(1_000)
    """Records after which a session writes down what it has made of them: how many are read when it comes back."""
    publication_seconds: float = _positive(86_400.0)
    """How long a publication over HTTP is known by its service and key, and gets its first answer: 24 hours, in which
    whoever repeats it has come through, or somebody looks after it."""
    publications: int = _positive(4_096)
    """Publications of one service that a session knows; at the bound new keys are refused until the oldest has expired.
    About 1 MB in memory. In the long run it allows one in 21 s; whoever needs more makes `publication_seconds` less."""
    publishing_services: int = _positive(16)
    """Services of which a session knows publications."""
    journal_bytes: int = _positive(1_073_741_824)
    """Bytes that the memory journal keeps in all; beyond it appends get ``store_unavailable``."""
    journal_queue_bytes: int = _positive(67_108_864)
    """Bytes of all sessions that wait for a journal on disk; beyond it appends get ``store_unavailable``."""
    store_seconds: float = _positive(10.0)
    """How long the journal may take to answer one append; then the session starts anew from what is durable."""
    idle_seconds: float = _positive(120.0)
    """How long a session without connections and runs stays in memory; Akka's default."""
    quarantine_seconds: float = _positive(60.0)
    """How long a session that failed too often rests before it may be started again."""

    sessions_per_user: int = _positive(1_000)
    """Sessions that a user may make by naming them in a ticket's request: each takes room in the journal for good, and
    is listed. About so many, as tickets that wait are not counted; the platform itself may make more."""

    # -- connections
    connections_per_user: int = _positive(16)
    """Open connections of one user on this node: tabs and devices."""
    hellos_per_s: float = _positive(1.0)
    """Connections that a user may open in the long run, as each costs a look into the journal and a replay; at once may
    come four times `connections_per_user`, as all tabs of a user do behind a restart, and perhaps again."""
    connections_per_address: int = _positive(1_024)
    """Open connections of one address, of IPv6 the first 64 bits: an office behind one address, and a twentieth of what
    the node takes in all."""
    connections: int = _positive(20_000)
    """Open TCP connections of the node."""
    head_seconds: float = _positive(5.0)
    """How long a request's head and body may take to arrive; a slow sender holds no connection."""
    keep_alive_seconds: float = _positive(30.0)
    """How long an HTTP connection may be idle between two requests."""
    head_bytes: int = _positive(16_384)
    """A request's head; what trio-websocket and h11 take."""
    body_bytes: int = _positive(16_384)
    """A request's body; the largest request of the API is far smaller."""
    requests_per_s: float = _positive(10.0)
    """HTTP requests of one user's tokens in the long run, ten times as many at once: some read from the journal."""
    publications_per_s: float = _positive(1_000.0)
    """Publications of one service on this node in the long run, and as many at once: it speaks in many sessions."""
    hello_seconds: float = _positive(5.0)
    """From the upgrade to the `hello`."""
    heartbeat_seconds: float = _positive(25.0)
    """A `ping` goes out after so long without sending; below the usual 30 to 60 s of proxies."""
    timeout_seconds: float = _positive(10.0)
    """Who hears nothing for heartbeat and time-out together closes."""
    write_seconds: float = _positive(15.0)
    """How long a socket may take none of what is to be written before it is cut."""
    close_seconds: float = _positive(2.0)
    """How long the peer may take to answer a close."""
    batch_bytes: int = _positive(65_536)
    """How much of its backlog a connection puts into one message; also what it holds of it in memory."""
    outbox_bytes: int = _positive(262_144)
    """Results and errors that wait for a socket; a client that commands and never reads is cut there."""

    # -- workers of remote agents
    workers: int = _positive(256)
    """Processes that do runs for this node."""
    worker_seconds: float = _positive(10.0)
    """How long a worker whose connection was lost may take to come back; then its runs are another's, or end."""
    worker_queue: int = _positive(64)
    """Runs of one agent that wait for a worker; beyond it a run ends with `agent_error` code ``busy``."""
    worker_wait_seconds: float = _positive(30.0)
    """How long a run waits for a worker; then it ends with ``no_worker``."""

    # -- tickets
    ticket_seconds: float = _positive(30.0)
    """How long a ticket waits to be used."""
    tickets_per_user: int = _positive(64)
    """Unused tickets of one user: some for each of the connections that the user may have."""
    tickets: int = _positive(100_000)
    """Unused tickets of the node; some 20 MB."""
    ticket_memory_seconds: float = _positive(300.0)
    """How long used and expired tickets are told apart."""

    # -- the node
    drain_seconds: float = _positive(10.0)
    """How long open runs may go on after a stop was asked for."""
    thread_calls: int = _positive(256)
    """Calls of other threads and loops that a board in a thread works on at once; more wait at their callers."""
    threads: int = _positive(256)
    """Threads of agents that are stock pykka actors, those left behind included: 64 sessions with all their runs.
    Beyond it such an agent ends its run with `agent_error` code ``busy``."""
