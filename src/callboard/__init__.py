"""callboard: a session runtime for agent platforms.

Each user session is an isolated, supervised actor; one registry routes agent events to it; it orders them, makes them
durable, and delivers them once and in order to all of the user's browsers over WebSockets.

::

    async with callboard.open(agents={"echo": Echo}, port=8765, key=key) as board:
        await board.wait_closed()
"""

__version__ = "0.1.0"

import importlib
import typing

# Who uses one layer does not load those above it, which are half of the whole in time and objects: names are fetched
# when they are asked for (PEP 562). Type checkers read the imports.
if typing.TYPE_CHECKING:
    from .actors import (
        Agent,
        AgentError,
        App,
        AsyncioAgent,
        BlockingMessage,
        BlockingReceipt,
        CommandRefused,
        EventRefused,
        Exchange,
        GrammarError,
        InvalidEvent,
        Journal,
        JournalRefused,
        Limits,
        MemoryJournal,
        Message,
        Position,
        Receipt,
        Record,
        Remote,
        RunEnded,
        Session,
        SessionKey,
        SessionQuarantined,
        SqliteJournal,
        StoreUnavailable,
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
        agents,
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
    "EventRefused",
    "Exchange",
    "GrammarError",
    "InvalidEvent",
    "Journal",
    "JournalRefused",
    "Limits",
    "MemoryJournal",
    "Message",
    "Position",
    "ProcessActor",
    "Receipt",
    "Record",
    "Ref",
    "Refusal",
    "Remote",
    "RunEnded",
    "Session",
    "SessionClosed",
    "SessionKey",
    "SessionQuarantined",
    "SqliteJournal",
    "StoreUnavailable",
    "ThreadedBoard",
    "TicketDenied",
    "TokenRefused",
    "Unreachable",
    "__version__",
    "agents",
    "connect",
    "open",
    "open_in_thread",
]

_LAYERS = ("runtime", "actors", "transport")

if not typing.TYPE_CHECKING:  # it would have them take any name for one of ours

    def __getattr__(name: str) -> typing.Any:
        if name in _LAYERS:
            return importlib.import_module(f".{name}", __name__)
        if name in __all__:
            of_layer = "open_board" if name == "open" else name
            for layer in _LAYERS:
                module = importlib.import_module(f".{layer}", __name__)
                if of_layer in module.__all__:
                    globals()[name] = value = getattr(module, of_layer)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
