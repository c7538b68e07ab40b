"""Sessions, runs and their actors: what callboard is about.

General layout, bottom-up: `errors`, `limits`, `ids`, `events`, `grammar`, `commands`, `publications`, `log`, `merging`
and `runs` are plain data and rules; `journal` is the port to durability, implemented by `memory_journal` and
`sqlite_journal` (with its parts `sqlite_schema`, `sqlite_store`, `sqlite_forget`), `ledger` a session's write-ahead,
`snapshots` what it writes down of itself; `messages` is what the actors say to each other; `agent`, `asyncio_agent`,
`thread_agent` and `remote_agent` (with `workers`, who do its runs), `session` (with its parts `attachments`,
`command_desk`, `publication_desk`, `run_keeper`, and `session_node`, what it gets of its node), `supervisor`,
`registry`, `recovery` and `tickets` are the actors; `app` is what a platform brings, `node` joins it all. All of it
knows the actor kernel, and no WebSocket, HTTP, command line or environment.
"""

from .agent import Agent, Receipt
from .app import App
from .asyncio_agent import AsyncioAgent
from .commands import CommandEntry, CommandMemory, Result, Verdict
from .errors import (
    AgentError,
    CommandRefused,
    EventRefused,
    Fenced,
    GrammarError,
    InvalidEvent,
    JournalInUse,
    JournalRefused,
    PublicationConflict,
    RunEnded,
    SessionQuarantined,
    StoreFailed,
    StoreUnavailable,
    TicketRefused,
    TooManyPublications,
    TooManyTickets,
    UnknownRun,
)
from .events import TERMINALS, Event, Position, Record, check_json
from .grammar import RunGrammar
from .ids import Ids, SessionKey, session_id
from .journal import Appended, Batch, Done, Journal, Opened, Snapshot, Token
from .ledger import Ledger
from .limits import Limits
from .log import Behind, Log, LogGap
from .memory_journal import MemoryJournal
from .merging import merge_deltas
from .messages import (
    Attach,
    Attached,
    CloseReason,
    Connection,
    Detach,
    Exchange,
    Locate,
    Message,
    Mode,
    PublishAlone,
    PublishOnce,
    ReleaseSession,
    Route,
    RunCommand,
    StartFrom,
)
from .node import Node
from .publications import Publication, PublicationMemory
from .registry import Registry, RegistryEntries, ReportEntries, ask_session
from .remote_agent import Remote, RemoteAgent
from .runs import OpenRun, Runs
from .session import Session
from .session_node import RunObserver, SessionNode
from .sqlite_forget import forget_user
from .sqlite_journal import Durability, SqliteJournal
from .supervisor import SessionSupervisor
from .thread_agent import BlockingMessage, BlockingReceipt
from .tickets import Grant, IssueTicket, RevokeTickets, TakeTicket, TicketBook, TicketOffice, TicketsWaiting
from .workers import WINDOW, Assignment, BrokenRule, Ended, Said, Worker, WorkerLine, WorkerLost, Workers

__all__ = [
    "TERMINALS",
    "WINDOW",
    "Agent",
    "AgentError",
    "App",
    "Appended",
    "Assignment",
    "AsyncioAgent",
    "Attach",
    "Attached",
    "Batch",
    "Behind",
    "BlockingMessage",
    "BlockingReceipt",
    "BrokenRule",
    "CloseReason",
    "CommandEntry",
    "CommandMemory",
    "CommandRefused",
    "Connection",
    "Detach",
    "Done",
    "Durability",
    "Ended",
    "Event",
    "EventRefused",
    "Exchange",
    "Fenced",
    "GrammarError",
    "Grant",
    "Ids",
    "InvalidEvent",
    "IssueTicket",
    "Journal",
    "JournalInUse",
    "JournalRefused",
    "Ledger",
    "Limits",
    "Locate",
    "Log",
    "LogGap",
    "MemoryJournal",
    "Message",
    "Mode",
    "Node",
    "OpenRun",
    "Opened",
    "Position",
    "Publication",
    "PublicationConflict",
    "PublicationMemory",
    "PublishAlone",
    "PublishOnce",
    "Receipt",
    "Record",
    "Registry",
    "RegistryEntries",
    "ReleaseSession",
    "Remote",
    "RemoteAgent",
    "ReportEntries",
    "Result",
    "RevokeTickets",
    "Route",
    "RunCommand",
    "RunEnded",
    "RunGrammar",
    "RunObserver",
    "Runs",
    "Said",
    "Session",
    "SessionKey",
    "SessionNode",
    "SessionQuarantined",
    "SessionSupervisor",
    "Snapshot",
    "SqliteJournal",
    "StartFrom",
    "StoreFailed",
    "StoreUnavailable",
    "TakeTicket",
    "TicketBook",
    "TicketOffice",
    "TicketRefused",
    "TicketsWaiting",
    "Token",
    "TooManyPublications",
    "TooManyTickets",
    "UnknownRun",
    "Verdict",
    "Worker",
    "WorkerLine",
    "WorkerLost",
    "Workers",
    "ask_session",
    "check_json",
    "forget_user",
    "merge_deltas",
    "session_id",
]
