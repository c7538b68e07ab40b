"""Journals against a naive model of the port's promises; `journal_contract.py` holds the single cases.

A journal joins by a factory in `JOURNALS`. Nothing here knows how one stores: everything is asked through the port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import (
    Appended,
    Batch,
    CommandEntry,
    CommandMemory,
    Fenced,
    Journal,
    MemoryJournal,
    Opened,
    Publication,
    Record,
    Result,
    SessionKey,
    StoreUnavailable,
    Token,
)
from tests.actors.journal_contract import ADA, appended, publication, record, same

RETAINED = 5
KEYS = (SessionKey("ada"), SessionKey("ada", "zoo"), SessionKey("bob"))

Factory = Callable[[int], AbstractAsyncContextManager[Journal]]


@asynccontextmanager
async def memory_journal(retained_records: int) -> AsyncIterator[Journal]:
    """The journal in memory, its epochs numbered."""
    numbers = count(1)
    journal = MemoryJournal(lambda: f"{next(numbers):016x}", retained_records=retained_records)
    yield journal
    await journal.aclose()


# Each takes how many records of a session are kept.
JOURNALS: tuple[Factory, ...] = (memory_journal,)


@attrs.define
class Stream:
    """What a session has to hold: all that was ever taken, in lists."""

    epoch: str
    tokens: list[Token] = attrs.field(factory=list)
    records: list[Record] = attrs.field(factory=list)
    commands: list[CommandEntry] = attrs.field(factory=list)
    publications: list[Publication] = attrs.field(factory=list)
    told: int = 1
    """The highest `first` that the journal has told: what is older must not come back."""

    def may_begin(self, first: int) -> None:
        """Take what the journal says is the oldest record kept: it may keep more than it has to, and never less."""
        assert self.told <= first <= max(1, len(self.records) - RETAINED + 1)
        self.told = first

    def take(self, token: Token, first_seq: int, batch: Batch) -> type[Exception] | int:
        """What becomes of an append: an error, or the highest `first` that its answer may tell."""
        if token != self.tokens[-1]:
            return Fenced
        follows = len(self.records) + 1
        if first_seq != follows or [each.seq for each in batch.records] != [
            *range(follows, follows + len(batch.records))
        ]:
            return ValueError
        self.records += batch.records
        self.commands += batch.commands
        for new in batch.publications:
            same_name = (new.service, new.key)
            self.publications = [old for old in self.publications if (old.service, old.key) != same_name] + [new]
        self.publications = [old for old in self.publications if old.at >= batch.forget_before]
        self.epoch = batch.epoch or self.epoch
        return max(1, len(self.records) - RETAINED + 1)

    def page(self, after: int, first: int, max_records: int, max_bytes: int) -> list[Record]:
        """What reading gives where `first` is kept: one record at least, and then as many as fit."""
        following = self.records[max(after, first - 1) :][:max_records]
        sizes = [sum(len(each.encoded) for each in following[:end]) for end in range(2, len(following) + 1)]
        return following[: 1 + sum(size <= max_bytes for size in sizes)]


@attrs.frozen
class Write:
    """An append, relative to where the session is: `token` 0 is the newest, `shift` 0 the right place."""

    token: int
    shift: int
    hole_at: int | None
    sizes: tuple[int, ...]
    commands: tuple[CommandEntry, ...]
    epoch: str | None
    keys: tuple[tuple[str, str], ...]
    forget: int | None

    def batch(self, head: int) -> tuple[int, Batch]:
        start = head + 1 + self.shift
        holes = [0 if self.hole_at is None or index < self.hole_at else 1 for index in range(len(self.sizes))]
        seqs = [start + index + hole for index, hole in enumerate(holes)]
        records = tuple(record(max(seq, 0), size=size) for seq, size in zip(seqs, self.sizes, strict=True))
        # Each record at most is a publication, as it is where a session makes the batch.
        said = tuple(
            publication(each.seq, key, service=service)
            for each, (service, key) in zip(records, self.keys, strict=False)
        )
        forget_before = 0 if self.forget is None else record(max(0, start - self.forget)).at
        return start, Batch(records, self.commands, self.epoch, publications=said, forget_before=forget_before)


@attrs.frozen
class Open:
    key: SessionKey


@attrs.frozen
class Burst:
    """Appends made without waiting for an answer; with `then_open` the session is opened behind them at once."""

    key: SessionKey
    writes: tuple[Write, ...]
    then_open: bool


@attrs.frozen
class Read:
    """A page that begins `beyond` the head, which is mostly before it."""

    key: SessionKey
    beyond: int
    max_records: int
    max_bytes: int


def entry(device: str, id: int, kind: int) -> CommandEntry:
    """A command under way (0), answered (1), or refused for now (2)."""
    results = (None, Result(id, ok={"n": [id, None]}, seq=id), Result(id, error_code="busy", retry=True))
    return CommandEntry(device, id, bytes([id]), results[kind])


# One session is met most, so that it fills beyond what is kept.
keys = st.sampled_from((*KEYS, ADA, ADA, ADA))
entries = st.builds(entry, st.sampled_from(("d1", "d2", "d3")), st.sampled_from((1, 2, 3, 129, 130)), st.integers(0, 2))
# Most are right; each way to be wrong is drawn alone, so that none hides behind another.
places = st.sampled_from((*[(0, 0, None)] * 7, (1, 0, None), (2, 0, None), (0, -1, None), (0, 1, None), (0, 0, 1)))
writes = st.builds(
    lambda place, *rest: Write(place[0], place[1], place[2], *rest),
    places,
    st.lists(st.sampled_from((0, 10, 60)), max_size=RETAINED + 2).map(tuple),
    st.lists(entries, max_size=3).map(tuple),
    st.sampled_from((None, None, None, "00000000000000aa", "00000000000000bb")),
    st.lists(st.tuples(st.sampled_from(("s1", "s2")), st.sampled_from(("k1", "k2", "k3"))), max_size=3).map(tuple),
    st.sampled_from((None, None, 0, 2, 5)),
)
bursts = st.builds(Burst, keys, st.lists(writes, min_size=1, max_size=3).map(tuple), st.booleans())
reads = st.builds(
    Read, keys, st.integers(-RETAINED - 2, 1), st.integers(1, 7), st.sampled_from((1, 150, 250, 400, 9_999))
)
steps = st.one_of(st.builds(Open, keys), bursts, bursts, reads, reads)
programs = st.lists(steps, min_size=8, max_size=25)


async def everything(journal: Journal, key: SessionKey) -> Sequence[Record]:
    """All that is kept, in one page: a journal that gives a page twice must not keep a test busy for ever."""
    return await journal.read(key.id, 0, max_records=1_000, max_bytes=1_000_000)


class Comparison:
    """One journal beside its model."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.streams: dict[SessionKey, Stream] = {}
        self.answers: list[list[Appended | BaseException]] = []

    async def open(self, key: SessionKey) -> Stream:
        opened = await self.journal.open(key)
        if key not in self.streams:
            assert opened.epoch not in {stream.epoch for stream in self.streams.values()}
            self.streams[key] = Stream(opened.epoch)
        stream = self.streams[key]
        assert opened.token.session == key.id
        assert all(opened.token.generation > token.generation for token in stream.tokens)
        stream.tokens.append(opened.token)
        assert (opened.epoch, opened.head) == (stream.epoch, len(stream.records))
        stream.may_begin(opened.first)
        model, memory = CommandMemory(), CommandMemory()
        for taken in stream.commands:
            model.remember(taken)
        for given_back in opened.commands:
            memory.remember(given_back)
        assert memory.entries() == model.entries()
        # A used key takes a new place; of each service they come in order.
        for service in ("s1", "s2"):
            wanted = [each for each in stream.publications if each.service == service]
            assert [each for each in opened.publications if each.service == service] == wanted
        assert len(opened.publications) == len(stream.publications)
        assert await self.journal.find(key.id) == key
        return stream

    async def burst(self, step: Burst) -> None:
        stream = self.streams.get(step.key) or await self.open(step.key)
        wanted: list[type[Exception] | int] = []
        answers: list[list[Appended | BaseException]] = []
        answered = trio.Event()
        for write in step.writes:
            token = stream.tokens[max(-1 - write.token, -len(stream.tokens))]
            first_seq, batch = write.batch(len(stream.records))
            mine: list[Appended | BaseException] = []
            answers.append(mine)
            wanted.append(stream.take(token, first_seq, batch))

            def done(outcome: Appended | BaseException, mine: list[Appended | BaseException] = mine) -> None:
                mine.append(outcome)
                if len(answers) == len(step.writes) and all(answers):
                    answered.set()

            self.journal.append(token, first_seq, batch, done)
        self.answers += answers
        if step.then_open:
            await self.open(step.key)
        await answered.wait()
        for (answer,), want in zip(answers, wanted, strict=True):
            if isinstance(want, int):
                assert isinstance(answer, Appended)
                assert answer.first <= want
            else:
                assert isinstance(answer, want)
        # What was answered `Appended` can be read now, and nothing of what was refused.
        await self.check(step.key)

    async def read(self, step: Read) -> None:
        stream = self.streams.get(step.key)
        after = max(0, step.beyond + (0 if stream is None else len(stream.records)))
        bounds = (step.max_records, step.max_bytes)
        page = await self.journal.read(step.key.id, after, max_records=bounds[0], max_bytes=bounds[1])
        if stream is None:
            assert not page
            return
        if page and page[0].seq > after + 1:
            stream.may_begin(page[0].seq)
        wanted = stream.page(after, stream.told, *bounds)
        assert [each.seq for each in page] == [each.seq for each in wanted]
        assert all(map(same, page, wanted))

    async def check(self, key: SessionKey) -> None:
        stream, stored = self.streams[key], await everything(self.journal, key)
        if stored:
            stream.may_begin(stored[0].seq)
        wanted = stream.records[stream.told - 1 :]
        assert [each.seq for each in stored] == [each.seq for each in wanted]
        assert all(map(same, stored, wanted))

    async def finish(self) -> None:
        for key in list(self.streams):
            await self.check(key)
            await self.open(key)
        for user in ("ada", "bob", "eve"):
            assert list(await self.journal.sessions(user)) == [key for key in self.streams if key.user == user]


