"""Tickets, against a model that keeps every ticket for ever and looks up what it was."""

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import (
    Grant,
    Ids,
    IssueTicket,
    Limits,
    SessionKey,
    TakeTicket,
    TicketBook,
    TicketOffice,
    TicketRefused,
    TicketsWaiting,
    TooManyTickets,
)
from callboard.runtime import open_system

LIMITS = Limits(ticket_seconds=30.0, ticket_memory_seconds=300.0, tickets_per_user=3, tickets=5)
USERS = ("ada", "bob", "eve")
ORIGINS = (None, "https://one.example", "https://two.example")


def grant(user: str) -> Grant:
    """What a ticket of this user opens."""
    return Grant(SessionKey(user))


@attrs.define
class Issued:
    user: str
    origin: str | None
    at: float
    taken_at: float | None = None
    revoked: bool = False

    def waits(self, now: float) -> bool:
        return self.taken_at is None and now < self.at + 30.0

    def why_not(self, now: float) -> str:
        why, since = ("used", self.taken_at) if self.taken_at is not None else ("expired", self.at + 30.0)
        why = "revoked" if self.revoked else why
        return why if now < since + 300.0 else "invalid"


operations = st.lists(
    st.one_of(
        st.tuples(st.just("issue"), st.sampled_from(USERS), st.sampled_from(ORIGINS)),
        st.tuples(st.just("revoke"), st.sampled_from(USERS), st.none()),
        st.tuples(st.just("take"), st.integers(0, 12), st.sampled_from(ORIGINS)),
        st.tuples(st.just("pass"), st.sampled_from((0.5, 10.0, 29.5, 30.0, 299.5, 300.0)), st.none()),
    ),
    max_size=40,
)


# S12 S13
@settings(max_examples=200)
@given(operations)
def test_a_ticket_opens_once_in_time_from_its_origin(program: list[tuple[str, object, str | None]]) -> None:
    """S12. Red if a ticket opens twice, late or from elsewhere, is refused for a wrong reason, or is miscounted."""
    book, now, issued = TicketBook(LIMITS), 1_000.0, dict[str, Issued]()
    for what, subject, origin in program:
        waiting = [ticket for ticket in issued.values() if ticket.waits(now)]
        if what == "pass":
            assert isinstance(subject, float)
            now += subject
        elif what == "revoke":
            assert isinstance(subject, str)
            revoked = [ticket for ticket in waiting if ticket.user == subject]
            assert book.revoke(subject, now) == len(revoked)
            for gone in revoked:
                gone.taken_at, gone.revoked = now, True
        elif what == "issue":
            assert isinstance(subject, str)
            name = f"ticket {len(issued)}"
            own = sum(ticket.user == subject for ticket in waiting)
            if own >= 3 or len(waiting) >= 5:
                with pytest.raises(TooManyTickets):
                    book.issue(name, grant(subject), origin, now)
            else:
                book.issue(name, grant(subject), origin, now)
                issued[name] = Issued(subject, origin, now)
        else:
            name = f"ticket {subject}"
            ticket = issued.get(name)
            if ticket is not None and ticket.waits(now) and ticket.origin == origin:
                assert book.take(name, origin, now) == grant(ticket.user)
                ticket.taken_at = now
                continue
            with pytest.raises(TicketRefused) as refused:
                book.take(name, origin, now)
            if ticket is None:
                assert refused.value.reason == "invalid"
            elif ticket.waits(now):
                assert refused.value.reason == "foreign"
                ticket.taken_at = now
            elif len(issued) <= LIMITS.tickets:
                # Beyond that many the oldest spent ones are forgotten, and then they are invalid, which opens nothing.
                assert refused.value.reason == ticket.why_not(now)
            else:
                assert refused.value.reason in (ticket.why_not(now), "invalid")


def test_a_ticket_expires_exactly_at_its_bound() -> None:
    """S12. Red if the bound itself is still good, or the moment before it is not."""
    book = TicketBook(LIMITS)
    book.issue("early", grant("ada"), None, 0.0)
    assert book.take("early", None, 29.999) == grant("ada")
    book.issue("late", grant("ada"), None, 100.0)
    with pytest.raises(TicketRefused, match="expired"):
        book.take("late", None, 130.0)


def test_a_ticket_shown_from_elsewhere_is_burnt() -> None:
    """S12. Red if a thief's try leaves the ticket good for its owner, or for the thief."""
    book = TicketBook(LIMITS)
    book.issue("t", grant("ada"), "https://one.example", 0.0)
    with pytest.raises(TicketRefused, match="foreign"):
        book.take("t", "https://two.example", 1.0)
    with pytest.raises(TicketRefused, match="used"):
        book.take("t", "https://one.example", 1.0)


def test_spent_tickets_are_told_for_five_minutes_and_kept_in_bounds() -> None:
    """S13. Red if what is remembered of spent tickets has no end in time or number."""
    book = TicketBook(LIMITS)
    for index in range(50):
        book.issue(f"t{index}", grant("ada"), None, 0.0)
        book.take(f"t{index}", None, 0.0)
    book.issue("next", grant("ada"), None, 0.0)
    assert len(book._spent) <= LIMITS.tickets
    with pytest.raises(TicketRefused, match="used"):
        book.take("t49", None, 299.0)
    with pytest.raises(TicketRefused, match="invalid"):
        book.take("t49", None, 300.0)
    assert not book._per_user, "a count of nothing stays behind"


def test_tickets_are_kept_as_hashes_only() -> None:
    """S12. Red if what is in memory would open a connection."""
    book = TicketBook(LIMITS)
    book.issue("secret words", grant("ada"), None, 0.0)
    assert "secret words" not in repr(vars(book))
    with pytest.raises(TicketRefused):
        book.take("\ud800", None, 0.0)


async def test_a_restarted_office_knows_no_ticket() -> None:
    """S12. Red if a ticket outlives the office, or the office does not come back."""
    async with open_system("t") as system:
        ids = Ids(lambda n: bytes(range(n)))
        office = await system.spawn(lambda: TicketOffice(LIMITS, ids), id="tickets")
        ticket = await office.ask_async(IssueTicket(grant("ada"), None))
        assert await office.ask_async(TicketsWaiting()) == 1
        office.kill()
        with pytest.raises(TicketRefused, match="invalid"):
            await office.ask_async(TakeTicket(ticket, None))
        ticket = await office.ask_async(IssueTicket(grant("ada"), None))
        await trio.sleep(30)
        with pytest.raises(TicketRefused, match="expired"):
            await office.ask_async(TakeTicket(ticket, None))
        assert "TakeTicket" in repr(TakeTicket(ticket, None))
        assert ticket not in repr(TakeTicket(ticket, None))
