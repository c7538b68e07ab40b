"""How many connections each address has. Knows neither sockets nor headers."""

from __future__ import annotations

from collections import Counter

from .hosts import address_block

__all__ = ["AddressCounts"]


class AddressCounts:
    """Counts by address; of IPv6 the first 64 bits are one address. What has no address, as a pipe, is not counted."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many addresses have any."""
        return len(self._open)

    def enter(self, address: str) -> int:
        """Count one more; gives how many there are now, 0 for what is not counted."""
        block = address_block(address)
        if not block:
            return 0
        self._open[block] += 1
        return self._open[block]

    def leave(self, address: str) -> None:
        """Count one less of what `enter` has counted."""
        block = address_block(address)
        if block:
            self._open[block] -= 1
            if not self._open[block]:
                del self._open[block]
