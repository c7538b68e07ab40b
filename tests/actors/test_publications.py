"""What a session remembers of publications, against the words of law S5, and at work in a session."""

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.actors import (
    EventRefused,
    Publication,
    PublicationConflict,
    PublicationMemory,
    PublishOnce,
    SessionKey,
    TooManyPublications,
    ask_session,
)
from tests.actors.world import LIMITS, World, open_world

KEEP_MS, PER_SERVICE, SERVICES = 100, 3, 2


def empty() -> PublicationMemory:
    """A memory with bounds that are soon met."""
    return PublicationMemory(keep_ms=KEEP_MS, per_service=PER_SERVICE, services=SERVICES)


attempts = st.tuples(
    st.sampled_from((0, 0, 1, 30, 100, 101)),  # milliseconds that pass before it
    st.sampled_from(("s1", "s2", "s3")),
    st.sampled_from("abcde"),
    st.sampled_from((b"1", b"1", b"2")),
)


# S5 S13
@given(st.lists(attempts, max_size=40))
def test_a_key_is_known_for_the_stated_time(program: list[tuple[int, str, str, bytes]]) -> None:
    """Red if a key is forgotten early, known for too long, another service's, or more are kept than is stated."""
    memory, model, now, seq = empty(), dict[tuple[str, str], Publication](), 1_000, 0
    for ms, service, key, body in program:
        now += ms
        model = {name: kept for name, kept in model.items() if kept.at >= now - KEEP_MS}
        assert memory.forget(now) == now - KEEP_MS
        known = model.get((service, key))
        if known is not None and known.fingerprint != body:
            with pytest.raises(PublicationConflict):
                memory.find(service, key, body)
            continue
        assert memory.find(service, key, body) == known
        if known is not None:
            continue
        mine = [kept for (owner, _), kept in model.items() if owner == service]
        if len(mine) == PER_SERVICE or (not mine and len({owner for owner, _ in model}) == SERVICES):
            with pytest.raises(TooManyPublications) as refused:
                memory.check_room(service, now)
            later = now + refused.value.retry_ms
            left = {name: kept for name, kept in model.items() if kept.at >= later - KEEP_MS}
            mine = [kept for (owner, _), kept in left.items() if owner == service]
            assert len(mine) < PER_SERVICE, "there is room when it says so"
            assert mine or len({owner for owner, _ in left}) < SERVICES
            continue
        memory.check_room(service, now)
        seq += 1
        model[service, key] = Publication(service, key, body, now, "e", seq, f"x/{seq}")
        memory.remember(model[service, key])
        assert sorted(memory.entries(), key=lambda kept: kept.seq) == list(model.values())
        again = empty()
        again.remember_all(model.values())
        by_service = [sorted(each.entries(), key=lambda kept: kept.service) for each in (memory, again)]
        assert by_service[0] == by_service[1], "what is read back is the same memory"


async def publish(
    world: World, key: str, *, service: str = "billing", type: str = "x.paid", **data: Any
) -> Publication:
    """One attempt in ada's session."""
    message = PublishOnce(service, key, type, data)
    answer: Publication = await ask_session(world.node.registry, SessionKey("ada"), message)
    return answer


# S3 S5
async def test_a_repetition_gets_the_first_answer_also_while_that_is_on_its_way() -> None:
    """Red if it is recorded twice, answered before it is durable, or the second one waits for ever."""
    async with open_world(delay_seconds=1.0) as world, trio.open_nursery() as nursery:
        answers: list[tuple[float, Publication]] = []

        async def once() -> None:
            answer = await publish(world, "k", n=1)
            answers.append((trio.current_time(), answer))

        await world.connected()
        began = trio.current_time()
        for _ in range(3):
            nursery.start_soon(once)
        await trio.sleep(0.5)
        assert answers == []
        await trio.sleep(5)
        await once()
        assert {at - began for at, _ in answers[:3]} == {1.0}
        assert len({answer for _, answer in answers}) == 1
        (record,) = await world.history("ada")
        answer = answers[0][1]
        assert (record["seq"], record["id"], record["type"], record["data"]) == (
            answer.seq,
            answer.id,
            "x.paid",
            {"n": 1},
        )


# S5
async def test_an_answer_keeps_its_epoch_when_the_history_gets_a_new_one() -> None:
    """Red if a repetition that comes with the new epoch is answered with that, and not as the first one was."""
    async with open_world(delay_seconds=1.0) as world, trio.open_nursery() as nursery:
        client = await world.connected()
        answers: list[Publication] = []

        async def once() -> None:
            answers.append(await publish(world, "k"))

        nursery.start_soon(once)
        await trio.sleep(0.2)
        client.leave()
        client.dreamt = 10_000
        client.come()  # has seen more than there is: the epoch changes, behind the append that is under way
        await trio.sleep(0.2)
        nursery.start_soon(once)
        await trio.sleep(10)
        await once()
        assert len(answers) == 3
        assert len(set(answers)) == 1
        assert client.epoch != answers[0].epoch


# S5 S12
async def test_what_is_refused_is_not_kept() -> None:
    """Red if a refusal uses up its key, or an agent's event can be said by a service."""
    async with open_world() as world:
        for type, data in (
            ("agent_delta", {"text": "hi"}),
            ("y.z", {}),
            ("x.big", {"n": 2**60}),
            ("x.nan", {"n": 1e999}),
        ):
            with pytest.raises(EventRefused):
                await publish(world, "k", type=type, **data)
        answer = await publish(world, "k", n=1)
        for changed in ({"n": 2}, {"n": 1, "m": None}, {}):
            with pytest.raises(PublicationConflict):
                await publish(world, "k", **changed)
        with pytest.raises(PublicationConflict):
            await publish(world, "k", type="x.other", n=1)
        assert await publish(world, "k", n=1) == answer
        assert (await publish(world, "k", service="mail", n=2)).seq == 2, "another service's key is another key"
        assert len(await world.history("ada")) == 2


# S5 S13
async def test_the_stated_time_and_room_count_through_crashes() -> None:
    """Red if a crash, or sleep, makes a session forget or remember longer; or a full one forgets to make room."""
    limits = attrs.evolve(LIMITS, publication_seconds=1_000.0, publications=2)
    async with open_world(limits=limits) as world:
        first = await publish(world, "a")
        await trio.sleep(500)
        assert world.session("ada") is None, "it has left memory"
        assert await publish(world, "a") == first
        second = await publish(world, "b")
        session = world.session("ada")
        assert session is not None
        session.kill()
        await world.settle()
        with pytest.raises(TooManyPublications) as refused:
            await publish(world, "c")
        assert 499_000 < refused.value.retry_ms <= 500_001
        assert await publish(world, "a") == first
        await trio.sleep(refused.value.retry_ms / 1000)
        assert (await publish(world, "c")).seq == 3
        assert await publish(world, "b") == second
        await trio.sleep(600)
        assert (await publish(world, "a")).seq == 4, "it is new again"
        opened = await world.journal.open(SessionKey("ada"))
        assert [kept.key for kept in opened.publications] == ["c", "a"], "the journal forgets with it"
