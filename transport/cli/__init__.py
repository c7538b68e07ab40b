"""The command line: `callboard demo`, `serve` and `token`."""

from .main import main

__all__ = ["main"]
