"""Users with some devices each, who talk through whatever happens to their node, and what they must find at the end.

Some devices are strict clients of the tests' own, some are the product's Python client. `judge` compares what each of
them saw, what each was told, and what agents noted, with the whole history as a device sees it that comes last.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import callboard
from callboard import CommandFailed
from callboard.transport.client import WireRecord
from tests.integration.faults.news import News
from tests.integration.faults.strict_device import StrictDevice, ends_run
from tests.transport.peer import Message

__all__ = ["Crowd", "Prompt", "judge"]


# Says a text, and gives its run and the seq of its beginning as far as they are told; an empty run: it was refused.
_Say = Callable[[str], Awaitable[tuple[str, object]]]


class Prompt(random.Random):
    """Draws the least of every wait, so that tests do not wait for jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a


@attrs.define(eq=False)
class _Told:
    """What a user was told: the answer to each text that was said."""

    answers: dict[str, tuple[str, object]] = attrs.field(factory=dict)
    said: dict[str, None] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Seen:
    """What one device saw; of a strict one what is its own."""

    user: str
    first: Callable[[], int] = lambda: 1
    records: list[Message] = attrs.field(factory=list)
    ended: dict[str, Message] = attrs.field(factory=dict)
    breaches: list[str] = attrs.field(factory=list)
    news: News = attrs.field(factory=News)

    async def until_ended(self, runs: Sequence[str]) -> None:
        """Wait until it has seen the ends of these runs."""
        await self.news.until(lambda: all(run in self.ended for run in runs))


class Crowd:
    """So many users; each has `strict` and `product` devices.

    Args:
        port: where the node is found.
        token_of: gives a user's token.
        users: how many.
        strict: devices of each user that are strict clients.
        product: devices of each user that are the product's.
        rng: who says what when.
        pause_seconds: the longest pause before a device says something again.
    """

    def __init__(
        self,
        port: int,
        token_of: Callable[[str], str],
        *,
        users: int,
        strict: int,
        product: int,
        rng: random.Random,
        pause_seconds: float = 0.3,
    ) -> None:
        self.port = port
        self.users = [f"user-{number}" for number in range(users)]
        self.told = {user: _Told() for user in self.users}
        self.devices: list[StrictDevice] = []
        self.clients: list[callboard.Client] = []
        self.seen: list[_Seen] = []
        self.token_of = token_of
        self._strict = strict
        self._product = product
        self._rng = rng
        self._pause = pause_seconds
        self._answered = News()
        self._over = False

    @property
    def answers(self) -> int:
        """How many commands were answered so far."""
        return sum(len(told.answers) for told in self.told.values())

    async def until_answers(self, number: int) -> None:
        """Wait until so many more commands are answered."""
        wanted = self.answers + number
        await self._answered.until(lambda: self.answers >= wanted)

    def connects(self) -> list[int]:
        """How often each device was welcomed so far."""
        strict = [device.welcomes for device in self.devices]
        return [*strict, *(client.statistics().connects for client in self.clients)]

    async def until_all_back(self, before: Sequence[int]) -> None:
        """Wait until each device was welcomed again since then. Those who are back talk, so there is news."""
        for seen in self.seen:
            await seen.news.until(lambda: all(now > then for now, then in zip(self.connects(), before, strict=True)))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """They talk during the body, and at its end hear everything out: all answers, and the ends of all runs."""
        failed: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                async with trio.open_nursery() as talking:
                    for user in self.users:
                        for number in range(self._strict):
                            say, seen = self._begin_strict(user, nursery)
                            talking.start_soon(self._talk, f"strict{number}", seen, say)
                        for number in range(self._product):
                            say, seen = await self._begin_product(user, nursery)
                            talking.start_soon(self._talk, f"product{number}", seen, say)
                    yield
                    self._over = True
                for seen in self.seen:
                    await seen.until_ended([run for run, _ in self.told[seen.user].answers.values()])
            except BaseException as error:  # noqa: BLE001 - raised again outside of the nursery
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    def _begin_strict(self, user: str, nursery: trio.Nursery) -> tuple[_Say, _Seen]:
        device = StrictDevice(self.port, lambda: self.token_of(user))
        seen = _Seen(user, lambda: device.first, device.records, device.ended, device.breaches, device.news)
        self.devices.append(device)
        self.seen.append(seen)
        nursery.start_soon(device.run)
        return partial(_say_strictly, device), seen

    async def _begin_product(self, user: str, nursery: trio.Nursery) -> tuple[_Say, _Seen]:
        seen = _Seen(user)
        self.seen.append(seen)

        async def token() -> str:
            return self.token_of(user)

        async def live(task_status: trio.TaskStatus[callboard.Client]) -> None:
            url = f"http://127.0.0.1:{self.port}"
            async with callboard.connect(url, token=token, start="first", rng=Prompt()) as client:
                task_status.started(client)
                async for item in client.everything():
                    _take(seen, item)

        client: callboard.Client = await nursery.start(live)
        self.clients.append(client)
        return partial(_say_by_product, client), seen

    async def _talk(self, name: str, seen: _Seen, say: _Say) -> None:
        told, number = self.told[seen.user], 0
        while not self._over:
            number += 1
            text = f"{seen.user}:{name}:{number}"
            told.said[text] = None
            run, at = await say(text)
            if not run:
                seen.breaches.append(f"{text} was refused: {at}")
                return
            told.answers[text] = (run, at)
            self._answered.tell()
            if self._rng.random() < 0.5:
                await seen.until_ended([run])
            await trio.sleep(self._rng.uniform(0, self._pause))


