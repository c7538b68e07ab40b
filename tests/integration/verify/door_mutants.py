"""Nodes whose door does not hold: tokens, tickets, origins, names, the list of sessions, and the registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio

import callboard
from callboard.actors import (
    Grant,
    Ids,
    IssueTicket,
    Limits,
    MemoryJournal,
    Registry,
    RegistryEntries,
    ReportEntries,
    SessionKey,
    TakeTicket,
    TicketBook,
    TicketOffice,
    TicketRefused,
    TicketsWaiting,
)
from callboard.transport import Authenticator, Identity, TokenRefused
from callboard.transport.verify import Line
from tests.integration.verify.nodes import KEY, SHORT_TICKET, Mutant

__all__ = ["DOOR_MUTANTS"]

Wire = Callable[[callboard.Board], Awaitable[None]]


class BrokenOffice(TicketOffice):
    """A ticket office with its rules at hand."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, Ids(os.urandom))


def _office(office: type[BrokenOffice]) -> Wire:
    async def wire(board: callboard.Board) -> None:
        tickets = await board.system.spawn(lambda: office(board.limits), id="broken-tickets")
        board.node = attrs.evolve(board.node, tickets=tickets)

    return wire


class LetsInTwice(BrokenOffice):
    """A used ticket is good again after a while."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.taken: dict[str, tuple[Grant, float]] = {}

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, TakeTicket):
            return super().on_receive(message)
        grant, at = self.taken.get(message.ticket, (None, 0.0))
        if grant is not None and trio.current_time() - at > 0.25:
            return grant
        grant = super().on_receive(message)
        self.taken[message.ticket] = (grant, trio.current_time())
        return grant


class ForgetsWhatWasUsed(BrokenOffice):
    """Whoever comes again is told that there never was such a ticket."""

    def on_receive(self, message: Any) -> Any:
        try:
            return super().on_receive(message)
        except TicketRefused as refused:
            raise TicketRefused("invalid" if refused.reason == "used" else refused.reason) from None


class LetsAnybodyIn(BrokenOffice):
    """Who has no good ticket is a guest."""

    def on_receive(self, message: Any) -> Any:
        try:
            return super().on_receive(message)
        except TicketRefused as refused:
            if refused.reason != "invalid":
                raise
            return Grant(SessionKey("guest"))


class NeverLetsExpire(BrokenOffice):
    def __init__(self, limits: Limits) -> None:
        super().__init__(attrs.evolve(limits, ticket_seconds=1_000_000.0))


class _AnyOrigin(TicketBook):
    def take(self, ticket: str, origin: str | None, now: float) -> Grant:
        waiting = self._waiting.get(hashlib.sha256(ticket.encode()).digest())
        return super().take(ticket, waiting.origin if waiting is not None else origin, now)


class IgnoresTheOrigin(BrokenOffice):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._book = _AnyOrigin(limits)


class LooksThenTakes(BrokenOffice):
    """Looks whether a ticket is good, and takes it a moment later: who comes in between is let in too."""

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, TakeTicket):
            return super().on_receive(message)
        waiting = self._book._waiting.get(hashlib.sha256(message.ticket.encode()).digest())
        if waiting is None or waiting.origin != message.origin:
            return super().on_receive(message)
        grant, reply = waiting.grant, self.defer_reply()

        def take() -> None:
            with suppress(TicketRefused):  # the other one was faster; both are told that it is good
                self._book.take(message.ticket, message.origin, trio.current_time())
            reply.offer(grant)

        self.system.timers.call_later(0.05, take)
        return None


class KnowsOneNameOnly(BrokenOffice):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, IssueTicket):
            key = SessionKey(message.grant.key.user)
            message = attrs.evolve(message, grant=attrs.evolve(message.grant, key=key))
        return super().on_receive(message)


class CountsTicketsOnly(BrokenOffice):
    """Never takes a ticket off its count."""

    issued = 0

    def on_receive(self, message: Any) -> Any:
        self.issued += isinstance(message, IssueTicket)
        return self.issued if isinstance(message, TicketsWaiting) else super().on_receive(message)


def _part(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class BelievesAnySignature(Authenticator):
    def verify(self, token: str) -> Identity:
        try:
            return super().verify(token)
        except TokenRefused:
            head, _, rest = token.partition(".")
            if not rest or _part(head)["alg"] != "HS256":
                raise
            return Identity(_part(rest.partition(".")[0])["sub"], frozenset(), 1e12)


class BelievesNoSignature(Authenticator):
    def verify(self, token: str) -> Identity:
        head, _, rest = token.partition(".")
        if rest and _part(head)["alg"] == "none":
            return Identity(_part(rest.partition(".")[0])["sub"], frozenset(), 1e12)
        return super().verify(token)


def _authenticator(kind: type[Authenticator]) -> Wire:
    async def wire(board: callboard.Board) -> None:
        await trio.lowlevel.checkpoint()
        board._authenticator = kind(KEY, board.wall_clock)

    return wire


async def _any_page(board: callboard.Board) -> None:
    await trio.lowlevel.checkpoint()
    vars(board)["origin_allowed"] = lambda origin: True


class ListsEverybody(MemoryJournal):
    async def sessions(self, user: str) -> Sequence[SessionKey]:
        await trio.lowlevel.checkpoint()
        return [stream.key for stream in self._streams.values()]


class KeepsItsEntries(Registry):
    """Who asks for a session that has left gets a new one; but the entry of the old one stays."""

    def on_receive(self, message: Any) -> Any:
        answer = super().on_receive(message)
        if isinstance(message, ReportEntries):
            assert isinstance(answer, RegistryEntries)
            self.seen = {**getattr(self, "seen", {}), **answer.sessions}
            return attrs.evolve(answer, sessions=self.seen)
        return answer


DOOR_MUTANTS = (
    Mutant(name="BelievesAnySignature", line=Line.TOKENS, wire=_authenticator(BelievesAnySignature)),
    Mutant(name="BelievesNoSignature", line=Line.ALG_NONE, wire=_authenticator(BelievesNoSignature)),
    Mutant(name="LetsInTwice", line=Line.USED, wire=_office(LetsInTwice)),
    Mutant(name="ForgetsWhatWasUsed", line=Line.USED, wire=_office(ForgetsWhatWasUsed)),
    Mutant(name="LetsAnybodyIn", line=Line.FORGED, wire=_office(LetsAnybodyIn)),
    Mutant(
        name="NeverLetsExpire",
        line=Line.EXPIRED,
        wire=_office(NeverLetsExpire),
        limits={"ticket_seconds": SHORT_TICKET},
    ),
    Mutant(name="IgnoresTheOrigin", line=Line.FOREIGN, wire=_office(IgnoresTheOrigin)),
    Mutant(name="AnyPage", line=Line.ORIGIN, wire=_any_page),
    Mutant(name="LooksThenTakes", line=Line.RACE, wire=_office(LooksThenTakes)),
    Mutant(name="KnowsOneNameOnly", line=Line.NAMES, wire=_office(KnowsOneNameOnly)),
    Mutant(name="CountsTicketsOnly", line=Line.TICKETS_BACK, wire=_office(CountsTicketsOnly)),
    Mutant(name="ListsEverybody", line=Line.LISTED, journal=lambda: ListsEverybody(Ids(os.urandom).epoch)),
    Mutant(name="KeepsItsEntries", line=Line.REGISTRY, registry=KeepsItsEntries, limits={"idle_seconds": 0.2}),
)
