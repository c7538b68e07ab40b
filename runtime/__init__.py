"""The actor kernel: actors, refs, mailboxes and supervisors on trio.

General layout, bottom-up: `errors`, `tracebacks`, `deadletters`, `timers`, `waits` (who waits for whom) and
`supervision` (what to do about a failure, as pure functions) stand alone; `reply` (futures), `mailbox`, `ref` and
`cell` are the mechanism,
`family` the children of a cell, `together` the restarts of siblings; `actor` is what authors subclass; `calls`,
`bridge` and `threads` are for stock pykka actors, `asyncio_host` and `asyncio_actor` for asyncio code, `process_actor`
and `process_child` for processes, `portal` is a way in for other programs; `system` runs it all, coroutines in `tasks`;
`started` is pykka's
`start()`; `inspection` and `lookout` let others see inside; `testing` is for tests of actors. Knows trio, pykka, attrs
and the standard library, and nothing of sessions, sockets, JSON, files or configuration.
"""

from .actor import Actor, Supervisor
from .asyncio_actor import AsyncioActor
from .asyncio_host import AsyncioHost, in_trio
from .calls import cancelled
from .cell import ActorExited
from .deadletters import DeadLetter, DeadLetters, DeathReason
from .errors import (
    AskCycle,
    AskTimeout,
    CutShort,
    Killed,
    MailboxFull,
    NotRunning,
    Refusal,
    RestartsExhausted,
    WouldBlock,
)
from .inspection import ActorStatistics, SlowHandler, SystemStatistics
from .mailbox import Overflow
from .portal import Gate, Portal
from .process_actor import ProcessActor
from .ref import Ref
from .reply import Reply, ReplyAddress, loop_of_this_thread
from .supervision import Backoff, ChildSpec, Exit, ExitKind, Plan, Restart, Strategy, Supervision, decide
from .system import ActorSystem, open_system
from .timers import Timer, Timers
from .tracebacks import TRACEBACKS, log_traceback, places

__all__ = [
    "TRACEBACKS",
    "Actor",
    "ActorExited",
    "ActorStatistics",
    "ActorSystem",
    "AskCycle",
    "AskTimeout",
    "AsyncioActor",
    "AsyncioHost",
    "Backoff",
    "ChildSpec",
    "CutShort",
    "DeadLetter",
    "DeadLetters",
    "DeathReason",
    "Exit",
    "ExitKind",
    "Gate",
    "Killed",
    "MailboxFull",
    "NotRunning",
    "Overflow",
    "Plan",
    "Portal",
    "ProcessActor",
    "Ref",
    "Refusal",
    "Reply",
    "ReplyAddress",
    "Restart",
    "RestartsExhausted",
    "SlowHandler",
    "Strategy",
    "Supervision",
    "Supervisor",
    "SystemStatistics",
    "Timer",
    "Timers",
    "WouldBlock",
    "cancelled",
    "decide",
    "in_trio",
    "log_traceback",
    "loop_of_this_thread",
    "open_system",
    "places",
]
