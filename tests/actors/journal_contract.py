"""What every journal promises, as tests. A journal passes them when its own test module subclasses `JournalContract`.

::

    class TestSqliteJournal(JournalContract):
        @asynccontextmanager
        async def opened(self, retained_records=10_000):
            ...
            yield journal
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import trio

from callboard.actors import (
    Appended,
    Batch,
    CommandEntry,
    CommandMemory,
    Event,
    Fenced,
    Journal,
    Opened,
    Publication,
    Record,
    Result,
    SessionKey,
    Snapshot,
    Verdict,
)

ADA = SessionKey("ada")
BOB = SessionKey("bob")


def record(seq: int, *, size: int = 10) -> Record:
    """A record of an author's event at this seq."""
    event = Event.make(f"x/{seq}", "x.said", None, {"text": "é" * size}, max_bytes=10**6, max_depth=8)
    return Record.of(event, seq, 1_000_000 + seq)


def run_record(seq: int, run: str) -> Record:
    """A record of a run."""
    data = {"agent": "a", "input": "hello", "by": "session"}
    return Record.of(Event.make(f"{run}/0", "agent_started", run, data, max_bytes=10**6, max_depth=8), seq, seq)


def end_record(seq: int, run: str) -> Record:
    """The end of a run."""
    data = {"by": "user", "reason": "enough"}
    return Record.of(Event.make(f"{run}/end", "agent_cancelled", run, data, max_bytes=10**6, max_depth=8), seq, seq)


def publication(seq: int, key: str, *, service: str = "billing", body: bytes = b"f") -> Publication:
    """A publication whose record has this seq."""
    return Publication(service, key, body, record(seq).at, "00000000000000aa", seq, f"x/{seq}")


def same(left: Record, right: Record) -> bool:
    """Whether two records are equal in everything."""
    return all(getattr(left, name) == getattr(right, name) for name in ("seq", "at", "id", "type", "run", "encoded"))


async def appended(journal: Journal, opened: Opened, first_seq: int, batch: Batch) -> Appended | BaseException:
    """Append and wait for the answer, asserting that there is one only."""
    answers: list[Appended | BaseException] = []
    came = trio.Event()

    def done(outcome: Appended | BaseException) -> None:
        answers.append(outcome)
        came.set()

    journal.append(opened.token, first_seq, batch, done)
    await came.wait()
    # Time for an answer too many.
    await trio.sleep(0.01)
    assert len(answers) == 1
    return answers[0]


async def first_is(journal: Journal, *wanted: int) -> Opened:
    """Wait until ada's session has come to keep no more than from here on."""
    while True:
        opened = await journal.open(ADA)
        if opened.first in wanted:
            return opened
        assert opened.first < max(wanted)
        await trio.lowlevel.checkpoint()


async def all_records(journal: Journal, key: SessionKey) -> list[Record]:
    """Everything that is kept of a session, read in small pages. Each has to begin behind the one before."""
    taken: list[Record] = []
    while True:
        after = taken[-1].seq if taken else 0
        page = await journal.read(key.id, after, max_records=3, max_bytes=10**6)
        if not page:
            return taken
        assert page[0].seq > after, "a page is given twice, and so for ever"
        taken += page


