"""python-socketio under uvicorn on uvloop, WebSocket transport only: a room for each client, `emit` for each event."""

import asyncio
import json
import socket

import socketio  # type: ignore[import-untyped]
import uvicorn

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import Gate, arguments, serving

TASK = arguments()
gate = Gate(TASK.clients)
server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], http_compression=False)
tasks: set[asyncio.Task[None]] = set()


async def say(sid: str, name: str) -> None:
    event = json.loads("1".join(pieces(name)))
    await gate.wait()
    for number in range(1, TASK.events + 1):
        event["seq"] = number
        await server.emit("event", event, to=sid)
        if number % TASK.burst == 0:
            await asyncio.sleep(0)


@server.on("go")  # type: ignore[untyped-decorator]
async def go(sid: str, name: str) -> None:
    task = asyncio.create_task(say(sid, name))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
serving(listener.getsockname()[1])
config = uvicorn.Config(
    socketio.ASGIApp(server), loop="uvloop", ws="websockets-sansio", ws_per_message_deflate=False, log_level="error"
)
uvicorn.Server(config).run([listener])
