"""The calculator as a stock pykka actor: plain blocking code, which a run has a thread for.

It looks at `message.cancelled` between two steps of its work. Nothing would go wrong if it did not, but its thread
would go on calculating for nobody.
"""

from __future__ import annotations

import re
from typing import Any

import pykka

from callboard import AgentError, BlockingMessage

from .expressions import NotUnderstood, calculate, shown
from .primes import factors

__all__ = ["Calculator"]

FACTOR = re.compile(r"\s*factor\s+(\d{1,40})\s*", re.ASCII | re.IGNORECASE)


class Calculator(pykka.ThreadingActor):
    """Calculates ``1/3 + 0.1``, and finds the prime factors of ``factor 360``.

    A division by zero is not caught on purpose: it shows what becomes of an exception that nobody thought of.
    """

    stop_seconds = 2.0
    """What the thread gets to end in when its run was ended from outside; a step takes milliseconds."""

    def on_receive(self, message: BlockingMessage) -> Any:
        """Do the work of one run."""
        wanted = FACTOR.fullmatch(message.text)
        if wanted is not None:
            return self.factor(message, int(wanted[1]))
        try:
            value = message.tool("calculate", {"expression": message.text}, lambda: shown(calculate(message.text)))
        except NotUnderstood as error:
            raise AgentError("not_understood", str(error)) from None
        message.emit("agent_delta", {"text": value})
        return value

    def factor(self, message: BlockingMessage, number: int) -> str | None:
        """Find the prime factors, and say each as it is found."""
        if number < 2:
            raise AgentError("not_understood", f"{number} has no prime factors.")
        message.emit("agent_thinking", {"text": f"Which primes divide {number}?"})
        found: list[str] = []
        for factor in factors(number):
            if message.cancelled:
                return None  # nobody hears it any more
            if factor is not None:
                message.emit("agent_delta", {"text": f"{' × ' if found else ''}{factor}"})  # noqa: RUF001 - a product
                found.append(str(factor))
        return " × ".join(found)  # noqa: RUF001 - a product
