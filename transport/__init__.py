"""The outside: one port for HTTP and WebSocket, tickets, tokens, the command line and the composition root.

General layout: `protocol/` is the wire without I/O; `outbox`, `streams` and `connection` are one WebSocket; `entrance`,
`http` and `api` are the HTTP side; `auth` says who somebody is, `forwarded` who asks by proxy, `names` what the node is
called; `tls` reads certificates; `board` joins all of it; `client/` is the Python client; `config` reads settings and
`cli` is the command line. Only `board` and `cli` construct things.
"""

from .auth import Authenticator, Identity
from .board import Board, DrainReport, Revocation, open_board
from .client import Client, CommandFailed, SessionClosed, TicketDenied, Unreachable, connect
from .errors import ConfigError, ListenError, Problem, TokenRefused
from .http import Request, Response
from .in_thread import AsyncioBoard, BoardInThread, EventStream, ThreadedBoard, open_in_thread
from .tls import FileCertificate

__all__ = [
    "AsyncioBoard",
    "Authenticator",
    "Board",
    "BoardInThread",
    "Client",
    "CommandFailed",
    "ConfigError",
    "DrainReport",
    "EventStream",
    "FileCertificate",
    "Identity",
    "ListenError",
    "Problem",
    "Request",
    "Response",
    "Revocation",
    "SessionClosed",
    "ThreadedBoard",
    "TicketDenied",
    "TokenRefused",
    "Unreachable",
    "connect",
    "open_board",
    "open_in_thread",
]
