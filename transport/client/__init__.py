"""The Python client: `connect` and what it gives and raises."""

# General layout, bottom up:
#
#   urls, errors          which addresses; what can go wrong
#   tickets, sockets      one ticket over HTTP; one WebSocket
#   way                   the two together, as a port
#   backlog, commands     what waits to be taken; what waits for its result
#   connection            one connection, from its hello to its end
#   backoff, keeper       how long to wait; from connection to connection
#   client                the face, and `connect`

from ..protocol import Gap, TooManyCommands, WireRecord
from .backlog import Item, Position, Reset
from .client import Client, ClientStatistics, connect, open_client
from .errors import CommandFailed, SessionClosed, TicketDenied, Unreachable
from .sockets import Closed, Socket, hold_socket, open_socket
from .tickets import NoTicketNow, Ticket, TokenSource, ask_token, get_ticket
from .way import Link, NetworkWay, TokenSourceFailed, Way

__all__ = [
    "Client",
    "ClientStatistics",
    "Closed",
    "CommandFailed",
    "Gap",
    "Item",
    "Link",
    "NetworkWay",
    "NoTicketNow",
    "Position",
    "Reset",
    "SessionClosed",
    "Socket",
    "Ticket",
    "TicketDenied",
    "TokenSource",
    "TokenSourceFailed",
    "TooManyCommands",
    "Unreachable",
    "Way",
    "WireRecord",
    "ask_token",
    "connect",
    "get_ticket",
    "hold_socket",
    "open_client",
    "open_socket",
]
