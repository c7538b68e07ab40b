"""What a session remembers of commands, against the words of law S5."""

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import CommandEntry, CommandMemory, Result, Verdict

DEVICES_KEPT = 256
WINDOW = 128


@attrs.define
class Model:
    """The law, naively: all commands ever, and which devices were used last."""

    used: list[str] = attrs.field(factory=list)
    all: dict[str, dict[int, CommandEntry]] = attrs.field(factory=dict)

    def use(self, device: str) -> None:
        if device in self.used:
            self.used.remove(device)
        self.used.append(device)
        for forgotten in self.used[:-DEVICES_KEPT]:
            self.used.remove(forgotten)
            del self.all[forgotten]

    def remember(self, entry: CommandEntry) -> None:
        self.all.setdefault(entry.device, {})[entry.id] = entry
        self.use(entry.device)

    def judge(self, device: str, id: int, fingerprint: bytes) -> tuple[Verdict, Result | None]:
        if device not in self.used:
            return (Verdict.NEW if id == 1 else Verdict.EXPIRED), None
        self.use(device)
        if id <= max(self.all[device]) - WINDOW:
            return Verdict.EXPIRED, None
        entry = self.all[device].get(id)
        if entry is None or (entry.result is not None and entry.result.retry):
            return Verdict.NEW, None
        if entry.fingerprint != fingerprint:
            return Verdict.CONFLICT, None
        return (Verdict.UNDER_WAY if entry.result is None else Verdict.KNOWN), entry.result


def result_of(kind: str, id: int) -> Result | None:
    """A result of this kind."""
    match kind:
        case "none":
            return None
        case "retry":
            return Result(id, error_code="busy", retry=True)
        case "error":
            return Result(id, error_code="unknown_run")
        case _:
            return Result(id, ok={"n": id})


ids = st.one_of(st.integers(1, 5), st.integers(120, 140), st.integers(250, 270))
prints = st.sampled_from((b"a", b"b"))
kinds = st.sampled_from(("none", "retry", "error", "ok"))
# Few devices that meet often, and now and then a crowd that drives them out.
few = st.sampled_from(("d1", "d2", "d3"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), few, ids, prints, kinds),
        st.tuples(st.just("judge"), few, ids, prints, kinds),
        st.tuples(st.just("crowd"), st.sampled_from(("d253", "d254", "d256")), ids, prints, kinds),
    ),
    max_size=40,
)


# S5
@settings(max_examples=150)
@given(steps)
def test_the_memory_judges_as_the_law_says(program: list[tuple[str, str, int, bytes, str]]) -> None:
    """S5. Red if a window is off by one, a refusal to be retried is kept, or the wrong device is forgotten."""
    memory, model = CommandMemory(), Model()
    for what, device, id, fingerprint, kind in program:
        if what == "judge":
            assert memory.judge(device, id, fingerprint) == model.judge(device, id, fingerprint)
            continue
        crowd = [f"c{n}" for n in range(int(device[1:]))] if what == "crowd" else [device]
        for each in crowd:
            entry = CommandEntry(each, id, fingerprint, result_of(kind, id))
            memory.remember(entry)
            model.remember(entry)
    for device in ("d1", "d2", "d3"):
        known = model.all.get(device) if device in model.used else None
        assert memory.highest(device) == (max(known) if known else 0)
    again = CommandMemory()
    for entry in memory.entries():
        again.remember(entry)
    for device in ("d1", "d2", "d3", "c0", "c255"):
        for id in (1, 2, 5, 121, 122, 128, 129, 130, 256, 257):
            for fingerprint in (b"a", b"b"):
                assert again.judge(device, id, fingerprint) == memory.judge(device, id, fingerprint)


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
