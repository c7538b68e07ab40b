"""The laws, checked from the outside when a simulated run has come to rest. Naive on purpose: no line of the product.

It compares what three parties saw that share nothing but the wire: the disk (what is durable), the agents (what they
said, and what they were told), and the devices (what they applied, and which answers they got).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...actors import SessionKey
from .agents import Witness
from .device import Asked, Device
from .disk import Disk, Stream
from .publisher import Publisher

__all__ = ["judge"]

TERMINALS = ("agent_completed", "agent_error", "agent_cancelled")
# What a session or a supervisor says, and says so.
NOT_THE_AGENTS = {
    "agent_started": ("session",),
    "agent_cancelled": ("user", "supervisor"),
    "agent_error": ("supervisor",),
}
TOKEN = re.compile(r"\bt\d+\b")


def judge(
    disk: Disk,
    witness: Witness,
    devices: Sequence[Device],
    published: Mapping[str, list[str]],
    publisher: Publisher,
) -> list[str]:
    """The laws that do not hold, in words; none if all do.

    Args:
        disk: what is durable.
        witness: what agents know.
        devices: all devices; they are caught up and have an answer to each command.
        published: tokens of accepted publications outside of runs, by session.
        publisher: the service that speaks over HTTP; it has an answer to each event.
    """
    wrong = list(witness.wrong) + publisher.wrong
    for device in devices:
        wrong += device.wrong
    for stream in disk.streams.values():
        records = [json.loads(record.encoded) for record in stream.records]
        mine = [device for device in devices if device.session_id == stream.key.id]
        wrong += _story(stream.key, records)
        wrong += _cancelled(stream.key, records, mine)
        wrong += _own_work(stream.key, records, witness)
        wrong += _commands(stream, records, mine, disk)
        for device in mine:
            wrong += _view(device, stream, records)
    wrong += _accepted(disk, witness, published)
    wrong += _answered(disk, publisher)
    return wrong


def _story(key: SessionKey, records: list[dict[str, Any]]) -> list[str]:
    """S2 and S6 of one session."""
    wrong = []
    if [record["seq"] for record in records] != list(range(1, len(records) + 1)):
        wrong.append(f"S2: the records of {key} do not count from 1")
    repeated = [id for id, count in Counter(record["id"] for record in records).items() if count > 1]
    if repeated:
        wrong.append(f"S2: ids were used twice in {key}: {repeated[:3]}")
    if [record["at"] for record in records] != sorted(record["at"] for record in records):
        wrong.append(f"S2: times run backwards in {key}")
    runs: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("run") is not None:
            runs.setdefault(record["run"], []).append(record)
    for run, told in runs.items():
        types = [record["type"] for record in told]
        if types[0] != "agent_started" or types.count("agent_started") != 1:
            wrong.append(f"S6: run {run} of {key} begins with {types[0]}")
        ends = sum(type in TERMINALS for type in types)
        if ends != 1 or types[-1] not in TERMINALS:
            wrong.append(f"S6: run {run} of {key} has {ends} terminal events: {types[-3:]}")
        open_calls: set[str] = set()
        for record in told:
            call = record["data"].get("call")
            if record["type"] == "tool_executing":
                open_calls.add(call)
            elif record["type"] == "tool_completed" and call not in open_calls:
                wrong.append(f"S6: run {run} of {key} completes call {call}, which was not open")
            elif record["type"] == "tool_completed":
                open_calls.discard(call)
        if open_calls:
            wrong.append(f"S6: run {run} of {key} leaves calls open")
    return wrong


def _cancelled(key: SessionKey, records: list[dict[str, Any]], devices: Sequence[Device]) -> list[str]:
    """S9: who cancels is a user who said so; a socket that closes cancels nothing."""
    asked = {each.run for device in devices for each in (*device.older, *device.asked.values()) if each.op == "cancel"}
    return [
        f"S9: run {record['run']} of {key} was cancelled, and nobody asked for it"
        for record in records
        if record["type"] == "agent_cancelled" and record["run"] not in asked
    ]


def _own_work(key: SessionKey, records: list[dict[str, Any]], witness: Witness) -> list[str]:
    """S1 and S7: what is told as an agent's is what it said, in this session and run, and once."""
    wrong = []
    seen: Counter[str] = Counter()
    for record in records:
        type, data = record["type"], record["data"]
        if type == "agent_started" and data["input"].split()[0] != key.id:
            wrong.append(f"S1: a run of {data['input'].split()[0]} is in session {key.id}")
        if data.get("by") in NOT_THE_AGENTS.get(type, ()) or type in ("x.counted", "tool_completed"):
            if type == "x.counted" and data["session"] != key.id:
                wrong.append(f"S1: a count of {data['session']} is in session {key.id}")
            continue
        token = next(iter(TOKEN.findall(json.dumps(data))), None)
        whose = witness.said.get(token or "")
        if token is None or whose is None:
            wrong.append(f"S7: record {record['seq']} of {key} was said by nobody: {type} {data}")
            continue
        seen[token] += 1
        if whose != (key.id, record.get("run") or ""):
            wrong.append(f"S1: {token} was said in {whose}, and is record {record['seq']} of {key.id}")
    wrong += [f"S4: {token} is in {key} {count} times" for token, count in seen.items() if count > 1]
    return wrong


