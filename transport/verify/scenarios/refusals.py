"""What must open nothing: tokens, tickets and origins that are not good, each refused with its own code."""

from __future__ import annotations

import base64
from functools import partial

import attrs
import trio

from ..evidence import Evidence, shorten
from ..lines import Line
from ..story import Story
from ..tickets import Ticket
from ..together import Gate, all_of
from ..world import World

__all__ = ["expired", "foreign", "forged", "races", "tokens", "used", "wrong_origin"]

# A name that no page can have (RFC 6761).
FOREIGN_ORIGIN = "https://pages.invalid"
# A node may let tickets live as long as it likes; longer than this nobody wants to wait for one to end.
EXPIRY_WAIT_SECONDS = 60.0
# `expires_in_s` is a whole number, so the ticket may live up to a second more.
ROUNDING_SECONDS = 1.1
# A used ticket is shown once more after a while: a node must not forget so soon what it has taken.
AGAIN_SECONDS = 0.5
RACERS = 4
# On a busy machine a ticket may expire before it is shown; then another one is tried.
TICKETS = 5


async def tokens(world: World) -> None:
    """Requests without a token, with bad ones, and with one that says it needs no signature."""
    story = world.story(await world.user("token"))
    await _refused(world, story, Line.TOKENS, "no token", None)
    await _refused(world, story, Line.TOKENS, "a token that is none", "nobody")
    parts = story.user.token.split(".")
    if len(parts) != 3:
        world.findings.remark([Line.ALG_NONE], "the token is no signed JWT, so none without a signature can be made")
        return
    head, claims, signature = parts
    strange = _base64(world.random_bytes(max(32, len(signature) * 3 // 4)))
    await _refused(world, story, Line.TOKENS, "a signature of somebody else", f"{head}.{claims}.{strange}")
    other = _base64(b'{"sub":"%b","exp":99999999999}' % world.random_bytes(8).hex().encode("ascii"))
    await _refused(world, story, Line.TOKENS, "claims that were not signed", f"{head}.{other}.{signature}")
    for name in (b"none", b"None", b"NONE"):
        unsigned = _base64(b'{"alg":"%b","typ":"JWT"}' % name)
        for kept in ("", signature):
            await _refused(world, story, Line.ALG_NONE, f"alg {name.decode()}", f"{unsigned}.{claims}.{kept}")


async def _refused(world: World, story: Story, line: Line, what: str, token: str | None) -> None:
    for method, path in (("POST", "/v1/tickets"), ("GET", "/v1/sessions")):
        begun = trio.current_time()
        response = await world.request(method, path, token=token)
        if response.status_code == 401:
            world.findings.passed(line, seconds=trio.current_time() - begun)
            continue
        seen = f"{response.status_code} {response.reason_phrase}"
        expected = f"401 for {what} at {method} {path}"
        world.findings.failed(line, Evidence(expected=expected, seen=seen, frame=shorten(response.text)))
        if response.status_code == 201:
            await world.use_up(story, world.read_ticket(story, response, begun))


async def used(world: World) -> None:
    """A ticket opens one connection: not another one beside it, nor after it."""
    story = world.story(await world.user("used"))
    async with world.join(story, "first") as link:
        ticket = link.ticket
        assert ticket is not None
        await world.knock(story, ticket, Line.USED, 4301, device="second, beside the first")
    await trio.sleep(AGAIN_SECONDS)
    await world.knock(story, ticket, Line.USED, 4301, device="third, after the first")


async def forged(world: World) -> None:
    """Tickets that the node never gave."""
    story = world.story(await world.user("forged"))
    good = await world.ticket(story)
    last = "1" if good.ticket[-1] != "1" else "2"
    try:
        for made_up in (world.random_bytes(32).hex(), good.ticket[:-1] + last):
            await world.knock(story, attrs.evolve(good, ticket=made_up), Line.FORGED, 4302)
    finally:
        await world.use_up(story, good)


async def expired(world: World) -> None:
    """A ticket that is shown after its time."""
    what = "an expired ticket, which takes its time"
    story = world.story(await world.user("expired"))
    ticket = await world.ticket(story)
    if ticket.expires_in_seconds > EXPIRY_WAIT_SECONDS:
        lifetime, bound = ticket.expires_in_seconds, EXPIRY_WAIT_SECONDS
        text = f"tickets live for {lifetime:g} s, and no more than {bound:g} s are waited for"
        world.findings.remark([Line.EXPIRED], text)
        await world.use_up(story, ticket)
        return
    with world.stage(what, 1) as step:
        await trio.sleep(ticket.expires_in_seconds + ROUNDING_SECONDS)
        await world.knock(story, ticket, Line.EXPIRED, 4300)
        step()


async def foreign(world: World) -> None:
    """A ticket is good where it was asked for: from a page's origin, or from no page. Shown elsewhere it is burnt."""
    story = world.story(await world.user("foreign"))
    own = world.own_origin
    asked_at = trio.current_time()
    response = await world.ask_ticket(story, origin=own)
    if response.status_code == 403:
        text = f"the node does not take the origin {own}, by which it was asked, so no ticket of a page was tried"
        world.findings.remark([Line.FOREIGN], text)
        return
    await world.use_up(story, world.read_ticket(story, response, asked_at), origin=own)
    for asked, shown in ((own, None), (None, own)):
        for _ in range(TICKETS):
            if await _shown_elsewhere(world, story, asked, shown):
                break


async def _shown_elsewhere(world: World, story: Story, asked: str | None, shown: str | None) -> bool:
    """Show a ticket from where it was not asked for, then from where it was; whether it was in time."""
    ticket = await world.ticket(story, origin=asked)
    async with world.open(story, f"from {shown or 'no page'}", ticket, origin=shown) as link:
        begun = trio.current_time()
        verdict = await world.verdict(link, ticket)
        if verdict == "4300" and ticket.may_have_expired():
            return False
        link.check(Line.FOREIGN, verdict == "4303", "a close with 4303", seen=verdict)
        world.findings.outcomes[Line.FOREIGN].seconds.append(trio.current_time() - begun)
    async with world.open(story, "owner, too late", ticket, origin=asked) as link:
        verdict = await world.verdict(link, ticket)
        link.check(Line.FOREIGN, verdict.startswith("43"), "a close with 43.., as the ticket is burnt", seen=verdict)
    return True


async def wrong_origin(world: World) -> None:
    """A page of another origin is let in far enough to read why it is refused."""
    story = world.story(await world.user("origin"))
    ticket = await world.ticket(story)
    try:
        await world.knock(story, ticket, Line.ORIGIN, 4005, origin=FOREIGN_ORIGIN, device=f"from {FOREIGN_ORIGIN}")
    finally:
        await world.use_up(story, ticket)


async def races(world: World) -> None:
    """Several sockets present one ticket at the same time."""
    await all_of([partial(_race, world) for _ in range(world.plan.few)])


async def _race(world: World) -> None:
    story = world.story(await world.user("race"))
    verdicts: list[str] = []
    for _ in range(TICKETS):
        ticket = await world.ticket(story)
        verdicts = await _verdicts(world, story, ticket)
        if set(verdicts) != {"4300"} or not ticket.may_have_expired():
            break
    if verdicts.count("welcome") == 1 and "silence" not in verdicts:
        world.findings.passed(Line.RACE)
        return
    expected = f"one welcome, and {RACERS - 1} refusals"
    world.findings.failed(Line.RACE, Evidence(expected=expected, seen=", ".join(verdicts), user=story.user.name))


async def _verdicts(world: World, story: Story, ticket: Ticket) -> list[str]:
    """What becomes of several sockets that are open, and show the same ticket in the same moment."""
    gate, verdicts = Gate(RACERS), list[str]()

    async def racer(number: int) -> None:
        async with world.open(story, f"racer {number}", ticket) as link:
            await gate.wait(number, world.seconds)
            verdicts.append(await world.verdict(link, ticket))

    await all_of([partial(racer, number) for number in range(RACERS)])
    return verdicts


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
