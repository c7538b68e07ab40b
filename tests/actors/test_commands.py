"""What a session remembers of commands, against the words of law S5."""

from collections import Counter
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import CommandEntry, CommandMemory, Result, Verdict

DEVICES_KEPT = 256
WINDOW = 128


@attrs.define
class Model:
    """The law, naively: what was accepted of the devices used last, and who was only met."""

    used: list[str] = attrs.field(factory=list)
    all: dict[str, dict[int, CommandEntry]] = attrs.field(factory=dict)
    met: set[str] = attrs.field(factory=set)

    def accept(self, entry: CommandEntry) -> None:
        self.met.discard(entry.device)
        self.all.setdefault(entry.device, {})[entry.id] = entry
        self.used = [*(device for device in self.used if device != entry.device), entry.device]
        for forgotten in self.used[:-DEVICES_KEPT]:
            self.used.remove(forgotten)
            del self.all[forgotten]

    def refuse(self, device: str, id: int) -> None:
        if id == 1 and device not in self.used:
            self.met.add(device)

    def settle(self, note: CommandEntry, result: Result) -> None:
        if self.all.get(note.device, {}).get(note.id) is note:
            self.all[note.device][note.id] = attrs.evolve(note, result=result)

    def judge(self, device: str, id: int, fingerprint: bytes) -> tuple[Verdict, Result | None]:
        if device not in self.used:
            return (Verdict.NEW if id == 1 or device in self.met else Verdict.EXPIRED), None
        if id <= max(self.all[device]) - WINDOW:
            return Verdict.EXPIRED, None
        entry = self.all[device].get(id)
        if entry is None or (entry.result is not None and entry.result.retry):
            return Verdict.NEW, None
        if entry.fingerprint != fingerprint:
            return Verdict.CONFLICT, None
        return (Verdict.UNDER_WAY if entry.result is None else Verdict.KNOWN), entry.result


def result_of(kind: str, id: int) -> Result:
    """A result of this kind."""
    match kind:
        case "retry":
            return Result(id, error_code="busy", retry=True)
        case "error":
            return Result(id, error_code="unknown_run")
        case _:
            return Result(id, ok={"n": id})


@attrs.frozen(eq=False)
class Pending:
    """What becomes durable next: a command with its result to come; `begins` if it is the note of an author's op."""

    note: CommandEntry
    result: Result
    begins: bool
    life: int


@attrs.define
class Desk:
    """Takes commands as a session does, with a journal that answers when it is told to."""

    memory: CommandMemory = attrs.field(factory=CommandMemory)
    model: Model = attrs.field(factory=Model)
    journal: list[CommandEntry] = attrs.field(factory=list)
    pending: list[Pending] = attrs.field(factory=list)
    lives: Counter[str] = attrs.field(factory=Counter)
    ran: set[tuple[str, int, int]] = attrs.field(factory=set)

    def command(self, device: str, id: int, fingerprint: bytes, way: str, kind: str) -> None:
        verdict = self.memory.judge(device, id, fingerprint)
        assert verdict == self.model.judge(device, id, fingerprint)
        if verdict[0] is not Verdict.NEW:
            return
        if id == 1 and device not in self.model.used:
            self.lives[device] += 1  # for the law a fresh device
        begins, result = way == "op", result_of(kind, id)
        if result.retry and not begins:
            self.memory.meet(device, id)
            self.model.refuse(device, id)
            return
        pending = Pending(CommandEntry(device, id, fingerprint, None), result, begins, self.lives[device])
        if not begins:
            self.run(pending)
        self.keep(pending, pending.note if begins else attrs.evolve(pending.note, result=result))

    def run(self, what: Pending) -> None:
        ran = (what.note.device, what.life, what.note.id)
        assert ran not in self.ran, "it runs again"
        if not what.result.retry:
            self.ran.add(ran)

    def keep(self, what: Pending, entry: CommandEntry) -> None:
        self.journal.append(entry)
        self.memory.remember(what.note)
        self.model.accept(what.note)
        self.pending.append(what)

    def durable(self, number: int) -> None:
        for _ in range(min(number, len(self.pending))):
            what = self.pending.pop(0)
            if not what.begins:
                self.memory.settle(what.note, what.result)
                self.model.settle(what.note, what.result)
                continue
            self.run(what)
            if self.memory.awaits(what.note):
                self.keep(attrs.evolve(what, begins=False), attrs.evolve(what.note, result=what.result))


ids = st.one_of(st.integers(1, 5), st.integers(120, 140), st.integers(250, 270))
prints = st.sampled_from((b"a", b"b"))
kinds = st.sampled_from(("ok", "error", "retry"))
ways = st.sampled_from(("at once", "op"))
# Few devices that meet often, and now and then a crowd that drives them out.
few = st.sampled_from(("d1", "d2", "d3"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("command"), few, ids, prints, ways, kinds),
        st.tuples(st.just("command"), few, ids, prints, ways, kinds),
        st.tuples(st.just("crowd"), st.sampled_from((253, 254, 256)), ways),
        st.tuples(st.just("durable"), st.sampled_from((1, 2, 1_000))),
    ),
    max_size=40,
)