def _commands(stream: Stream, records: list[dict[str, Any]], devices: Sequence[Device], disk: Disk) -> list[str]:
    """S5: each command has one effect, which is where its answer says; no effect is nobody's."""
    if disk.batches_lost:
        return []  # a cut of power takes effects with their answers; the epoch says so
    wrong = []
    begun: list[int] = []
    counts: list[int] = []
    for device in devices:
        for asked in (*device.older, *device.asked.values()):
            result = asked.final()
            if result is None:
                wrong.append(f"S5: command {asked.id} of {device.name} has no answer")
            elif "error" in result:
                wrong += _refused(device, asked, result["error"]["code"])
            elif asked.op == "user_message":
                record = records[result["seq"] - 1] if result["seq"] <= len(records) else None
                if record is None or not _begins(record, result["ok"]["run"], asked.data["text"]):
                    wrong.append(f"S5: the effect of {asked.id} of {device.name} is not at {result['seq']}")
                begun.append(result["seq"])
            elif asked.op == "count":
                counts.append(result["ok"]["count"])
    started = [record["seq"] for record in records if record["type"] == "agent_started"]
    if sorted(begun) != started:
        wrong.append(f"S5: {stream.key} has runs at {started}; commands were answered with {sorted(begun)}")
    counted = [record["data"]["count"] for record in records if record["type"] == "x.counted"]
    if counted != list(range(1, len(counted) + 1)) or set(counts) - set(counted) or len(set(counts)) != len(counts):
        wrong.append(f"S5: {stream.key} counted {counted}; commands were answered with {sorted(counts)}")
    return wrong


def _begins(record: dict[str, Any], run: str, text: str) -> bool:
    return bool(record["type"] == "agent_started" and record["run"] == run and record["data"]["input"] == text)


def _refused(device: Device, asked: Asked, code: str) -> list[str]:
    allowed = {"user_message": {"busy", "rate"}, "count": {"interrupted"}, "cancel": {"unknown_run"}}
    if code in allowed.get(asked.op, ()):
        return []
    return [f"S5: command {asked.id} ({asked.op}) of {device.name} was refused with {code}"]


def _view(device: Device, stream: Stream, records: list[dict[str, Any]]) -> list[str]:
    """S4 and S10: under the epoch of now a device has each record once, or was told that it cannot have it."""
    if device.epoch != stream.epoch:
        return [f"S10: {device.name} is in epoch {device.epoch}; its session is in {stream.epoch}"]
    view = device.views[device.epoch]
    wrong = []
    if view.applied != len(records):
        wrong.append(f"S10: {device.name} applied up to {view.applied}; its session has {len(records)} records")
    missing = {seq for first, last in view.gaps for seq in range(first, last + 1)}
    for last, record in view.records.items():
        first = record["seq"][0] if isinstance(record["seq"], list) else last
        missing |= set(range(first, last))
        if last > len(records) or record != _as_one(records[first - 1 : last]):
            wrong.append(f"S4: {device.name} has another record {record['seq']} than the disk: {record}")
    wrong += [
        f"S10: {device.name} has no record {seq}, and was not told why"
        for seq in range(view.first, view.applied + 1)
        if seq not in view.records and seq not in missing
    ]
    wrong += [
        f"S10: {device.name} was told of a gap up to {last}; the oldest record kept is {stream.first}"
        for _, last in view.gaps
        if last >= stream.first
    ]
    return wrong


def _as_one(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What may be said in the place of these: of one, itself; of deltas of one run, the last with all their text."""
    last = records[-1]
    if len(records) == 1:
        return last
    if {record["type"] for record in records} != {"agent_delta"} or len({record["run"] for record in records}) != 1:
        return None
    if any(set(record["data"]) != {"text"} for record in records):
        return None
    text = "".join(record["data"]["text"] for record in records)
    return {**last, "seq": [records[0]["seq"], last["seq"]], "data": {"text": text}}


def _accepted(disk: Disk, witness: Witness, published: Mapping[str, list[str]]) -> list[str]:
    """S3: what was acknowledged is there, where it was said to be; a lost record has cost the epoch."""
    wrong = []
    for session, epoch, seq, token in witness.accepted:
        stream = disk.streams[session]
        if stream.epoch != epoch:
            continue  # another history; a power cut may have taken it
        if seq > stream.head or token not in stream.records[seq - 1].encoded.decode():
            wrong.append(f"S3: {token} was acknowledged at {seq} of {session}, and is not there")
    if not disk.lost:
        for session, tokens in published.items():
            text = b"".join(record.encoded for record in disk.streams[session].records).decode()
            wrong += [
                f"S3: publication {token} of {session} is missing" for token in tokens if f'"{token}"' not in text
            ]
    return wrong


def _answered(disk: Disk, publisher: Publisher) -> list[str]:
    """S5: all answers to a publication are the first one, and it is where that says. That it is once, S4 looks at."""
    wrong = []
    for said in publisher.said:
        if disk.lost:
            continue  # a cut of power takes records with their keys; a repetition is then another one
        if not said.answers or any(answer != said.answers[0] for answer in said.answers):
            wrong.append(f"S5: publication {said.token} of {said.session} was answered with {said.answers}")
            continue
        stream, seq = disk.streams[said.session], said.answers[0]["seq"]
        record = stream.records[seq - 1] if seq <= stream.head else None
        if record is None or record.id != said.answers[0]["id"] or f'"{said.token}"' not in record.encoded.decode():
            wrong.append(f"S5: publication {said.token} is not at {seq} of {said.session}")
    return wrong
