"""The outside: one port for HTTP and WebSocket, tickets, tokens, the command line and the composition root.

General layout: `protocol/` is the wire without I/O; `outbox`, `streams` and `connection` are one WebSocket;
`accepting`, `entrance`, `http` and `api` are the HTTP side; `auth` and `keys` say who somebody is, `forwarded` who
asks by proxy, `names` and `hosts` what the node is called; `per_address` and `per_user` count; `tls` reads
certificates; `selection` says which actors an operator sees; `worker_connection` is the WebSocket of a worker of remote
agents; `board` joins all of it, `in_thread` runs it beside another program; `client/` is the Python client, `agents/` a
worker in Python, `verify/` and `simulation/` judge a node from outside; `config` reads settings and `cli` is the
command line. Only `board` and `cli` construct things.
"""

from . import agents
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
    "agents",
    "connect",
    "open_board",
    "open_in_thread",
]
