"""The Python client: `connect` and what it gives and raises."""

# General layout, bottom up:
#
#   urls, errors          which addresses; what can go wrong
#   dialing               a stream to a node
#   tickets, sockets      one ticket over HTTP; one WebSocket
#   way                   the two together, as a port
#   backlog, commands     what waits to be taken; what waits for its result
#   course, connection    one connection, from its hello to its end
#   backoff, keeper       how long to wait; from connection to connection
#   client, opening       the face; `connect`, where the parts are joined

from ..protocol import Gap, TooManyCommands, WireRecord
from .backlog import Item, Position, Reset
from .backoff import Backoff
from .client import Client, ClientStatistics
from .dialing import StreamOpener
from .errors import CommandFailed, SessionClosed, TicketDenied, Unreachable
from .opening import connect, open_client
from .sockets import Closed, Socket, hold_socket, open_socket
from .tickets import NoTicketNow, Ticket, TokenSource, ask_token, get_ticket
from .urls import agents_url
from .way import Link, NetworkWay, TokenSourceFailed, Way

__all__ = [
    "Backoff",
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
    "StreamOpener",
    "Ticket",
    "TicketDenied",
    "TokenSource",
    "TokenSourceFailed",
    "TooManyCommands",
    "Unreachable",
    "Way",
    "WireRecord",
    "agents_url",
    "ask_token",
    "connect",
    "get_ticket",
    "hold_socket",
    "open_client",
    "open_socket",
]
