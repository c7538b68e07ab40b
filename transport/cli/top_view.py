"""What `callboard top` shows, from two looks at a node: pure, without terminal, node or clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...runtime import ActorStatistics, SlowHandler
from ..selection import Selection, select
from .story import clean

__all__ = ["Look", "Wanted", "show"]

# From when on a message that waits, or a coroutine that others wait for, is worth a colour: seconds.
WORTH_A_LOOK, WORTH_A_CALL = 1.0, 5.0
# Lines that are no rows of actors: the head, what held the loop, the titles and the foot.
HEAD_ROWS = 8
INDENT = "  "


class Process(msgspec.Struct):
    """What the node's process has used so far."""

    uptime_seconds: float
    cpu_seconds: float
    memory_bytes: int | None


class Connections(msgspec.Struct):
    """How many are open."""

    open: int


class Look(msgspec.Struct):
    """The node's answer, as far as it is shown."""

    server: str
    serving: bool
    process: Process
    sessions: int
    users: int
    runs: dict[str, int]
    connections: Connections
    dead_letters: dict[str, int]
    tasks: int
    handled: int
    slow: list[SlowHandler]
    actors_in_all: int
    actors: list[ActorStatistics]


@attrs.frozen
class Wanted:
    """What is to be shown, and how.

    Attributes:
        sort: which actors come first; ``rate`` and the orders of `selection.SORTS`.
        match: only those with this in their path or kind.
        tree: as a tree, which has an order of its own.
        typing: what is being typed as a new filter; None if nothing is.
        paused: nothing is asked for.
    """

    sort: str = "stuck"
    match: str = ""
    tree: bool = False
    typing: str | None = None
    paused: bool = False


def show(
    look: Look, before: Look | None, seconds: float, wanted: Wanted, url: str, rows: int | None, trouble: str = ""
) -> RenderableType:
    """One screen.

    Args:
        look: what the node said last.
        before: what it said before that; None if it was asked once.
        seconds: the time between the two.
        wanted: what is to be shown.
        url: the node.
        rows: how many rows there are on the screen; None shows all.
        trouble: why there is no newer look.
    """
    rates = _rates(look, before, seconds)
    chosen = _chosen(look.actors, wanted, rates)
    most = len(chosen) if rows is None else max(1, rows - HEAD_ROWS)
    parts: list[RenderableType] = [_head(look, before, seconds, url, trouble), _slow(look.slow), Text()]
    parts.append(_table(chosen[:most], rates, wanted))
    if not chosen:
        parts.append(Text("  no actor matches", "dim"))
    parts.append(Text())
    parts.append(_foot(wanted, len(chosen[:most]), look.actors_in_all, live=rows is not None))
    return Group(*parts)


def _chosen(actors: Sequence[ActorStatistics], wanted: Wanted, rates: Mapping[str, float]) -> Sequence[ActorStatistics]:
    sort = "path" if wanted.tree else wanted.sort if wanted.sort != "rate" else "handled"
    chosen = select(actors, Selection(sort=sort, match=wanted.match))
    if wanted.sort == "rate" and not wanted.tree:
        chosen.sort(key=lambda actor: -rates.get(actor.path, 0.0))
    return chosen


def _rates(look: Look, before: Look | None, seconds: float) -> dict[str, float]:
    """Messages per second of each actor that was there at both looks."""
    if before is None or seconds <= 0:
        return {}
    handled = {actor.path: actor.handled for actor in before.actors}
    return {
        actor.path: max(0, actor.handled - handled[actor.path]) / seconds
        for actor in look.actors
        if actor.path in handled
    }


def _head(look: Look, before: Look | None, seconds: float, url: str, trouble: str) -> RenderableType:
    state = ("serving", "green") if look.serving else ("draining", "yellow")
    if trouble:
        state = (f"no answer: {trouble}", "bold red")
    first = Text.assemble((clean(look.server), "bold"), "  ", clean(url), "  ", state)
    process = look.process
    second = [f"up {_span(process.uptime_seconds)}"]
    if before is not None and seconds > 0:
        second.append(f"CPU {100 * (process.cpu_seconds - before.process.cpu_seconds) / seconds:.0f} %")
    if process.memory_bytes is not None:
        second.append(f"memory {process.memory_bytes / 2**20:,.0f} MiB")
    if before is not None and seconds > 0:
        second.append(f"{max(0, look.handled - before.handled) / seconds:,.0f} messages/s")
    second.append(_count(look.tasks, "coroutine"))
    letters = {reason: count for reason, count in look.dead_letters.items() if count}
    told = ", ".join(f"{count:,} {reason}" for reason, count in letters.items()) or "none"
    third = [
        f"{_count(look.sessions, 'session')} of {_count(look.users, 'user')}",
        _count(look.runs.get("open", 0), "open run"),
        _count(look.connections.open, "connection"),
        f"dead letters: {told}",
    ]
    return Group(first, Text("   ".join(second)), Text("   ".join(third)))


