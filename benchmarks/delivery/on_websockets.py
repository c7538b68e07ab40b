"""websockets' asyncio server: a handler for each connection, `send` for each event. No compression, as for all here."""

import asyncio

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import Gate, arguments, serving

TASK = arguments()


async def main() -> None:
    gate = Gate(TASK.clients)

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        a, b, c = pieces(socket.request.path)
        try:
            await socket.recv()
            await gate.wait()
            for number in range(1, TASK.events + 1):
                await socket.send(f"{a}{number}{b}{number}{c}")
                if number % TASK.burst == 0:
                    await asyncio.sleep(0)
            await socket.wait_closed()
        except ConnectionClosed:
            pass

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        serving(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
