"""callboard: a session runtime for agent platforms.

Each user session is an isolated, supervised actor; one registry routes agent events to it; it orders them, makes them
durable, and delivers them once and in order to all of the user's browsers over WebSockets.

::

    async with callboard.open(agents={"echo": Echo}, port=8765, key=key) as board:
        await board.wait_closed()
"""

__version__ = "0.1.0"

from .actors import (
    Agent,
    AgentError,
    App,
    AsyncioAgent,
    BlockingMessage,
    BlockingReceipt,
    CommandRefused,
    Exchange,
    Journal,
    JournalRefused,
    Limits,
    MemoryJournal,
    Message,
    Position,
    Receipt,
    Session,
    SessionKey,
    SqliteJournal,
)
from .runtime import Actor, ActorExited, AsyncioActor, ProcessActor, Ref, Refusal
from .transport import (
    AsyncioBoard,
    Board,
    Client,
    CommandFailed,
    ConfigError,
    SessionClosed,
    ThreadedBoard,
    TicketDenied,
    TokenRefused,
    Unreachable,
    connect,
    open_in_thread,
)
from .transport import open_board as open

__all__ = [
    "Actor",
    "ActorExited",
    "Agent",
    "AgentError",
    "App",
    "AsyncioActor",
    "AsyncioAgent",
    "AsyncioBoard",
    "BlockingMessage",
    "BlockingReceipt",
    "Board",
    "Client",
    "CommandFailed",
    "CommandRefused",
    "ConfigError",
    "Exchange",
    "Journal",
    "JournalRefused",
    "Limits",
    "MemoryJournal",
    "Message",
    "Position",
    "ProcessActor",
    "Receipt",
    "Ref",
    "Refusal",
    "Session",
    "SessionClosed",
    "SessionKey",
    "SqliteJournal",
    "ThreadedBoard",
    "TicketDenied",
    "TokenRefused",
    "Unreachable",
    "__version__",
    "connect",
    "open",
    "open_in_thread",
]