async def run_program(journal: Journal, program: list[Open | Burst | Read]) -> None:
    """Do all of it to a journal and to its model, comparing what each step shows."""
    comparison = Comparison(journal)
    for step in program:
        match step:
            case Open(key):
                await comparison.open(key)
            case Burst():
                await comparison.burst(step)
            case Read():
                await comparison.read(step)
    await comparison.finish()
    assert [len(answers) for answers in comparison.answers] == [1] * len(comparison.answers)


# S3 S10
@pytest.mark.parametrize("factory", JOURNALS)
@settings(max_examples=150)
@given(program=programs)
async def test_a_journal_holds_exactly_what_it_took(factory: Factory, program: list[Open | Burst | Read]) -> None:
    """Red if it says "durable" of what it lacks, holds a part of a batch, hides a gap, or answers twice or never."""
    async with factory(RETAINED) as journal:
        await run_program(journal, program)


@pytest.mark.parametrize("factory", JOURNALS)
async def test_a_batch_without_records_names_the_next_place(factory: Factory) -> None:
    """Red if commands or an epoch are taken from a session that is mistaken about where it is."""
    async with factory(RETAINED) as journal:
        opened = await journal.open(ADA)
        assert await appended(journal, opened, 1, Batch((record(1),))) == Appended(1)
        for elsewhere in (0, 1, 3):
            refused = await appended(journal, opened, elsewhere, Batch((), (entry("d", 1, 1),), "f" * 16))
            assert isinstance(refused, ValueError)
        assert await appended(journal, opened, 2, Batch((), (entry("d", 2, 1),))) == Appended(1)
        again = await journal.open(ADA)
        assert (again.head, again.epoch, again.commands) == (1, opened.epoch, (entry("d", 2, 1),))