def _slow(slow: Sequence[SlowHandler]) -> Text:
    if not slow:
        return Text("nothing held the loop up", "dim")
    case = slow[-1]
    who = (
        f"{_place(case.path, tree=False)} at {case.message or 'a hook'}"
        if case.path is not None
        else "code outside of actors"
    )
    verb = "held" if case.over else "holds"
    where = f"  {case.stack[-1]}" if case.stack else ""
    more = f"  (the newest of {len(slow)})" if len(slow) > 1 else ""
    told = f"{verb} the loop up for {case.seconds:.2f} s: {clean(who)}{more}{clean(where)}"
    return Text(told, "red", no_wrap=True, overflow="ellipsis")


def _table(actors: Sequence[ActorStatistics], rates: Mapping[str, float], wanted: Wanted) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, expand=True, header_style="reverse")
    for title in ("oldest", "mailbox"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("at", no_wrap=True, max_width=16)
    for title in ("for", "msgs/s", "handled", "restarts"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("last error", no_wrap=True, max_width=18)
    table.add_column("kind", no_wrap=True, max_width=18)
    table.add_column("actor", ratio=1, no_wrap=True, overflow="ellipsis")
    for actor in actors:
        rate = rates.get(actor.path)
        table.add_row(
            _age(actor.oldest_seconds, urgent=True),
            _depth(actor),
            clean(actor.current or ("" if actor.state == "running" else actor.state)),
            _age(actor.current_seconds, urgent=actor.mailbox > 0),
            "" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" if rate else "·",
            f"{actor.handled:,}",
            Text(str(actor.restarts), "yellow") if actor.restarts else "·",
            Text(clean(actor.last_error or ""), "red"),
            clean(actor.kind),
            _place(actor.path, tree=wanted.tree),
        )
    return table


def _place(path: str, *, tree: bool) -> str:
    """The path below the root, which all have; or the last part of it in its place in the tree."""
    parts = clean(path).split("/")
    if tree:
        return INDENT * (len(parts) - 1) + parts[-1]
    return "/".join(parts[1:] or parts)


def _age(seconds: float | None, *, urgent: bool) -> Text:
    if seconds is None:
        return Text("·", "dim")
    style = "bold red" if seconds >= WORTH_A_CALL else "yellow" if seconds >= WORTH_A_LOOK else ""
    return Text(_span(seconds), style if urgent else "")


def _depth(actor: ActorStatistics) -> Text:
    if not actor.mailbox:
        return Text("·", "dim")
    full = actor.mailbox / max(1, actor.capacity)
    return Text(f"{actor.mailbox:,}/{actor.capacity:,}", "bold red" if full >= 0.9 else "yellow" if full >= 0.5 else "")


def _span(seconds: float) -> str:
    """Seconds as a person reads them: ``0.4 s``, ``73 s``, ``12 min``, ``3 h 05``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _foot(wanted: Wanted, shown: int, of: int, *, live: bool) -> Text:
    if wanted.typing is not None:
        return Text.assemble(("filter: ", "bold"), clean(wanted.typing), ("▏", "bold"), ("   Enter takes it", "dim"))
    order = "tree" if wanted.tree else f"sorted by {wanted.sort}"
    match = f"   filter {clean(wanted.match)!r}" if wanted.match else ""
    told = f"{shown:,} of {_count(of, 'actor')}   {order}{match}"
    if not live:
        return Text(told, "dim")
    paused = ("   paused", "bold yellow") if wanted.paused else ""
    return Text.assemble((told, "dim"), paused, ("   s sort  / filter  t tree  space pause  q quit", "bold"))
