"""An agent that calculates exactly: a stock `pykka.ThreadingActor`, whose blocking code runs on a thread of its own.

Run it with ``callboard serve --dev --app callboard.examples.calculator:board``; what to try stands in its README.

General layout, bottom up: `expressions` (fractions from text), `primes` (a computation that can take very long, in
steps), `agent` (the actor).
"""

from __future__ import annotations

from callboard import App

from .agent import Calculator

__all__ = ["Calculator", "board"]

board = App(agents={"calculator": Calculator})