def _take(seen: _Seen, item: Any) -> None:
    if isinstance(item, WireRecord):
        record = {name: getattr(item, name) for name in ("id", "type", "run", "at", "data")}
        seen.records.append({"seq": item.last, "begins": item.first, **record})
        if ends_run(record):
            seen.ended.setdefault(str(item.run), record)
    else:
        seen.breaches.append(f"{seen.user}: {item}")
    seen.news.tell()


async def _say_strictly(device: StrictDevice, text: str) -> tuple[str, object]:
    result = await device.command("user_message", {"text": text})
    return ("", result) if "ok" not in result else (result["ok"]["run"], result["seq"])


async def _say_by_product(client: callboard.Client, text: str) -> tuple[str, object]:
    while True:
        try:
            return await client.send(text), None
        except CommandFailed as failure:
            if not failure.retry:
                return "", failure
        await trio.sleep(0.1)


# -- the judgment -----------------------------------------------------------------------------------------------------


async def judge(crowd: Crowd, notes: Path) -> Counter[str]:
    """Compare all that was seen, told and noted with the whole history; gives what was counted.

    Raises AssertionError with all that is wrong.
    """
    wrong = [breach for seen in crowd.seen for breach in seen.breaches]
    count: Counter[str] = Counter()
    epochs: dict[str, str] = {}
    histories: dict[str, list[Message]] = {}
    for user in crowd.users:
        last = StrictDevice(crowd.port, crowd.token_of(user), start="first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(last.run)
            await last.news.until(partial(_has_all, last, crowd.told[user]))
            nursery.cancel_scope.cancel()
        wrong += last.breaches
        epochs[user], histories[user] = last.epoch, last.records
        wrong += _judge_history(user, last, crowd.told[user], count)
    for seen in crowd.seen:
        wrong += _judge_seen(seen, histories[seen.user])
        count["records seen"] += len(seen.records)
    wrong += _judge_notes(notes, histories, epochs, count)
    count["connections"] = sum(crowd.connects())
    count["commands sent again"] = sum(device.repeated for device in crowd.devices)
    assert not wrong, "\n".join([f"{len(wrong)} things are wrong:", *wrong[:20]])
    return count


def _has_all(device: StrictDevice, told: _Told) -> bool:
    return bool(device.epoch) and all(run in device.ended for run, _ in told.answers.values())


def _judge_seen(seen: _Seen, history: list[Message]) -> list[str]:
    """One device has to have seen a stretch without a seam; what came merged stands for all that it covers."""
    next_seq = seen.first()
    for record in seen.records:
        begins: int = record["begins"] if "begins" in record else record["seq"]
        covered = history[begins - 1 : record["seq"]]
        whole = dict(covered[-1]) if covered else {}
        if len(covered) > 1:
            whole["data"] = {"text": "".join(piece["data"]["text"] for piece in covered)}
            if {(piece["type"], piece["run"]) for piece in covered} != {("agent_delta", record["run"])}:
                return [f"{seen.user}: {record} was merged of {covered}"]
        if begins != next_seq or _plain(record) != _plain(whole):
            return [f"{seen.user}: at {next_seq} a device saw {record}, the history has {whole}"]
        next_seq = record["seq"] + 1
    return []


def _plain(record: Message) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in ("seq", "id", "type", "run", "at", "data"))


