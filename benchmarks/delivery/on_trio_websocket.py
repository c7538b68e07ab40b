"""trio-websocket as its README shows it: a task for each connection, `send_message` for each event."""

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from benchmarks.delivery.payload import pieces
from benchmarks.delivery.peer import arguments, serving

TASK = arguments()


async def main() -> None:
    begin = trio.Event()
    waiting = 0

    async def serve(request: WebSocketRequest) -> None:
        nonlocal waiting
        socket = await request.accept()
        a, b, c = pieces(request.path)
        try:
            await socket.get_message()
            waiting += 1
            if waiting == TASK.clients:
                begin.set()
            await begin.wait()
            # No pause between two bursts: each `send_message` lets the other tasks run.
            for number in range(1, TASK.events + 1):
                await socket.send_message(f"{a}{number}{b}{number}{c}")
            await socket.get_message()
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        serving(server.port)


trio.run(main)