class JournalContract(abc.ABC):
    """The promises in `journal.py`, one test or more each. Every test opens a journal of its own."""

    @abc.abstractmethod
    def opened(self, *, retained_records: int = 10_000) -> AbstractAsyncContextManager[Journal]:
        """An empty journal that keeps about so many records of a session, closed at the end."""

    async def test_an_empty_session_has_first_one_and_head_zero(self) -> None:
        """Red if an implementation begins to count elsewhere."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            assert (opened.first, opened.head, opened.commands) == (1, 0, ())
            assert len(opened.epoch) == 16
            assert set(opened.epoch) <= set("0123456789abcdef")
            assert await journal.read(ADA.id, 0, max_records=10, max_bytes=1_000) == ()

    async def test_what_was_appended_is_read_back_byte_for_byte(self) -> None:
        """Red if a field of a record is lost, or its JSON is made anew."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            batches = [[record(1), run_record(2, "r")], [record(3)], [record(4), record(5)]]
            for batch in batches:
                assert await appended(journal, opened, batch[0].seq, Batch(tuple(batch))) == Appended(1)
            kept = await all_records(journal, ADA)
            written = list(itertools.chain(*batches))
            assert len(kept) == len(written)
            assert all(map(same, kept, written))
            again = await journal.open(ADA)
            assert (again.first, again.head, again.epoch) == (1, 5, opened.epoch)

    async def test_sessions_do_not_mix(self) -> None:
        """S1. Red if records or positions of two sessions meet."""
        async with self.opened() as journal:
            ada, bob = await journal.open(ADA), await journal.open(BOB)
            assert ada.epoch != bob.epoch
            await appended(journal, ada, 1, Batch((record(1), record(2))))
            await appended(journal, bob, 1, Batch((run_record(1, "b"),)))
            assert [kept.type for kept in await all_records(journal, ADA)] == ["x.said", "x.said"]
            assert [kept.type for kept in await all_records(journal, BOB)] == ["agent_started"]

    async def test_an_older_token_is_fenced_and_changes_nothing(self) -> None:
        """Red if two incarnations of a session can write at the same time."""
        async with self.opened() as journal:
            old = await journal.open(ADA)
            await appended(journal, old, 1, Batch((record(1),)))
            new = await journal.open(ADA)
            assert new.token.generation > old.token.generation
            entry = CommandEntry("d", 1, b"f", Result(1, ok={}))
            batch = Batch((record(2),), (entry,), "f" * 16, publications=(publication(2, "k"),))
            refused = await appended(journal, old, 2, batch)
            assert isinstance(refused, Fenced)
            assert await appended(journal, new, 2, Batch((record(2, size=3),))) == Appended(1)
            kept = await all_records(journal, ADA)
            assert len(kept) == 2
            assert same(kept[1], record(2, size=3))
            last = await journal.open(ADA)
            assert (last.commands, last.epoch, last.publications) == ((), old.epoch, ())

    async def test_a_batch_that_does_not_follow_changes_nothing(self) -> None:
        """S2. Red if a gap, a repetition or a batch with a hole is taken, or half of one."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            await appended(journal, opened, 1, Batch((record(1), record(2))))
            entry = CommandEntry("d", 1, b"f", Result(1, ok={}))
            for first_seq, seqs in ((2, [2]), (4, [4]), (3, [3, 5]), (3, [4]), (1, [1, 2, 3])):
                batch = Batch(tuple(map(record, seqs)), (entry,), "f" * 16)
                refused = await appended(journal, opened, first_seq, batch)
                assert isinstance(refused, ValueError), (first_seq, seqs)
            assert [kept.seq for kept in await all_records(journal, ADA)] == [1, 2]
            again = await journal.open(ADA)
            assert (again.head, again.commands, again.epoch) == (2, (), opened.epoch)

    async def test_appends_are_taken_in_order_without_waiting(self) -> None:
        """S2. Red if `append` needs the earlier answer first, or answers get out of order."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            answered: list[int] = []
            for seq in range(1, 21):
                journal.append(opened.token, seq, Batch((record(seq),)), lambda _, seq=seq: answered.append(seq))  # type: ignore[misc]
            again = await journal.open(ADA)
            assert again.head == 20, "open waits behind earlier appends"
            assert answered == list(range(1, 21)), "and so it does for their answers"

    async def test_an_answer_may_be_followed_by_an_append_at_once(self) -> None:
        """Red if `done` is called while the journal cannot take an append."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            outcomes: list[Appended | BaseException] = []
            came = trio.Event()

            def second(outcome: Appended | BaseException) -> None:
                outcomes.append(outcome)
                came.set()

            def first(outcome: Appended | BaseException) -> None:
                outcomes.append(outcome)
                journal.append(opened.token, 2, Batch((record(2),)), second)

            journal.append(opened.token, 1, Batch((record(1),)), first)
            await came.wait()
            assert outcomes == [Appended(1), Appended(1)]

    async def test_reading_is_paged_by_number_and_by_bytes(self) -> None:
        """S8. Red if a page has no bound, or a record larger than the bound is never given."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            await appended(journal, opened, 1, Batch(tuple(record(seq, size=100) for seq in range(1, 11))))
            one = len(record(1, size=100).encoded)

            async def seqs(after: int, max_records: int, max_bytes: int) -> list[int]:
                page = await journal.read(ADA.id, after, max_records=max_records, max_bytes=max_bytes)
                return [kept.seq for kept in page]

            assert await seqs(0, 3, 10**6) == [1, 2, 3]
            assert await seqs(3, 100, 10**6) == [4, 5, 6, 7, 8, 9, 10]
            assert await seqs(4, 100, 2 * one + 1) == [5, 6]
            assert await seqs(4, 100, 1) == [5], "one record at least"
            assert await seqs(9, 5, 10**6) == [10]
            assert await seqs(10, 5, 10**6) == []
            assert await seqs(99, 5, 10**6) == []

    async def test_what_is_not_kept_is_skipped_and_said(self) -> None:
        """S10. Red if retention takes what is to be kept, is not told by `first`, or reading before it gives none."""
        async with self.opened(retained_records=4) as journal:
            opened = await journal.open(ADA)
            firsts = [0]
            for seq in range(1, 7):
                answer = await appended(journal, opened, seq, Batch((record(seq),)))
                assert isinstance(answer, Appended)
                assert firsts[-1] <= answer.first <= max(1, seq - 3), "it comes late if it likes, and never early"
                firsts.append(answer.first)
            opened = await first_is(journal, 3)
            page = await journal.read(ADA.id, 0, max_records=10, max_bytes=10**6)
            assert [kept.seq for kept in page] == [3, 4, 5, 6]
            assert opened.head == 6
            answer = await appended(journal, opened, 7, Batch(tuple(map(record, range(7, 17)))))
            assert isinstance(answer, Appended)
            assert 3 <= answer.first <= 13
            await first_is(journal, 7, 13)  # what was appended together may go together
            assert [kept.seq for kept in await all_records(journal, ADA)][-4:] == [13, 14, 15, 16]

    async def test_a_snapshot_is_kept_and_keeps_what_it_does_not_cover(self) -> None:
        """S10. Red if a snapshot is lost, of another place, or records are dropped that only it could replace."""
        async with self.opened(retained_records=2) as journal:
            opened = await journal.open(ADA)
            assert opened.snapshot is None
            batch = Batch((record(1), record(2)), snapshot=Snapshot(2, b"one"))
            assert isinstance(await appended(journal, opened, 1, batch), Appended)
            for wrong in (1, 2, 4):
                refused = await appended(journal, opened, 3, Batch((record(3),), snapshot=Snapshot(wrong, b"two")))
                assert isinstance(refused, ValueError)
            for seq in range(3, 9):
                answer = await appended(journal, opened, seq, Batch((record(seq),)))
                assert isinstance(answer, Appended)
                assert answer.first <= 3
            opened = await first_is(journal, 3)
            assert opened.snapshot == Snapshot(2, b"one")
            assert [kept.seq for kept in await all_records(journal, ADA)] == [3, 4, 5, 6, 7, 8]
            assert isinstance(await appended(journal, opened, 9, Batch(snapshot=Snapshot(8, b"two"))), Appended)
            assert isinstance(await appended(journal, opened, 9, Batch((record(9),))), Appended)
            opened = await first_is(journal, 8)
            assert opened.snapshot == Snapshot(8, b"two")

    async def test_runs_without_an_end_are_found(self) -> None:
        """S6. Red if a session whose run a crash left open is not found, or one is found that has none."""
        async with self.opened() as journal:
            assert list(await journal.unfinished()) == []
            ada, bob, eve = [await journal.open(SessionKey(user)) for user in ("ada", "bob", "eve")]
            await appended(journal, eve, 1, Batch((run_record(1, "e"), end_record(2, "e"))))
            await appended(journal, bob, 1, Batch((run_record(1, "b"), run_record(2, "c"))))
            await appended(journal, ada, 1, Batch((run_record(1, "a"), record(2))))
            assert list(await journal.unfinished()) == [ADA, BOB]
            await appended(journal, ada, 3, Batch((end_record(3, "a"),)))
            await appended(journal, bob, 3, Batch((end_record(3, "c"),)))
            assert list(await journal.unfinished()) == [BOB]
            bob = await journal.open(BOB)
            await appended(journal, bob, 4, Batch((end_record(4, "b"),)))
            assert list(await journal.unfinished()) == []

    async def test_commands_come_back_as_the_memory_that_they_make(self) -> None:
        """S5. Red if an id, a result, the order of devices or the window of 128 is lost."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            model = CommandMemory()
            entries = [
                CommandEntry("d1", 1, b"a", None),
                CommandEntry("d1", 1, b"a", Result(1, ok={"run": "r", "n": [1, {"x": None}]}, seq=7)),
                CommandEntry("d2", 5, b"b", Result(5, error_code="busy", error_message="é", retry=True)),
                *(CommandEntry("d3", id, bytes([id % 256]), Result(id, ok={})) for id in range(1, 200)),
                CommandEntry("d1", 3, b"c", Result(3, error_code="unknown_run", error_message="no", seq=None)),
                CommandEntry("d4", 9, b"d", None),
                *(CommandEntry(f"e{n}", 1, b"e", Result(1, ok={})) for n in range(253)),
            ]
            for start in range(0, len(entries), 7):
                batch = entries[start : start + 7]
                assert await appended(journal, opened, 1, Batch(commands=tuple(batch))) == Appended(1)
                for entry in batch:
                    model.remember(entry)
            again = await journal.open(ADA)
            assert again.head == 0
            memory = CommandMemory()
            for entry in again.commands:
                memory.remember(entry)
            assert memory.entries() == model.entries()
            assert memory.highest("d3") == 199
            assert memory.judge("d3", 71, b"G") == (Verdict.EXPIRED, None)
            assert memory.judge("d3", 72, b"H") == (Verdict.KNOWN, Result(72, ok={}))
            # d2 was used least recently of the 257 devices.
            assert memory.highest("d2") == 0
            assert memory.highest("d4") == 9

    async def test_a_command_and_its_records_are_one_batch(self) -> None:
        """S5. Red if one can be durable without the other."""
        async with self.opened() as journal:
            opened = await journal.open(ADA)
            entry = CommandEntry("d", 1, b"f", Result(1, ok={"run": "r"}, seq=1))
            await appended(journal, opened, 1, Batch((run_record(1, "r"),), (entry,)))
            again = await journal.open(ADA)
            assert (again.head, again.commands) == (1, (entry,))

    async def test_publications_come_back_in_their_order(self) -> None:
        """S5. Red if a key, its answer or the order is lost, or one service's or session's key hides another's."""
        async with self.opened() as journal:
            ada, bob = await journal.open(ADA), await journal.open(BOB)
            said = [
                publication(1, "k1"),
                publication(2, "é" * 200, service="mail"),
                publication(3, "k1", service="mail", body=bytes(range(32))),
                publication(4, "a"),
            ]
            for start in (0, 2):
                batch = Batch((record(start + 1), record(start + 2)), publications=tuple(said[start : start + 2]))
                assert await appended(journal, ada, start + 1, batch) == Appended(1)
            await appended(journal, bob, 1, Batch((record(1),), publications=(publication(1, "k1", body=b"b"),)))
            opened = await journal.open(ADA)
            assert [each for each in opened.publications if each.service == "billing"] == [said[0], said[3]]
            assert [each for each in opened.publications if each.service == "mail"] == [said[1], said[2]]
            assert len(opened.publications) == 4
            assert (await journal.open(BOB)).publications == (publication(1, "k1", body=b"b"),)

    async def test_publications_are_forgotten_when_a_batch_says_so(self) -> None:
        """S5 S13. Red if they stay for ever, too many go, another session's do, or a key cannot be used anew."""
        async with self.opened() as journal:
            ada, bob = await journal.open(ADA), await journal.open(BOB)
            for seq in (1, 2, 3):
                await appended(journal, ada, seq, Batch((record(seq),), publications=(publication(seq, f"k{seq}"),)))
            await appended(journal, bob, 1, Batch((record(1),), publications=(publication(1, "k1"),)))
            batch = Batch((record(4),), publications=(publication(4, "k1"),), forget_before=record(2).at)
            await appended(journal, ada, 4, batch)
            kept = (publication(2, "k2"), publication(3, "k3"), publication(4, "k1"))
            assert (await journal.open(ADA)).publications == kept
            assert (await journal.open(BOB)).publications == (publication(1, "k1"),)
            ada = await journal.open(ADA)
            await appended(journal, ada, 5, Batch((record(5),), forget_before=record(9).at))
            assert (await journal.open(ADA)).publications == ()

    async def test_a_session_is_found_by_its_id(self) -> None:
        """S1. Red if an id leads to another session, or one that was never made is found."""
        async with self.opened() as journal:
            notes = SessionKey("ada", "notes")
            await journal.open(ADA)
            await journal.open(notes)
            assert [await journal.find(key.id) for key in (ADA, notes, BOB)] == [ADA, notes, None]
            assert await journal.find("") is None

    async def test_a_new_epoch_lasts(self) -> None:
        """S10. Red if the epoch that the session asked for is not kept, or touches another session's."""
        async with self.opened() as journal:
            opened, bob = await journal.open(ADA), await journal.open(BOB)
            await appended(journal, opened, 1, Batch((record(1),)))
            assert await appended(journal, opened, 2, Batch(epoch="0123456789abcdef")) == Appended(1)
            again = await journal.open(ADA)
            assert (again.epoch, again.head) == ("0123456789abcdef", 1)
            assert (await journal.open(BOB)).epoch == bob.epoch

    async def test_the_sessions_of_a_user_are_listed_in_order_of_making(self) -> None:
        """S1. Red if the list is unordered, has one twice, or has another user's."""
        async with self.opened() as journal:
            keys = [SessionKey("ada", name) for name in ("main", "zoo", "art")]
            for key in (keys[0], BOB, keys[1], keys[2], keys[0]):
                await journal.open(key)
            assert list(await journal.sessions("ada")) == keys
            assert list(await journal.sessions("bob")) == [BOB]
            assert list(await journal.sessions("eve")) == []

    async def test_reading_and_listing_make_no_session(self) -> None:
        """Red if a look leaves something behind."""
        async with self.opened() as journal:
            assert list(await journal.read("0" * 32, 0, max_records=5, max_bytes=100)) == []
            assert list(await journal.sessions("ada")) == []

    async def test_many_write_at_once(self) -> None:
        """S1 S2. Red if sessions that append at the same time disturb each other."""
        async with self.opened() as journal:
            keys = [SessionKey("ada", f"s{index}") for index in range(8)]

            async def write(key: SessionKey) -> None:
                opened = await journal.open(key)
                for seq in range(1, 16):
                    assert await appended(journal, opened, seq, Batch((record(seq, size=seq),))) == Appended(1)
                    await trio.lowlevel.checkpoint()

            await together(*(lambda key=key: write(key) for key in keys))
            for key in keys:
                kept = await all_records(journal, key)
                assert len(kept) == 15
                assert all(same(found, record(seq, size=seq)) for seq, found in enumerate(kept, 1))


async def together(*jobs: Callable[[], Awaitable[None]]) -> None:
    """Run all at once."""
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(job)
