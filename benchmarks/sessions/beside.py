"""The app of the delivery benchmark, served beside any number of sessions that are in memory and idle.

``python -m benchmarks.sessions.beside NUMBER``, with the key in CALLBOARD_KEY. Prints where it serves.
"""

from __future__ import annotations

import os
import sys

import trio

import callboard

from ..delivery.firehose import board as app
from ..delivery.peer import serving

HOURS = 3_600.0


async def main(number: int) -> None:
    """Start the sessions, then serve until killed."""
    limits = callboard.Limits(idle_seconds=24 * HOURS, connections_per_address=20_000, ticket_seconds=600.0)
    async with callboard.open(app, port=0, key=bytes.fromhex(os.environ["CALLBOARD_KEY"]), limits=limits) as board:
        for user in range(number):
            await board.session(f"passive{user}")
        assert (await board.report())["sessions"] == number
        serving(board.port)
        await board.wait_closed()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
