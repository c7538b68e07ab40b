"""trio-websocket alone, as its README shows it: a handler for each connection, which says what it is told to.

With the collector tuned as `callboard serve` tunes it. Prints where it serves.
"""

from __future__ import annotations

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from ..delivery.payload import AT, RUN, TYPE, WORDS
from ..delivery.peer import serving
from .pacing import Order, Pacemaker

pacemaker = Pacemaker()


async def serve(request: WebSocketRequest) -> None:
    """Serve one client: each message is an order."""
    name = request.path.rpartition("/")[2]
    socket = await request.accept()
    number = 0
    try:
        while True:
            order = Order(str(await socket.get_message()))
            async for moment in pacemaker.moments(order):
                number += 1
                await socket.send_message(
                    f'{{"seq":{number},"at":{AT},"id":"{RUN}/{number}","type":"{TYPE}","run":"{RUN}",'
                    f'"data":{{"text":"{name} {moment:.6f} {WORDS}"}}}}'
                )
    except ConnectionClosed:
        pass


async def main() -> None:
    """Serve until killed."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        serving(server.port)


if __name__ == "__main__":
    trio.run(main)
