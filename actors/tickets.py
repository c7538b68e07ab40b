"""Tickets: short-lived, single-use rights to open one connection. The rules (`TicketBook`) know no clock and no actor.

A ticket is kept as its hash only. It is taken, never looked at: taking it is the one way to learn what it opens, and
the second taker is told ``used`` (law S12: whatever is not a valid ticket opens nothing).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, ClassVar

import attrs
import trio

from ..runtime import Actor
from .errors import TicketRefused, TooManyTickets
from .ids import Ids, SessionKey
from .limits import Limits

__all__ = ["Grant", "IssueTicket", "RevokeTickets", "TakeTicket", "TicketBook", "TicketOffice", "TicketsWaiting"]


@attrs.frozen
class Grant:
    """What a ticket opens: one connection to the session `key`, until `expires_at`.

    `expires_at` is the end of the issuer's own token in Unix seconds; the connection ends with it. None: no end.
    """

    key: SessionKey
    expires_at: float | None = None


@attrs.frozen
class IssueTicket:
    """Ask for a ticket, for the origin that asks; None for a client that is no browser. The answer is the ticket."""

    grant: Grant
    origin: str | None


@attrs.frozen(repr=False)
class TakeTicket:
    """Ask what a ticket opens, using it up. The answer is a `Grant`; refusals are `TicketRefused`."""

    ticket: str
    origin: str | None


@attrs.frozen
class RevokeTickets:
    """Take back all unused tickets of a user. The answer is how many there were."""

    user: str


@attrs.frozen
class TicketsWaiting:
    """Ask how many tickets are unused."""


@attrs.frozen
class _Waiting:
    grant: Grant
    origin: str | None
    until: float


class TicketBook:
    """The tickets of one node. `now` is in seconds of any clock that does not run backwards."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        self._per_user: dict[str, dict[bytes, None]] = {}
        # Hash → why it opens nothing any more, and until when that is remembered. In order of entry, which is nearly
        # that of time: what stands behind a younger one takes room a little longer, but is not told any more.
        self._spent: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def issue(self, ticket: str, grant: Grant, origin: str | None, now: float) -> None:
        """Enter a ticket. Raises TooManyTickets."""
        self._expire(now)
        user = grant.key.user
        if len(self._per_user.get(user, ())) >= self._limits.tickets_per_user:
            raise TooManyTickets(f"{self._limits.tickets_per_user} tickets of this user wait to be used")
        if len(self._waiting) >= self._limits.tickets:
            raise TooManyTickets(f"{self._limits.tickets} tickets of this node wait to be used")
        key = _hash(ticket)
        self._per_user.setdefault(user, {})[key] = None
        self._waiting[key] = _Waiting(grant, origin, now + self._limits.ticket_seconds)

    def take(self, ticket: str, origin: str | None, now: float) -> Grant:
        """Use a ticket up and say what it opens. Raises TicketRefused.

        It is good for less than `ticket_seconds`; for `ticket_memory_seconds` after its use or its end it is told why
        it opens nothing, then it is ``invalid`` like one that never was. A ticket that a browser asked for is good from
        that origin only; shown from another one, it is burnt.
        """
        self._expire(now)
        key = _hash(ticket)
        found = self._waiting.get(key)
        if found is None:
            why, until = self._spent.get(key, ("invalid", 0.0))
            raise TicketRefused(why if now < until else "invalid")
        self._remove(key, "used", now)
        if found.origin != origin:
            raise TicketRefused("foreign")
        return found.grant

    def revoke(self, user: str, now: float) -> int:
        """Take back all tickets of a user that wait, and give their number; whoever shows one is told ``revoked``."""
        self._expire(now)
        keys = list(self._per_user.get(user, ()))
        for key in keys:
            self._remove(key, "revoked", now)
        return len(keys)

    def _expire(self, now: float) -> None:
        # All tickets live equally long, so the oldest stand first.
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if now < oldest.until:
                break
            self._remove(key, "expired", oldest.until)
        while self._spent:
            key, (_, until) = next(iter(self._spent.items()))
            if now < until and len(self._spent) <= self._limits.tickets:
                break
            del self._spent[key]

    def _remove(self, key: bytes, why: str, since: float) -> None:
        user = self._waiting.pop(key).grant.key.user
        del self._per_user[user][key]
        if not self._per_user[user]:
            del self._per_user[user]
        self._spent[key] = (why, since + self._limits.ticket_memory_seconds)


class TicketOffice(Actor):
    """The one actor that issues and takes tickets; a restart forgets all of them."""

    mailbox_capacity: ClassVar[int] = 16_384

    def __init__(self, limits: Limits, ids: Ids) -> None:
        super().__init__()
        self._book = TicketBook(limits)
        self._ids = ids

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        now = trio.current_time()
        match message:
            case IssueTicket(grant, origin):
                ticket = self._ids.ticket()
                self._book.issue(ticket, grant, origin, now)
                return ticket
            case TakeTicket(ticket, origin):
                return self._book.take(ticket, origin, now)
            case RevokeTickets(user):
                return self._book.revoke(user, now)
            case TicketsWaiting():
                return len(self._book)
            case _:
                raise TypeError(f"the ticket office does not know {type(message).__name__}")


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
