"""Something that happens again and again, and whoever waits for what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["News"]


class News:
    """Tells all who wait that something has changed."""

    def __init__(self) -> None:
        self._next = trio.Event()

    def tell(self) -> None:
        """Something has changed."""
        told, self._next = self._next, trio.Event()
        told.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while True:
            # Before the look: what changes after it is heard.
            news = self._next
            if true():
                return
            await news.wait()
