"""picows on uvloop, a WebSocket library in C: a task for each connection, `send` for each event."""

import asyncio

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import Gate, arguments, serving

TASK = arguments()


class Connection(WSListener):
    def __init__(self, path: str, gate: Gate) -> None:
        self.pieces = pieces(path)
        self.gate = gate
        self.task: asyncio.Task[None] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.task = asyncio.create_task(self.say(transport))

    async def say(self, transport: WSTransport) -> None:
        a, b, c = self.pieces
        await self.gate.wait()
        for number in range(1, TASK.events + 1):
            transport.send(WSMsgType.TEXT, f"{a}{number}{b}{number}{c}".encode())
            if number % TASK.burst == 0:
                await asyncio.sleep(0)


async def main() -> None:
    gate = Gate(TASK.clients)

    def factory(request: WSUpgradeRequest) -> WSListener:
        return Connection(request.path.decode(), gate)

    server = await ws_create_server(factory, "127.0.0.1", 0)
    serving(server.sockets[0].getsockname()[1])
    await server.serve_forever()


uvloop.run(main())
