"""Ids: derived where they must be found again, random where they must not be guessed.

Randomness comes in as a function, so that one seed gives one run (law A12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs

__all__ = ["Ids", "SessionKey", "session_id"]

# 200 characters hold any name that a person gives, and keep log lines and answers short.
MAX_NAME = 200


def _name(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise ValueError(f"{attribute.name} is {value!r:.80}; it has to be 1 to {MAX_NAME} printable characters")


@attrs.frozen
class SessionKey:
    """Whose session it is, and what that user calls it. `id` is the session's id."""

    user: str = attrs.field(validator=_name)
    name: str = attrs.field(default="main", validator=_name)
    # Derived once: a connection's way to its session asks for it fifteen times.
    id: str = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "id", session_id(self.user, self.name))


def session_id(user: str, name: str) -> str:
    """Derive a session's id from its user and name: 32 hex digits.

    A hash, so that the id is found again after any restart and no two pairs share one; the lengths go in, so that
    ``("ab", "c")`` and ``("a", "bc")`` differ. It is an address, not a secret: nothing is ever opened by knowing it.
    """
    digest = hashlib.sha256(b"callboard session")
    for part in (user.encode("utf-8", "surrogatepass"), name.encode("utf-8", "surrogatepass")):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


class Ids:
    """Random ids from one source of random bytes."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def run(self) -> str:
        """A run's id: 128 bits, 32 hex digits."""
        return self._random_bytes(16).hex()

    def connection(self) -> str:
        """A connection's id: 64 bits, 16 hex digits."""
        return self._random_bytes(8).hex()

    def epoch(self) -> str:
        """An epoch: 64 bits, 16 hex digits."""
        return self._random_bytes(8).hex()

    def ticket(self) -> str:
        """A ticket: 256 bits, 64 hex digits."""
        return self._random_bytes(32).hex()
