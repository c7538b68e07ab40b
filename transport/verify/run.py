"""The whole verification: who does what, what at the same time, and the judgment at the end.

The crowd and all that can go on beside it go first, together. Then, in a quiet node, what has to be faster than an
agent, and the stuck client, as latencies are compared. The counters come last, when all have left.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Awaitable, Callable, Sequence

import httpx
import trio

from ..client import Unreachable
from ..errors import ConfigError, words_of
from .evidence import Findings, Setback
from .judge import judge
from .lines import Line
from .plan import Plan, Tokens, Watch
from .report import Report
from .scenarios.counters import Operator
from .scenarios.crowd import crowd
from .scenarios.ending import cancel, disconnect
from .scenarios.manners import second_hello, unknown_type
from .scenarios.names import names
from .scenarios.refusals import expired, foreign, forged, races, tokens, used, wrong_origin
from .scenarios.restarts import JUDGED, restarts
from .scenarios.returning import history, resume
from .scenarios.slow import slow
from .world import World

__all__ = ["verify"]

Scenario = Callable[[World], Awaitable[None]]

TOGETHER: Sequence[Scenario] = (
    crowd,
    tokens,
    used,
    forged,
    foreign,
    wrong_origin,
    races,
    second_hello,
    unknown_type,
    resume,
    history,
    names,
)

# These have to be faster than an agent, so they go when nothing else does.
QUIET: Sequence[Scenario] = (cancel, disconnect)

# The node's answers to requests for tickets are short; more at once would only wait in the node.
HTTP_CONNECTIONS = 64


async def verify(
    plan: Plan,
    token_of: Tokens,
    *,
    random_bytes: Callable[[int], bytes],
    rng: random.Random,
    watch: Watch,
    tls: ssl.SSLContext | None = None,
) -> Report:
    """Verify a node from outside, with users of its own that are new at each call.

    When cancelled it leaves at once; runs that it began go on to their ends.

    Args:
        plan: what is to be done.
        token_of: where tokens come from.
        random_bytes: the source of names, devices and of what is forged.
        rng: decides where sockets are cut and the like, so that one seed does the same again.
        watch: hears how far it has come.
        tls: how the node's certificate is verified; by the system's authorities if not given.

    Raises:
        ConfigError: a token cannot be had.
        Unreachable: the node does not answer.
    """
    try:
        return await _verify(plan, token_of, random_bytes, rng, watch, tls or _tls(plan.url))
    except BaseExceptionGroup as group:
        # From the middle of nurseries; what went wrong is the same for all users.
        refused, rest = group.split(ConfigError)
        if refused is None or rest is not None:
            raise
        error: BaseException = refused
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _verify(
    plan: Plan,
    token_of: Tokens,
    random_bytes: Callable[[int], bytes],
    rng: random.Random,
    watch: Watch,
    tls: ssl.SSLContext,
) -> Report:
    if plan.through_restarts is not None:
        return await _verify_through_restarts(plan, token_of, random_bytes, rng, watch, tls)
    began = trio.current_time()
    findings = Findings()
    name = random_bytes(4).hex()
    operator_token = await token_of(f"verify-{name}-operator", "operator")
    operator = Operator(plan.url, operator_token, plan.timeout_seconds, tls, findings)
    await _reach(plan, tls)
    before = await operator.read()
    limits = httpx.Limits(max_connections=HTTP_CONNECTIONS)
    async with httpx.AsyncClient(timeout=plan.timeout_seconds, verify=tls, limits=limits) as http:
        world = World(plan, token_of, http, tls, findings, watch, random_bytes, rng, name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_attempt, world, expired)
            for scenarios in (TOGETHER, QUIET):
                async with trio.open_nursery() as together:
                    for scenario in scenarios:
                        together.start_soon(_attempt, world, scenario)
            await operator.check_registry()
            await _attempt(world, slow)
    judge(findings, world.stories)
    await operator.check_back(before, world.connected)
    return _report(world, began)


async def _verify_through_restarts(
    plan: Plan,
    token_of: Tokens,
    random_bytes: Callable[[int], bytes],
    rng: random.Random,
    watch: Watch,
    tls: ssl.SSLContext,
) -> Report:
    began = trio.current_time()
    findings = Findings()
    # Each request on a connection of its own: one that is kept may be of the node before.
    limits = httpx.Limits(max_connections=HTTP_CONNECTIONS, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=plan.timeout_seconds, verify=tls, limits=limits) as http:
        world = World(plan, token_of, http, tls, findings, watch, random_bytes, rng, random_bytes(4).hex())
        await _attempt(world, restarts)
    judge(findings, world.stories)
    findings.remark([line for line in Line if line not in JUDGED], "cannot be judged through restarts")
    return _report(world, began)


def _report(world: World, began: float) -> Report:
    plan = world.plan
    servers = {link.welcome.server for story in world.stories for link in story.links if link.welcome is not None}
    return Report(
        url=plan.url,
        server=", ".join(sorted(servers)),
        users=plan.users,
        devices=plan.devices,
        seconds=trio.current_time() - began,
        through_restarts=plan.through_restarts is not None,
        findings=world.findings,
    )


async def _attempt(world: World, scenario: Scenario) -> None:
    """Go through a scenario as far as it goes: what keeps it from going on has been put down."""
    try:
        await scenario(world)
    except Setback:
        return


def _tls(url: str) -> ssl.SSLContext:
    """One for all: to read the system's authorities takes longer than a handshake. Without TLS none are read."""
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _reach(plan: Plan, tls: ssl.SSLContext) -> None:
    try:
        async with httpx.AsyncClient(timeout=min(10.0, plan.timeout_seconds), verify=tls) as http:
            response = await http.get(f"{plan.url}/readyz")
    except httpx.HTTPError as error:
        raise Unreachable(f"{plan.url} cannot be reached: {type(error).__name__} {words_of(error)}") from None
    if response.status_code != 200:
        raise Unreachable(f"{plan.url} is not ready: {response.status_code} {response.reason_phrase}")
