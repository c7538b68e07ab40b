"""The wire protocol `callboard.v1` without any I/O, shared by the server and the Python client."""

# General layout, bottom up:
#
#   closecodes, errors          the numbered catalogue; what can be wrong with a frame
#   messages, limits            names, types and bounds of everything on the wire
#   depth, codec, frames        text to message and back; text to WebSocket frame
#   states                      both ends' state tables
#   bucket, heartbeat           how often a client may speak; when it is pinged and given up
#   server, server_events       the server's end of a connection
#   position, open_commands     which records a client applies; what it repeats
#   client, client_events       the client's end

from .bucket import TokenBucket
from .client import ACK_INTERVAL_SECONDS, ClientProtocol
from .client_events import (
    Applied,
    ClientEvent,
    GapSeen,
    GoawayReceived,
    MustReconnect,
    ProtocolErrorReceived,
    ResultReceived,
    Send,
    Welcomed,
)
from .closecodes import MAX_REASON_BYTES, CloseCode, Verdict, clip_reason, verdict
from .codec import decode_client, decode_server, encode, events_parts
from .errors import BadFrame, FrameTooBig, LocalStateError, TooManyCommands, UnknownType, WireError
from .frames import frame_size, text_frame
from .limits import limits_on_wire, milliseconds
from .messages import (
    MAX_INTEGER,
    SUBPROTOCOL,
    Ack,
    ClientMessage,
    Command,
    CommandError,
    Events,
    Gap,
    Goaway,
    Hello,
    Limits,
    Ping,
    Pong,
    ProtocolError,
    Result,
    ServerMessage,
    Start,
    Welcome,
    WireRecord,
)
from .open_commands import KEPT_RESULTS
from .server import ServerProtocol
from .server_events import (
    AckReceived,
    Answer,
    CommandReceived,
    HelloReceived,
    Ignored,
    PongReceived,
    Refused,
    SendPing,
    ServerEvent,
)
from .states import CLIENT_TABLE, SERVER_TABLE, ClientInput, ClientState, ServerInput, ServerState

__all__ = [
    "ACK_INTERVAL_SECONDS",
    "CLIENT_TABLE",
    "KEPT_RESULTS",
    "MAX_INTEGER",
    "MAX_REASON_BYTES",
    "SERVER_TABLE",
    "SUBPROTOCOL",
    "Ack",
    "AckReceived",
    "Answer",
    "Applied",
    "BadFrame",
    "ClientEvent",
    "ClientInput",
    "ClientMessage",
    "ClientProtocol",
    "ClientState",
    "CloseCode",
    "Command",
    "CommandError",
    "CommandReceived",
    "Events",
    "FrameTooBig",
    "Gap",
    "GapSeen",
    "Goaway",
    "GoawayReceived",
    "Hello",
    "HelloReceived",
    "Ignored",
    "Limits",
    "LocalStateError",
    "MustReconnect",
    "Ping",
    "Pong",
    "PongReceived",
    "ProtocolError",
    "ProtocolErrorReceived",
    "Refused",
    "Result",
    "ResultReceived",
    "Send",
    "SendPing",
    "ServerEvent",
    "ServerInput",
    "ServerMessage",
    "ServerProtocol",
    "ServerState",
    "Start",
    "TokenBucket",
    "TooManyCommands",
    "UnknownType",
    "Verdict",
    "Welcome",
    "Welcomed",
    "WireError",
    "WireRecord",
    "clip_reason",
    "decode_client",
    "decode_server",
    "encode",
    "events_parts",
    "frame_size",
    "limits_on_wire",
    "milliseconds",
    "text_frame",
    "verdict",
]
