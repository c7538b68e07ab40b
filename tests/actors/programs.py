"""Random programs for a node: what users, devices, operators and misfortune may do, in any order."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from hypothesis import strategies as st

from callboard.actors import (
    Publication,
    PublicationConflict,
    PublishOnce,
    Record,
    Session,
    SessionKey,
    SessionQuarantined,
    StoreUnavailable,
    ask_session,
)
from callboard.runtime import Killed
from tests.actors.client import Client
from tests.actors.faults import Fault
from tests.actors.world import World

USERS = ("ada", "bob")
DEVICES = ("d1", "d2")
WORDS = (
    *("think", "delta", "x", "wait", "yield", "tool", "badtool", "cuttool", "opencall", "sleep1", "sleep20"),
    *("hang", "boom", "sorry", "done", "swallow", "linger", "crowd"),
)


@attrs.frozen
class Say:
    user: str
    device: str
    words: tuple[str, ...]


@attrs.frozen
class Stop:
    user: str
    device: str
    which: int


@attrs.frozen
class Repeat:
    user: str
    device: str
    which: int
    times: int


@attrs.frozen
class Leave:
    user: str
    device: str


@attrs.frozen
class Come:
    user: str
    device: str


@attrs.frozen
class Dream:
    """Come back with a position that the journal never had."""

    user: str
    device: str


@attrs.frozen
class Count:
    user: str
    device: str


@attrs.frozen
class Publish:
    user: str


@attrs.frozen
class PublishAs:
    """A service says what belongs to this key, or something else under it."""

    user: str
    service: str
    key: str
    lie: bool


@attrs.frozen
class Pass:
    seconds: float


@attrs.frozen
class Breathe:
    """Let a few turns happen."""

    checkpoints: int


@attrs.frozen
class KillSession:
    user: str


@attrs.frozen
class KillAgent:
    which: int


@attrs.frozen
class KillTop:
    which: str


@attrs.frozen
class GoWrong:
    operation: str
    ahead: int
    fault: Fault


ByDevice = Say | Stop | Repeat | Leave | Come | Dream | Count
Step = ByDevice | Publish | PublishAs | Pass | Breathe | KillSession | KillAgent | KillTop | GoWrong

users = st.sampled_from(USERS)
devices = st.sampled_from(DEVICES)
which = st.integers(0, 3)

says = st.builds(Say, users, devices, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(tuple))
everyday = st.one_of(
    says,
    says,
    says,
    st.builds(Stop, users, devices, which),
    st.builds(Count, users, devices),
    st.builds(Dream, users, devices),
    st.builds(Repeat, users, devices, which, st.integers(1, 2)),
    st.builds(Leave, users, devices),
    st.builds(Come, users, devices),
    st.builds(Publish, users),
    st.builds(
        PublishAs,
        users,
        st.sampled_from(("s1", "s2")),
        st.sampled_from(("k1", "k2", "k3")),
        st.sampled_from((False, False, False, True)),
    ),
    st.builds(Pass, st.sampled_from((0.001, 0.02, 0.3, 2.0, 15.0, 119.99, 150.0))),
    st.builds(Breathe, st.integers(1, 6)),
)
kills = st.one_of(
    st.builds(KillSession, users),
    st.builds(KillAgent, which),
    st.builds(KillTop, st.sampled_from(("registry", "sessions"))),
)
store_faults = st.one_of(
    st.builds(GoWrong, st.just("append"), st.integers(1, 4), st.sampled_from(Fault)),
    st.builds(
        GoWrong, st.sampled_from(("open", "read")), st.integers(1, 2), st.sampled_from((Fault.FAIL, Fault.STALL))
    ),
)


def programs(*, faults: bool) -> st.SearchStrategy[list[Step]]:
    """Programs of some length."""
    steps = st.one_of(everyday, everyday, kills, store_faults) if faults else st.one_of(everyday, everyday, kills)
    return st.lists(steps, min_size=8, max_size=30)


class Counting(Session):
    """A session with a state and a command of its author's."""

    ops = frozenset({"count"})
    count = 0

    def on_record(self, record: Record) -> None:
        """Know again how far it counted."""
        if record.type == "x.counted":
            self.count = record.data()["count"]

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        """Count on."""
        self.publish("x.counted", {"count": self.count + 1})
        return {"count": self.count}


