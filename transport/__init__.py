"""The outside: one port for HTTP and WebSocket, tickets, tokens, the command line and the composition root.

General layout: `protocol/` is the wire without I/O; `outbox`, `streams` and `connection` are one WebSocket; `http` and
`api` are the HTTP side; `auth` says who somebody is; `board` joins all of it; `config` reads settings and `cli` is the
command line. Only `board` and `cli` construct things.
"""

from .auth import Authenticator, Identity
from .board import Board, DrainReport, open_board
from .errors import ConfigError, Problem, TokenRefused
from .http import Request, Response

__all__ = [
    "Authenticator",
    "Board",
    "ConfigError",
    "DrainReport",
    "Identity",
    "Problem",
    "Request",
    "Response",
    "TokenRefused",
    "open_board",
]
