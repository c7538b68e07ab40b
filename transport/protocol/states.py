"""The state tables of both ends: for each state, what follows from each input.

A server's entry is the next state, or the close code that ends the connection. A pair that is missing cannot
be caused by a peer: it is a bug of the caller.

A client's entry is the next state, or None where the message is dropped. Its table has every pair.

This file knows no messages, times or limits; `server.py` and `client.py` turn those into inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from .closecodes import CloseCode

__all__ = ["CLIENT_TABLE", "SERVER_TABLE", "ClientInput", "ClientState", "ServerInput", "ServerState"]


class ServerState(Enum):
    """Where a connection stands."""

    AWAIT_HELLO = auto()
    AWAIT_VERDICT = auto()
    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


class ServerInput(Enum):
    """What can happen to a connection: a frame, a limit that was passed, or a word of the caller."""

    HELLO = auto()
    ACK = auto()
    COMMAND = auto()
    PONG = auto()
    UNKNOWN_TYPE = auto()
    BAD_FRAME = auto()
    TOO_BIG = auto()
    HELLO_LATE = auto()
    FLOOD = auto()
    SILENCE = auto()
    WELCOME = auto()
    DRAIN = auto()
    CLOSE = auto()


# A frame that cannot be read ends the connection in every state but CLOSED.
_UNREADABLE: Final = {ServerInput.BAD_FRAME: CloseCode.BAD_FRAME, ServerInput.TOO_BIG: CloseCode.TOO_BIG}

# Nothing is sent before welcome, so an unknown type cannot be answered then, nor a goaway be said.
_BEFORE_WELCOME: Final[dict[ServerInput, ServerState | CloseCode]] = {
    ServerInput.HELLO: CloseCode.HELLO,
    ServerInput.ACK: CloseCode.HELLO,
    ServerInput.COMMAND: CloseCode.HELLO,
    ServerInput.PONG: CloseCode.HELLO,
    ServerInput.UNKNOWN_TYPE: CloseCode.HELLO,
    **_UNREADABLE,
    ServerInput.DRAIN: CloseCode.DRAINING,
    ServerInput.CLOSE: ServerState.CLOSED,
}


def _welcomed(state: ServerState) -> dict[ServerInput, ServerState | CloseCode]:
    return {
        ServerInput.HELLO: CloseCode.HELLO,
        ServerInput.ACK: state,
        ServerInput.COMMAND: state,
        ServerInput.PONG: state,
        ServerInput.UNKNOWN_TYPE: state,
        **_UNREADABLE,
        ServerInput.FLOOD: CloseCode.RATE,
        ServerInput.SILENCE: CloseCode.HEARTBEAT_LOST,
        ServerInput.DRAIN: ServerState.DRAINING,
        ServerInput.CLOSE: ServerState.CLOSED,
    }


SERVER_TABLE: Final[Mapping[ServerState, Mapping[ServerInput, ServerState | CloseCode]]] = MappingProxyType(
    {
        ServerState.AWAIT_HELLO: _BEFORE_WELCOME
        | {
            ServerInput.HELLO: ServerState.AWAIT_VERDICT,
            ServerInput.HELLO_LATE: CloseCode.HELLO_LATE,
        },
        ServerState.AWAIT_VERDICT: _BEFORE_WELCOME | {ServerInput.WELCOME: ServerState.OPEN},
        ServerState.OPEN: _welcomed(ServerState.OPEN),
        # A draining connection delivers, takes commands (what becomes of them is the session's side) and beats.
        ServerState.DRAINING: _welcomed(ServerState.DRAINING),
        # Only words of the caller come here: frames that still arrive are ignored unread.
        ServerState.CLOSED: {
            ServerInput.DRAIN: ServerState.CLOSED,
            ServerInput.CLOSE: ServerState.CLOSED,
        },
    }
)


class ClientState(Enum):
    """Where the client stands; BROKEN is a connection that it was told to close."""

    DISCONNECTED = auto()
    AWAIT_WELCOME = auto()
    OPEN = auto()
    BROKEN = auto()


class ClientInput(Enum):
    """What can happen: a word of the caller, a message, or the breach of a rule."""

    SAY_HELLO = auto()
    CLOSE = auto()
    WELCOME = auto()
    EVENTS = auto()
    GAP = auto()
    RESULT = auto()
    ERROR = auto()
    PING = auto()
    GOAWAY = auto()
    UNKNOWN_TYPE = auto()
    BAD_FRAME = auto()
    BREACH = auto()
    SILENCE = auto()


_CALLER: Final[dict[ClientInput, ClientState | None]] = {
    ClientInput.SAY_HELLO: ClientState.AWAIT_WELCOME,
    ClientInput.CLOSE: ClientState.DISCONNECTED,
}
# Without a connection every message is late news from one that is over.
_DEAF: Final = _CALLER | {given: None for given in ClientInput if given not in _CALLER}

CLIENT_TABLE: Final[Mapping[ClientState, Mapping[ClientInput, ClientState | None]]] = MappingProxyType(
    {
        ClientState.DISCONNECTED: _DEAF,
        # A server says nothing before welcome: whatever else can be read comes from the connection before.
        ClientState.AWAIT_WELCOME: _DEAF
        | {
            ClientInput.WELCOME: ClientState.OPEN,
            ClientInput.BAD_FRAME: ClientState.BROKEN,
        },
        ClientState.OPEN: _CALLER
        | {
            ClientInput.WELCOME: ClientState.BROKEN,
            ClientInput.EVENTS: ClientState.OPEN,
            ClientInput.GAP: ClientState.OPEN,
            ClientInput.RESULT: ClientState.OPEN,
            ClientInput.ERROR: ClientState.OPEN,
            ClientInput.PING: ClientState.OPEN,
            ClientInput.GOAWAY: ClientState.OPEN,
            # A newer server's message.
            ClientInput.UNKNOWN_TYPE: None,
            ClientInput.BAD_FRAME: ClientState.BROKEN,
            ClientInput.BREACH: ClientState.BROKEN,
            ClientInput.SILENCE: ClientState.BROKEN,
        },
        ClientState.BROKEN: _DEAF,
    }
)