def _judge_history(user: str, last: StrictDevice, told: _Told, count: Counter[str]) -> list[str]:
    wrong: list[str] = []
    records = last.records
    if last.first != 1:
        wrong.append(f"{user}: the history begins at {last.first}")
    twice = [id for id, number in Counter(record["id"] for record in records).items() if number > 1]
    wrong += [f"{user}: the id {id} is there twice" for id in twice]
    runs: dict[str, list[Message]] = {}
    for record in records:
        runs.setdefault(record["run"], []).append(record)
    inputs: dict[str, list[tuple[str, int]]] = {}
    for run, own in runs.items():
        began, ends = own[0], [record for record in own if ends_run(record)]
        text = str(began["data"].get("input"))
        inputs.setdefault(text, []).append((run, began["seq"]))
        if began["type"] != "agent_started":
            wrong.append(f"{user}: run {run} begins with {began}")
        if len(ends) != 1 or own[-1] is not ends[0]:
            wrong.append(f"{user}: run {run} has the ends {ends}, and its last record is {own[-1]}")
        else:
            count[f"runs: {ends[0]['type']}"] += 1
            cut = ends[0]["data"].get("code")
            if cut is not None:
                count[f"runs: {cut}"] += 1
        foreign = [record for record in own if not str(record["data"].get("text", text)).startswith(f"{user}:")]
        wrong += [f"{user}: {record} is another's" for record in foreign]
    for text, began_at in inputs.items():
        if text not in told.said:
            wrong.append(f"{user}: a run of {text!r}, which nobody said")
        if len(began_at) > 1:
            wrong.append(f"{user}: {text!r} ran {len(began_at)} times")
    for text, (run, at) in told.answers.items():
        began_at = inputs.get(text, [])
        if [run] != [one for one, _ in began_at] or at not in (None, *(seq for _, seq in began_at)):
            wrong.append(f"{user}: {text!r} was answered with {run} at {at}, the history has {began_at}")
    count["commands answered"] += len(told.answers)
    count["records"] += len(records)
    return wrong


def _judge_notes(
    notes: Path, histories: dict[str, list[Message]], epochs: dict[str, str], count: Counter[str]
) -> list[str]:
    wrong: list[str] = []
    at: dict[str, int] = {}
    lines = notes.read_text(encoding="utf-8").splitlines()
    for line in lines:
        user, run, text, epoch, seq = line.split(" ")
        history = histories[user]
        found = history[int(seq) - 1] if int(seq) <= len(history) else {}
        if (found.get("run"), found.get("data", {}).get("text"), epoch) != (run, text, epochs[user]):
            wrong.append(f"a receipt says {line!r}, the history has {found}")
        if int(seq) <= at.get(run, 0):
            wrong.append(f"a receipt says {line!r}, and the one before was of {at[run]}")
        at[run] = int(seq)
    count["receipts noted"] = len(lines)
    return wrong
