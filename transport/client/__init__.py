"""The Python client: `connect` and what it raises."""

from .client import Client, ClientStatistics, connect
from .errors import CommandFailed, SessionClosed, TicketDenied, Unreachable
from .socket import Closed, Socket, open_socket
from .tickets import Ticket, TokenSource, get_ticket

__all__ = [
    "Client",
    "ClientStatistics",
    "Closed",
    "CommandFailed",
    "SessionClosed",
    "Socket",
    "Ticket",
    "TicketDenied",
    "TokenSource",
    "Unreachable",
    "connect",
    "get_ticket",
    "open_socket",
]
