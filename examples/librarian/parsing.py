"""`ast.parse` for programs with threads.

CPython 3.11 keeps the depth of the tree that it builds in one place for all threads (python/cpython issue 106905): two
threads that parse at the same time can make each other fail with a SystemError about a depth mismatch, and nothing is
wrong with the source. Here one of our threads parses at a time; for the others of the process, which ask nobody, one
such failure is no verdict yet.
"""

from __future__ import annotations

import ast
import threading

__all__ = ["parse_source"]

_one_at_a_time = threading.Lock()


def parse_source(text: str | bytes) -> ast.Module:
    """Parse a module's source. Raises what `ast.parse` raises: SyntaxError, ValueError and their like."""
    with _one_at_a_time:
        try:
            return ast.parse(text)
        except SystemError:
            return ast.parse(text)
