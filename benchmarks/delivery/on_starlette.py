"""Starlette under uvicorn on uvloop: an endpoint for each connection, `send_text` for each event. No compression."""

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import Gate, arguments, serving

TASK = arguments()
gate = Gate(TASK.clients)


async def endpoint(websocket: WebSocket) -> None:
    await websocket.accept()
    a, b, c = pieces(websocket.url.path)
    try:
        await websocket.receive_text()
        await gate.wait()
        for number in range(1, TASK.events + 1):
            await websocket.send_text(f"{a}{number}{b}{number}{c}")
            if number % TASK.burst == 0:
                await asyncio.sleep(0)
        await websocket.receive_text()
    except WebSocketDisconnect:
        pass


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
serving(listener.getsockname()[1])
config = uvicorn.Config(
    Starlette(routes=[WebSocketRoute("/{name}", endpoint)]),
    loop="uvloop",
    ws="websockets-sansio",
    ws_per_message_deflate=False,
    log_level="error",
)
uvicorn.Server(config).run([listener])
