"""Judges what all connections saw, once all is known: whose record each is, order, sameness, grammar, ids, positions.

Each breach is put down against the one line that it belongs to: what follows from it elsewhere is left out. So a record
that is another's is not counted as a gap, and a run whose records are not all there is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .evidence import Findings
from .grammar import data_of, judge_run
from .lines import Line
from .link import Link
from .story import Story
from .stream import Merged, Missing, Seen, contiguous_until, differing, first_break, merged_wrongly, repeated_ids

__all__ = ["judge"]

OF_RUNS = (Line.MERGED, Line.GRAMMAR, Line.TOOL_PAIRS, Line.TERMINAL, Line.POSITION)


def judge(findings: Findings, stories: Sequence[Story]) -> None:
    """Judge all sessions together."""
    owners = {run: story for story in stories for run in story.said}
    for story in stories:
        _Session(findings, story, owners).judge()
    if findings.outcomes[Line.GRAMMAR].count:
        nothing = {Line.TOOL_PAIRS: "the agent used no tools", Line.MERGED: "no answer had pieces that the node merged"}
        for line, why in nothing.items():
            if not findings.outcomes[line].count and not findings.outcomes[line].failures:
                findings.remark([line], why)


class _Session:
    def __init__(self, findings: Findings, story: Story, owners: Mapping[str, Story]) -> None:
        self._findings = findings
        self._story = story
        self._owners = owners
        self._known: dict[int, Seen] = {}
        self._strange: dict[str, Line | None] = {}
        self._inputs = {run: _input(record) for link in reversed(story.links) for run, record in link.started.items()}

    def judge(self) -> None:
        for link in self._story.links:
            self._judge_link(link)
        self._judge_ids()
        records = self._known
        readable = not any(link.unreadable for link in self._story.links)
        if readable and contiguous_until(records) == max(records, default=0):
            self._judge_merged()
            self._judge_runs()
            self._judge_positions()
        else:
            self._findings.remark(OF_RUNS, "records of some sessions were not all seen, so their runs were not judged")

    # -- one connection -----------------------------------------------------------------------------------------------

    def _judge_link(self, link: Link) -> None:
        own: list[Seen | Missing | Merged] = []
        strange: list[Seen] = []
        for item in link.items:
            line = self._line_of_strange(item) if isinstance(item, Seen) else None
            if line is None:
                own.append(item)
            else:
                assert isinstance(item, Seen)
                strange.append(item)
                link.fault(line, _expected(line), seen=f"run {item.run}", seq=item.seq, frame=item.raw)
        if not link.unreadable:
            self._judge_order(link, own, strange)
        records = [item for item in own if isinstance(item, Seen)]
        self._findings.passed(Line.OWN, len(records))
        same = sum(1 for record in records if record.seq in self._known)
        for record in differing(records, self._known):
            same -= 1
            seen = f"another device has {self._known[record.seq].raw[:200].decode('utf-8', 'replace')}"
            link.fault(Line.IDENTICAL, "the same record on each device", seen=seen, seq=record.seq, frame=record.raw)
        self._findings.passed(Line.IDENTICAL, same)
        for record in (*records, *strange):
            self._known.setdefault(record.seq, record)
        for run, said in self._story.said.items():
            started = link.started.get(run)
            if started is not None and link.opened < said.at:
                self._findings.outcomes[Line.IDENTICAL].seconds.append(started.arrived - said.at)

    def _judge_order(self, link: Link, own: Sequence[Seen | Missing | Merged], strange: Sequence[Seen]) -> None:
        assert link.welcome is not None
        begins = link.welcome.begins
        found = first_break(begins, link.items)
        if found is not None and strange:
            # Somebody else's record stands beside the stream, or in a place of it: the place is not the breach.
            found = first_break(begins, own)
        if found is None:
            self._findings.passed(Line.CONTIGUOUS, len(own))
            return
        line = link.seam if found.at_seam else Line.CONTIGUOUS
        if isinstance(found.found, Seen):
            seen, raw, seq = f"seq {found.found.seq}", found.found.raw, found.found.seq
        elif isinstance(found.found, Merged):
            seen, raw, seq = f"seq {found.found.first} to {found.found.last}", found.found.raw, found.found.first
        else:
            seen, raw, seq = f"a gap from {found.found.first} to {found.found.last}", b"", found.found.first
        link.fault(line, f"seq {found.expected}", seen=seen, seq=seq, frame=raw)

    def _line_of_strange(self, record: Seen) -> Line | None:
        """The line that a record's presence breaks; None for one that belongs here."""
        run = record.run
        if run is None or run in self._story.said:
            return None
        if run not in self._strange:
            self._strange[run] = self._line_of_strange_run(run)
        return self._strange[run]

    def _line_of_strange_run(self, run: str) -> Line | None:
        story, owner = self._story, self._owners.get(run)
        if owner is not None:
            return Line.NAMES if owner.user is story.user else Line.OWN
        text = self._inputs.get(run)
        if text in story.refused:
            return Line.CONFLICT
        if text is None or text not in story.texts:
            return Line.OWN
        # A message of this session, but no result names its run: it was not answered, or was taken once more.
        return None if text in story.unanswered else Line.REPEAT

    # -- the session --------------------------------------------------------------------------------------------------

    def _judge_ids(self) -> None:
        records = [self._known[seq] for seq in sorted(self._known)]
        twice = list(repeated_ids(records))
        for earlier, later in twice:
            self._fault(Line.IDS, later, f"an id of its own; record {earlier.seq} has {earlier.id!r} too")
        self._findings.passed(Line.IDS, len(records) - len(twice))

    def _judge_merged(self) -> None:
        """What came merged, beside what others got one by one."""
        for link in self._story.links:
            for item in link.items:
                if not isinstance(item, Merged) or item.last not in self._known:
                    continue
                expected = merged_wrongly(item, self._known)
                if expected is None:
                    self._findings.passed(Line.MERGED)
                else:
                    link.fault(Line.MERGED, expected, seq=item.first, frame=item.raw)

    def _judge_runs(self) -> None:
        runs: dict[str, list[Seen]] = {}
        for seq in sorted(self._known):
            record = self._known[seq]
            if record.run is not None and self._strange.get(record.run) is None:
                runs.setdefault(record.run, []).append(record)
        for run, records in runs.items():
            broken = set()
            for fault in judge_run(records):
                self._fault(fault.line, fault.record, fault.expected)
                broken.add(fault.line)
            said = self._story.said.get(run)
            if said is not None and records[0].type == "agent_started" and _input(records[0]) != said.text:
                self._fault(Line.OWN, records[0], f"the run's input to be what was said, {said.text:.80}")
            if Line.GRAMMAR not in broken:
                self._findings.passed(Line.GRAMMAR)
            if Line.TOOL_PAIRS not in broken:
                calls = sum(1 for record in records if record.type == "tool_executing")
                self._findings.passed(Line.TOOL_PAIRS, calls)
            if Line.TERMINAL not in broken and any(run in link.ended for link in self._story.links):
                self._findings.passed(Line.TERMINAL, seconds=self._duration(run))

    def _duration(self, run: str) -> float | None:
        said = self._story.said.get(run)
        ends = [link.ended[run].arrived for link in self._story.links if run in link.ended]
        return None if said is None else min(ends) - said.at

    def _judge_positions(self) -> None:
        for said in self._story.said.values():
            record = self._known.get(said.seq) if isinstance(said.seq, int) else None
            if record is not None and record.type == "agent_started" and record.run == said.run:
                self._findings.passed(Line.POSITION)
            elif any(said.run in link.started for link in self._story.links):
                link = next(link for link in self._story.links if said.run in link.started)
                started = link.started[said.run]
                link.fault(
                    Line.POSITION,
                    f"result.seq {started.seq}, where agent_started of run {said.run} stands",
                    seen=f"result.seq {said.seq!r}",
                    seq=started.seq,
                    frame=started.raw,
                )

    def _fault(self, line: Line, record: Seen, expected: str) -> None:
        link = next(link for link in self._story.links if record in link.items)
        link.fault(line, expected, seen=record.type, seq=record.seq, frame=record.raw)


def _input(record: Seen) -> str | None:
    data = data_of(record)
    text = data.get("input") if isinstance(data, dict) else None
    return text if isinstance(text, str) else None


def _expected(line: Line) -> str:
    if line is Line.REPEAT:
        return "one run for each message; no result names this one"
    if line is Line.CONFLICT:
        return "no run for a message that was refused with id_conflict"
    if line is Line.NAMES:
        return "records of this session; this run was begun in the same user's other one"
    return "records of runs that were begun in this session"
