"""Taking connections on a machine that may have no room for them.

Where the system gives no descriptor, trio tries again ten times a second, and logs a traceback each time. Here it is
said in a line, and not again for a while: whoever reads the log of a node that is full needs the other lines.
"""

from __future__ import annotations

import errno
import logging
import math

import trio

__all__ = ["PatientListener"]

logger = logging.getLogger("callboard")

# What accept(2) gives where it lacks descriptors, of the process or the system, or memory.
NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
# As often as trio does.
TRY_AGAIN_SECONDS = 0.1
SAY_AGAIN_SECONDS = 60.0


class PatientListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that waits for room where there is none; those who connect meanwhile wait in the system's queue."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._said_at = -math.inf

    async def accept(self) -> trio.SocketStream:
        """Wait for a connection, and for room to take it."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                if trio.current_time() >= self._said_at + SAY_AGAIN_SECONDS:
                    self._said_at = trio.current_time()
                    logger.error("no connections can be taken now: %s; those that are open go on", error.strerror)
            await trio.sleep(TRY_AGAIN_SECONDS)

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()
