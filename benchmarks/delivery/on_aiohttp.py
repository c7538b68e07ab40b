"""aiohttp's server on uvloop: a handler for each connection, `send_str` for each event. No compression."""

import asyncio

import uvloop
from aiohttp import web

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import Gate, arguments, serving

TASK = arguments()


async def main() -> None:
    gate = Gate(TASK.clients)

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        a, b, c = pieces(request.path)
        await socket.receive()
        await gate.wait()
        for number in range(1, TASK.events + 1):
            await socket.send_str(f"{a}{number}{b}{number}{c}")
            if number % TASK.burst == 0:
                await asyncio.sleep(0)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/{name}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    serving(runner.addresses[0][1])
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
