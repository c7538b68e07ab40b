"""`callboard verify` passes on a healthy node, and each broken one is caught by exactly the line that it belongs to."""

from __future__ import annotations

import os
import random
from collections import deque

import pytest
import trio

from callboard.transport.verify import Line, Plan, Report, Status, verify
from tests.integration.verify.door_mutants import DOOR_MUTANTS
from tests.integration.verify.nodes import HEALTHY, Mutant, open_node
from tests.integration.verify.session_mutants import SESSION_MUTANTS
from tests.integration.verify.wire_mutants import WIRE_MUTANTS

# Many nodes, and some that keep their clients waiting: a minute or two, more on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MUTANTS = (*DOOR_MUTANTS, *WIRE_MUTANTS, *SESSION_MUTANTS)

# What a mutant never says is waited for so long. Far beyond what a healthy node needs with all of these beside it.
WAIT_SECONDS = 20.0
# Those that keep everybody waiting for so long cost no computing, so many of them go on at the same time.
PATIENT = {"NeverEnds", "ForgetsAnAnswer", "KeepsBack", "IgnoresStrangers", "NeverHearsTheEnd"}
PATIENT |= {"CountsTicketsOnly", "KeepsItsEntries", "LeavesATask", "CountsRunsOnly"}
PATIENT_AT_ONCE = 6
OTHERS_AT_ONCE = 3
# Everything takes part in this, so nothing else of ours may go on beside those that are about latencies.
ALONE = {"WaitsForTheSlowest", "LingersForTheSlowest", "healthy"}
ALL_SECONDS = 840


class Silent:
    def begin(self, what: str, total: int) -> None:
        return

    def advance(self, what: str) -> None:
        return

    def end(self, what: str) -> None:
        return


async def verified(mutant: Mutant, users: int = 2) -> Report:
    """What the verification says of such a node."""
    async with open_node(mutant) as board:

        async def token(user: str, scope: str) -> str:
            return board.authenticator.token(user, scope=scope)

        plan = Plan(url=board.url, users=users, timeout_seconds=WAIT_SECONDS)
        return await verify(plan, token, random_bytes=os.urandom, rng=random.Random(1), watch=Silent())


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """The outcome of all of them."""
    found: dict[str, Report] = {}
    everybody = (HEALTHY, *MUTANTS)
    patient = deque(mutant for mutant in everybody if mutant.name in PATIENT)
    others = deque(mutant for mutant in everybody if mutant.name not in PATIENT | ALONE)

    async def verify_each(mutants: deque[Mutant]) -> None:
        while mutants:
            mutant = mutants.popleft()
            found[mutant.name] = await verified(mutant)

    async def verify_all() -> None:
        with trio.fail_after(ALL_SECONDS):
            async with trio.open_nursery() as nursery:
                for mutants, at_once in ((patient, PATIENT_AT_ONCE), (others, OTHERS_AT_ONCE)):
                    for _ in range(at_once):
                        nursery.start_soon(verify_each, mutants)
            await verify_each(deque(mutant for mutant in everybody if mutant.name in ALONE))

    trio.run(verify_all)
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_node_is_caught_by_its_line(reports: dict[str, Report], mutant: Mutant) -> None:
    """By that one and no other."""
    report = reports[mutant.name]
    assert mutant.line is not None
    told = {outcome.line.value: outcome.first for outcome in report.outcomes if outcome.first is not None}
    assert report.failed == (mutant.line,), told
    evidence = report.findings.outcomes[mutant.line].first
    assert evidence is not None
    assert evidence.expected


def test_there_is_a_mutant_for_each_line() -> None:
    """A line that nothing can fail says nothing."""
    assert {mutant.line for mutant in MUTANTS} == set(Line)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_healthy_node_passes_all_lines(reports: dict[str, Report]) -> None:
    """None fails, and none is left unchecked."""
    outcomes = reports["healthy"].outcomes
    assert {outcome.line: outcome.first for outcome in outcomes if outcome.status is not Status.PASSED} == {}