class Machine:
    """Carries a program out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clients = {(user, device): world.client(user, f"{user}-{device}") for user in USERS for device in DEVICES}
        self.published: dict[str, int] = dict.fromkeys(USERS, 0)
        # What was asked for, by user, service and key, and all answers to that.
        self.asked: set[tuple[str, str, str, str]] = set()
        self.answers: dict[tuple[str, str, str], list[tuple[str, Publication]]] = {}
        self.too_early: list[str] = []
        for (user, _), client in self.clients.items():
            client.on_apply = partial(self._look_when_told, user)
        self._top_kills: list[float] = []

    def _look_when_told(self, user: str, record: dict[str, Any]) -> None:
        if record["seq"] > self.world.durable(user):
            self.too_early.append(f"record {record['seq']} of {user} before the journal had it")

    async def run(self, program: list[Step]) -> None:
        """Do the steps; no step waits for the work that it starts."""
        for client in self.clients.values():
            await client.connect()
        for step in program:
            await self.step(step)

    def _client(self, step: ByDevice) -> Client:
        return self.clients[step.user, step.device]

    async def step(self, step: Step) -> None:
        """Do one."""
        world = self.world
        match step:
            case Say():
                # The user's name goes in, so that a record that strays shows whose it is.
                await self._client(step).say(" ".join((step.user, *step.words)))
            case Stop():
                client = self._client(step)
                runs = [record["run"] for record in client.records if record["type"] == "agent_started"]
                if runs:
                    await client.command("cancel", {}, runs[-1 - step.which % len(runs)])
            case Repeat():
                client = self._client(step)
                for _ in range(step.times if client.asked else 0):
                    await client.repeat(1 + step.which % len(client.asked))
            case Leave():
                self._client(step).stays = False
                self._client(step).leave()
            case Come():
                client = self._client(step)
                client.stays = True
                client.come()
            case Dream():
                client = self._client(step)
                client.leave()
                client.dreamt = 10_000
                client.stays = True
                client.come()
            case Count():
                await self._client(step).command("count", {})
            case Publish():
                world.nursery.start_soon(self._publish, step.user)
            case PublishAs():
                world.nursery.start_soon(self._publish_as, step)
            case Pass():
                await trio.sleep(step.seconds)
            case Breathe():
                for _ in range(step.checkpoints):
                    await trio.lowlevel.checkpoint()
            case KillSession():
                ref = world.session(step.user)
                if ref is not None:
                    ref.kill()
            case KillAgent():
                agents = world.agents()
                if agents:
                    agents[step.which % len(agents)].kill()
            case KillTop():
                self._kill_top(step.which)
            case GoWrong():
                world.journal.faults[step.operation, world.journal.counts[step.operation] + step.ahead] = step.fault

    async def _publish(self, user: str) -> None:
        try:
            position = await self.world.publish(user, "x.said", {"user": user})
        except (Killed, SessionQuarantined, StoreUnavailable):
            return
        if position.seq > self.world.durable(user):
            self.too_early.append(f"publication {position.seq} of {user} accepted before the journal had it")
        self.published[user] += 1

    async def _publish_as(self, step: PublishAs) -> None:
        """Repeat until there is an answer, as a service does."""
        name = (step.user, step.service, step.key)
        said = "another thing" if step.lie else "/".join(name)
        self.asked.add((*name, said))
        message = PublishOnce(step.service, step.key, "x.named", {"user": step.user, "said": said})
        while True:
            try:
                answer = await ask_session(self.world.node.registry, SessionKey(step.user), message)
            except (Killed, SessionQuarantined, StoreUnavailable):
                await trio.sleep(1.0)
                continue
            except PublicationConflict:
                return
            if answer.seq > self.world.durable(step.user):
                self.too_early.append(f"publication {answer.seq} of {step.user} accepted before the journal had it")
            self.answers.setdefault(name, []).append((said, answer))
            return

    def _kill_top(self, which: str) -> None:
        # One failure more within these seconds ends the whole system, rightly.
        now = trio.current_time()
        self._top_kills = [at for at in self._top_kills if now - at <= 5.0]
        if len(self._top_kills) < 3:
            self._top_kills.append(now)
            ref = self.world.node.registry if which == "registry" else self.world.node.sessions
            ref.kill()

    async def come_to_rest(self) -> None:
        """Let the weather clear, have everybody back, and wait for all work to end."""
        self.world.journal.heal()
        for client in self.clients.values():
            client.stays = True
            client.come()
        limits = self.world.limits
        await trio.sleep(limits.run_seconds + 2 * limits.quarantine_seconds + 4 * limits.store_seconds)
        for client in self.clients.values():
            # A refusal with `retry` means: later, under the same id.
            for asked in list(client.asked.values()):
                while client.final(asked.id) is None:
                    await client.repeat(asked.id)
                    await trio.sleep(limits.run_seconds + 1)
        await trio.sleep(limits.run_seconds + 1)
        await self.world.settle()

    async def leave(self) -> None:
        """Have everybody gone, and idle sessions away."""
        for client in self.clients.values():
            client.stays = False
            client.leave()
        await trio.sleep(2 * self.world.limits.idle_seconds)
        await self.world.settle()