def held(opened: Opened) -> tuple[str, int, int, tuple[CommandEntry, ...]]:
    """What a session is seen to hold, without the token, which is new each time."""
    return opened.epoch, opened.first, opened.head, opened.commands


async def test_a_full_store_refuses_records_commands_and_epoch_together() -> None:
    """Red if the part of a batch that takes no room stays, or what fits is refused after a refusal."""
    journal = MemoryJournal(lambda: "0" * 16, max_bytes=3_000)
    opened = await journal.open(ADA)
    assert await appended(journal, opened, 1, Batch((record(1),), (entry("d", 1, 1),))) == Appended(1)
    before = held(await journal.open(ADA))
    opened = await journal.open(ADA)
    too_much = Batch((record(2), record(3, size=1_500)), (entry("d", 2, 1),), "f" * 16)
    assert isinstance(await appended(journal, opened, 2, too_much), StoreUnavailable)
    assert [each.seq for each in await everything(journal, ADA)] == [1]
    assert await appended(journal, opened, 2, Batch((record(2),))) == Appended(1)
    assert held(await journal.open(ADA)) == (before[0], 1, 2, before[3])


async def test_a_full_store_makes_no_session() -> None:
    """Red if a session that was refused is listed, or those that are there cannot be opened any more."""
    journal = MemoryJournal(lambda: "0" * 16, max_bytes=1_500)
    before = held(await journal.open(ADA))
    with pytest.raises(StoreUnavailable, match="1500 are allowed"):
        await journal.open(SessionKey("ada", "zoo"))
    assert list(await journal.sessions("ada")) == [ADA]
    assert held(await journal.open(ADA)) == before
