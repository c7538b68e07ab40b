"""What all scenarios share: the plan, the node's address, users of our own, tickets, links, and what is known of runs.

Time comes from trio, randomness and names through parameters. Nothing here judges what a session says.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import attrs
import httpx
import trio

from .evidence import Evidence, Findings, Setback, shorten
from .lines import Line
from .link import Link
from .plan import Plan, Tokens, Watch
from .socket import Closed, open_socket
from .story import Story, User
from .tickets import Ticket
from .together import beside

__all__ = ["World"]

# What a node says while it cannot give a ticket just now; a client asks again.
TRY_AGAIN = frozenset((429, 503))
TRY_AGAIN_SECONDS = 0.25
# On a busy machine a ticket may expire before it is shown. One that does so again and again is of no use.
TICKETS = 5


@attrs.define(eq=False)
class World:
    """The verifier at work."""

    plan: Plan
    tokens: Tokens
    http: httpx.AsyncClient
    tls: ssl.SSLContext
    findings: Findings
    watch: Watch
    random_bytes: Callable[[int], bytes]
    rng: random.Random
    name: str = ""
    stories: list[Story] = attrs.field(factory=list)
    connected: int = 0
    """Connections of ours that the node welcomed."""
    _users: int = 0

    @property
    def seconds(self) -> float:
        """How long any single wait may take."""
        return self.plan.timeout_seconds

    @property
    def own_origin(self) -> str:
        """The origin of the node's own pages."""
        parts = urlsplit(self.plan.url)
        return f"{parts.scheme}://{parts.netloc}"

    def device(self) -> str:
        """A new device id."""
        return self.random_bytes(16).hex()

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Tell how far something of so many steps has come: call what this gives after each of them."""
        self.watch.begin(what, total)
        try:
            yield lambda: self.watch.advance(what)
        finally:
            self.watch.end(what)

    # -- users and sessions -------------------------------------------------------------------------------------------

    async def user(self, role: str) -> User:
        """A user that nobody has been before."""
        self._users += 1
        name = f"verify-{self.name}-{role}-{self._users}"
        token = await self.tokens(name, "")
        assert token is not None, "without a scope there is a token, or an error"
        return User(name, token)

    def story(self, user: User, name: str | None = None) -> Story:
        """A session of a user, by the plan's name if none is given."""
        story = Story(user, name if name is not None else self.plan.session)
        self.stories.append(story)
        return story

    # -- tickets ------------------------------------------------------------------------------------------------------

    async def request(
        self, method: str, path: str, *, token: str | None = None, json: object = None, origin: str | None = None
    ) -> httpx.Response:
        """An HTTP request to the node. Raises Setback if it gets no answer."""
        headers = {}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if origin is not None:
            headers["origin"] = origin
        try:
            return await self.http.request(method, f"{self.plan.url}{path}", headers=headers, json=json)
        except httpx.HTTPError as error:
            expected = f"an answer to {method} {path}"
            self.findings.failed(Line.ENTRY, Evidence(expected=expected, seen=f"{type(error).__name__} {error}"))
            raise Setback from None

    async def ticket(self, story: Story, *, origin: str | None = None) -> Ticket:
        """A ticket for a session. Raises Setback if the node gives none."""
        asked_at = trio.current_time()
        while True:
            begun = trio.current_time()
            response = await self.ask_ticket(story, origin=origin)
            if response.status_code not in TRY_AGAIN or trio.current_time() - asked_at > self.seconds:
                break
            await trio.sleep(TRY_AGAIN_SECONDS)
        ticket = self.read_ticket(story, response, begun)
        self.findings.passed(Line.ENTRY, seconds=trio.current_time() - asked_at)
        return ticket

    async def ask_ticket(self, story: Story, *, origin: str | None = None) -> httpx.Response:
        """The node's answer to one request for a ticket. Raises Setback if there is none."""
        body = {"session": story.name}
        return await self.request("POST", "/v1/tickets", token=story.user.token, json=body, origin=origin)

    def read_ticket(self, story: Story, response: httpx.Response, asked_at: float) -> Ticket:
        """The ticket of an answer to what was asked then. Raises Setback if it holds none."""
        try:
            body = response.json()
            values = str(body["ticket"]), str(body["session"]), str(body["url"]), float(body["expires_in_s"])
            if response.status_code != 201:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            evidence = Evidence(
                expected="201 with ticket, session, expires_in_s and url",
                seen=f"{response.status_code} {response.reason_phrase}",
                user=story.user.name,
                frame=shorten(response.text),
            )
            self.findings.failed(Line.ENTRY, evidence)
            raise Setback from None
        ticket = Ticket(*values, asked_at)
        story.id = story.id or ticket.session
        return ticket

    # -- connections --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self,
        story: Story,
        device: str,
        ticket: Ticket,
        *,
        origin: str | None = None,
        deaf: bool = False,
        merge: bool = False,
    ) -> AsyncIterator[Link]:
        """Connect, and say nothing yet. Raises Setback if that fails."""
        fault: str | None = None
        opened = False
        with trio.CancelScope(deadline=trio.current_time() + self.seconds) as opening:
            try:
                async with open_socket(ticket.url, self.tls, origin=origin, small=deaf) as socket:
                    opening.deadline, opened = float("inf"), True
                    link = Link(self.findings, story, device, socket, self.seconds, deaf=deaf, merge=merge)
                    async with beside(link.read):
                        yield link
            except (Closed, OSError, ValueError) as error:  # ValueError: the ticket's url is none
                if opened:
                    raise
                fault = f"{type(error).__name__} {error}"
        if opening.cancelled_caught:
            fault = f"no connection in {self.seconds:g} s"
        if fault is not None:
            evidence = Evidence(expected="a WebSocket", seen=fault, user=story.user.name, device=device)
            self.findings.failed(Line.ENTRY, evidence)
            raise Setback

    @asynccontextmanager
    async def join(
        self,
        story: Story,
        name: str,
        *,
        device: str | None = None,
        start: object = None,
        seam: Line = Line.CONTIGUOUS,
        own: Line = Line.OWN,
        deaf: bool = False,
        merge: bool = False,
    ) -> AsyncIterator[Link]:
        """The whole way of one device into a session: ticket, connection, welcome.

        Args:
            story: the session.
            name: what the device is called in evidence.
            device: its id; a new one if not given.
            start: where to begin; left out if None.
            seam: the line that is broken where the records do not begin as welcome says.
            own: the line that is broken by a welcome to another session.
            deaf: read the welcome and nothing after it, with as little room as the kernel gives.
            merge: ask for merged records.

        Raises:
            Setback: it was not let in.
        """
        device = device or self.device()
        for _ in range(TICKETS):
            ticket = await self.ticket(story)
            async with self.open(story, name, ticket, deaf=deaf, merge=merge) as link:
                verdict = await self.verdict(link, ticket, device, start)
                if verdict == "4300" and ticket.may_have_expired():
                    continue  # the machine is busy; a client takes a new ticket then
                link.seam, link.ticket = seam, ticket
                welcome = link.welcome
                if welcome is None:
                    link.fault(Line.ENTRY, "a welcome", seen=verdict)
                    raise Setback
                right = welcome.session == ticket.session == story.id
                link.check(own, right, f"the session of the ticket, {story.id}", seen=f"a welcome to {welcome.session}")
                yield link
                return
        expected = "a ticket that lives until it is shown"
        evidence = Evidence(expected=expected, seen=f"4300 for {TICKETS}", user=story.user.name, device=name)
        self.findings.failed(Line.ENTRY, evidence)
        raise Setback

    def hello(self, ticket: str, device: str, start: object = None) -> dict[str, object]:
        """A hello."""
        hello: dict[str, object] = {"t": "hello", "ticket": ticket, "device": device, "client": "callboard verify"}
        if start is not None:
            hello["start"] = start
        return hello

    async def verdict(self, link: Link, ticket: Ticket, device: str | None = None, start: object = None) -> str:
        """Say hello, whatever comes of it, and give the verdict: ``welcome``, the code of a close, or ``silence``."""
        hello = self.hello(ticket.ticket, device or self.device(), start)
        await link.say_hello({**hello, "merge": True} if link.merge else hello, may_be_closed=True)
        with trio.move_on_after(self.seconds):
            while link.closed is None and link.welcome is None:
                await link.wait_news()
        if link.welcome is not None:
            self.connected += 1
            link.story.links.append(link)
            return "welcome"
        return "silence" if link.closed is None else str(link.closed.code)

    async def knock(
        self,
        story: Story,
        ticket: Ticket,
        line: Line,
        code: int,
        *,
        origin: str | None = None,
        device: str = "stranger",
    ) -> None:
        """Present a ticket that opens nothing: the connection has to be closed with this code. Raises Setback."""
        async with self.open(story, device, ticket, origin=origin) as link:
            begun = trio.current_time()
            verdict = await self.verdict(link, ticket)
            link.check(line, verdict == str(code), f"a close with {code}", seen=verdict)
            self.findings.outcomes[line].seconds.append(trio.current_time() - begun)

    async def use_up(self, story: Story, ticket: Ticket, *, origin: str | None = None) -> None:
        """Use a ticket, if it opens anything, so that it does not wait until its end."""
        async with self.open(story, "owner", ticket, origin=origin) as link:
            await self.verdict(link, ticket)