# S5
@settings(max_examples=150)
@given(steps)
def test_the_memory_judges_as_the_law_says_before_a_restart_and_after_it(program: list[Any]) -> None:
    """S5. Red if a window is off by one, a refusal to be retried is kept, or the wrong device is forgotten.

    Also red if a forgotten one comes back by a late result, or the memory read back from the journal judges otherwise.
    """
    desk = Desk()
    crowds = 0
    for what, *how in program:
        match what:
            case "command":
                desk.command(*how)
            case "crowd":
                crowds += 1
                for number in range(how[0]):
                    desk.command(f"c{crowds}-{number}", 1, b"a", how[1], "ok")
            case "durable":
                desk.durable(*how)
    memory, model = desk.memory, desk.model
    for device in ("d1", "d2", "d3"):
        assert memory.highest(device) == max(model.all.get(device, {}), default=0)
    desk.durable(1_000_000)
    while desk.pending:
        desk.durable(1_000_000)
    restarted, again = CommandMemory(), CommandMemory()
    for entry in desk.journal:
        restarted.remember(entry)
    for entry in restarted.entries():
        again.remember(entry)
    assert memory.entries() == restarted.entries() == again.entries()
    for device in ("d1", "d2", "d3", "c1-0", "c1-255", "c2-0"):
        for id in (1, 2, 5, 121, 122, 128, 129, 130, 256, 257):
            for fingerprint in (b"a", b"b"):
                expected = memory.judge(device, id, fingerprint)
                if device in model.met:
                    # Nothing of it was accepted, so the journal does not know it, and its next id is a stranger's.
                    expected = (Verdict.NEW if id == 1 else Verdict.EXPIRED), None
                assert restarted.judge(device, id, fingerprint) == expected
                assert again.judge(device, id, fingerprint) == expected


def test_a_late_result_does_not_bring_a_forgotten_device_back() -> None:
    """S5. Red if it comes back with this id as its highest: a higher one that ran would be new, and run again."""
    memory = CommandMemory()
    for id in (1, 2, 3, 4):
        memory.remember(CommandEntry("d", id, b"", Result(id, ok={})))
    note = CommandEntry("d", 5, b"", None)
    memory.remember(note)
    for number in range(DEVICES_KEPT):
        memory.remember(CommandEntry(f"other{number}", 1, b"", Result(1, ok={})))
    memory.settle(note, Result(5, ok={}))
    assert memory.highest("d") == 0
    assert [memory.judge("d", id, b"")[0] for id in (2, 4, 5, 6)] == [Verdict.EXPIRED] * 4


def test_what_is_only_asked_again_keeps_no_device_in_memory() -> None:
    """S5. Red if a repetition or a refusal refreshes a device's place: the journal does not know of it."""
    memory = CommandMemory()
    note = CommandEntry("d", 1, b"", None)
    memory.remember(note)
    for number in range(DEVICES_KEPT):
        memory.judge("d", 1, b"")
        memory.settle(note, Result(1, ok={}))
        memory.meet("d", 1)
        memory.remember(CommandEntry(f"other{number}", 1, b"", None))
    assert memory.highest("d") == 0


def test_a_device_whose_first_command_was_refused_is_met_and_such_are_bounded() -> None:
    """S5 S13. Red if its second command is a stranger's, or devices that were only refused fill the memory."""
    memory = CommandMemory()
    for number in range(DEVICES_KEPT + 1):
        memory.meet(f"d{number}", 1)
    memory.meet("stranger", 2)
    assert memory.judge("stranger", 2, b"")[0] is Verdict.EXPIRED
    assert memory.judge("d0", 2, b"")[0] is Verdict.EXPIRED
    assert memory.judge("d1", 2, b"")[0] is Verdict.NEW
    assert memory.entries() == []


def test_the_window_is_the_last_128_ids() -> None:
    """S5. Red if id `highest - 128` is still known, or `highest - 127` is not."""
    memory = CommandMemory()
    for id in range(1, 201):
        memory.remember(CommandEntry("d", id, b"", Result(id, ok={})))
    assert memory.judge("d", 72, b"")[0] is Verdict.EXPIRED
    assert memory.judge("d", 73, b"") == (Verdict.KNOWN, Result(73, ok={}))
    assert memory.judge("d", 201, b"")[0] is Verdict.NEW


def test_memory_is_bounded_whatever_is_remembered() -> None:
    """S13. Red if entries beyond the window, or devices beyond 256, stay."""
    memory = CommandMemory()
    for device in range(300):
        for id in (*range(1, 140), 1_000_000):
            memory.remember(CommandEntry(f"d{device}", id, b"", None))
    assert len(memory.entries()) == DEVICES_KEPT
    assert len(memory.under_way()) == DEVICES_KEPT
