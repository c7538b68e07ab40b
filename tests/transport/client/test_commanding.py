"""What becomes of commands, whatever happens to their connections. In virtual time, on a played node."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from callboard.actors import Limits as NodeLimits
from callboard.transport.client import Client, CommandFailed, SessionClosed, TooManyCommands, WireRecord
from callboard.transport.protocol import Command

from .played import Fate, PlayedLink, PlayedNode, attached, later

DEVICE = "d" * 32


async def until_open(client: Client, node: PlayedNode) -> None:
    """Wait until the newest connection is welcomed and all tasks wait."""
    await client.wait_connected()
    await wait_all_tasks_blocked()
    assert node.current.open


def texts(link: PlayedLink) -> list[object]:
    """What they said."""
    return [command.data["text"] for command in link.of(Command)]


@attrs.define
class Said:
    """A message that is on its way in a task of its own, and what became of it."""

    outcome: object = None
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)

    async def say(self, client: Client, text: str) -> None:
        with self.scope:
            try:
                self.outcome = await client.send(text)
            except Exception as error:  # noqa: BLE001 - it is looked at by the test
                self.outcome = error


async def say(nursery: trio.Nursery, client: Client, *messages: str) -> list[Said]:
    """Say them, one after the other, and wait for none."""
    on_their_way = []
    for text in messages:
        said = Said()
        on_their_way.append(said)
        nursery.start_soon(said.say, client, text)
        await wait_all_tasks_blocked()
    return on_their_way


def failed(said: Said) -> CommandFailed:
    """How it was refused."""
    assert isinstance(said.outcome, CommandFailed), said.outcome
    return said.outcome


async def test_a_command_before_the_first_welcome_waits_for_it() -> None:
    """Only a welcome says which ids of a device are used already."""
    async with attached(Fate(ticket=later()), Fate(hello=4100)) as (client, node):
        assert await client.send("early") == "run-1"
        assert len(node.attempts) == 3
        assert node.current.ids == [1]


async def test_ids_go_on_where_the_device_left_off() -> None:
    """Another program of this device has used some."""
    async with attached(device=DEVICE) as (client, node):
        await client.send("one")
        await client.send("two")
        known = node.devices
        async with attached(device=DEVICE) as (again, other):
            other.devices.update(known)
            async with trio.open_nursery() as nursery:
                await say(nursery, again, "three", "four")
            assert other.current.ids == [3, 4]


async def test_a_command_that_was_cut_off_is_repeated_and_runs_once() -> None:
    """With its id and its body, whether it had run or not."""
    async with attached(Fate(answers=["lost"])) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        (said,) = await say(nursery, client, "once")
        assert node.done == [(0, "once")]
        assert said.outcome is None
        client.cut()
        await until_open(client, node)
        assert said.outcome == "run-1"
        assert node.done == [(0, "once")]
        assert [link.ids for link in node.links] == [[1], [1]]


async def test_repeats_go_first_and_in_order() -> None:
    """A command that is made in the very moment of the welcome goes out behind them."""
    async with attached(Fate(answers=["lost"] * 9)) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        await say(nursery, client, "a", "b", "c")
        client.cut()
        await client.wait_disconnected()
        await say(nursery, client, "d")
        await client.wait_connected()
        await client.send("e")
        assert texts(node.current) == ["a", "b", "c", "d", "e"]
        assert node.current.ids == [1, 2, 3, 4, 5]
        assert [text for _, text in node.done] == ["a", "b", "c", "d", "e"]


async def test_what_the_caller_does_with_the_data_changes_nothing() -> None:
    """A repeat with another body would be a conflict."""
    async with attached(Fate(answers=["lost"])) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        data: dict[str, Any] = {"text": "as it was", "more": {"list": [1]}}
        nursery.start_soon(client.command, "note", data)
        await wait_all_tasks_blocked()
        data["more"]["list"].append(2)
        client.cut()
        await until_open(client, node)
        assert [command.data for link in node.links for command in link.of(Command)] == [
            {"text": "as it was", "more": {"list": [1]}}
        ] * 2


@pytest.mark.parametrize("answer", ["rate", "busy"])
async def test_a_refusal_that_may_be_tried_again_is_the_callers(answer: str) -> None:
    """It went out once, so nothing was done, and a new command is a new one."""
    async with attached(Fate(answers=[answer])) as (client, node):
        with pytest.raises(CommandFailed) as refused:
            await client.send("now")
        assert (refused.value.code, refused.value.retry) == (answer, True)
        assert await client.send("again") == "run-1"
        assert node.done == [(0, "again")]


async def test_a_refusal_of_a_repeat_says_nothing_of_the_first_time() -> None:
    """So it is asked again under its id: as a new command it would run twice."""
    fates = Fate(answers=["lost"]), Fate(answers=["rate", "rate"])
    async with attached(*fates) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        (said,) = await say(nursery, client, "once")
        client.cut()
        await trio.sleep(60)
        assert said.outcome == "run-1"
        assert node.current.ids == [1, 1, 1]
        assert node.done == [(0, "once")]


@pytest.mark.parametrize("answer", ["store", "stored"])
async def test_a_store_that_is_not_available_may_have_it_all_the_same(answer: str) -> None:
    """So the same id is sent again, after a pause of a second at least."""
    async with attached(Fate(answers=[answer])) as (client, node):
        await client.wait_connected()
        began = trio.current_time()
        assert await client.send("once") == "run-1"
        assert 1.0 <= trio.current_time() - began <= 2.0
        assert node.current.ids == [1, 1]
        assert node.done == [(0, "once")]


async def test_a_store_that_stays_away_is_told_in_the_end() -> None:
    """Then nobody knows whether it was done."""
    async with attached(Fate(answers=["store"] * 99)) as (client, node):
        with pytest.raises(CommandFailed, match="whether it was done is not known") as refused:
            await client.send("once")
        assert not refused.value.retry
        assert node.current.ids == [1] * 7
        assert client.statistics().commands == 0


async def test_other_commands_do_not_wait_for_one_that_is_asked_again() -> None:
    """It is one of many."""
    async with attached(Fate(answers=["ok", "store"])) as (client, _node), trio.open_nursery() as nursery:
        await client.send("before")
        first, second = await say(nursery, client, "first", "second")
        assert (first.outcome, second.outcome) == (None, "run-2")
        await trio.sleep(3)
        assert first.outcome == "run-3"


async def test_a_cancelled_command_is_repeated_no_more() -> None:
    """Whether it ran is open; the next one is not held up."""
    async with attached(Fate(answers=["lost"])) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        (said,) = await say(nursery, client, "never mind")
        said.scope.cancel()
        await wait_all_tasks_blocked()
        assert client.statistics().commands == 0
        client.cut()
        await until_open(client, node)
        assert node.current.ids == []
        assert await client.send("next") == "run-2"


async def test_a_command_that_is_cancelled_before_it_went_out_never_does() -> None:
    """And takes no place while there is no connection."""
    async with attached(Fate(hello=4100), Fate(hello=4100)) as (client, node), trio.open_nursery() as nursery:
        (said,) = await say(nursery, client, "never mind")
        said.scope.cancel()
        await until_open(client, node)
        client.cut()
        await client.wait_disconnected()
        for text in "abcdefgh":
            (said,) = await say(nursery, client, text)
            said.scope.cancel()
            await wait_all_tasks_blocked()
        await until_open(client, node)
        assert node.done == []
        assert node.current.ids == []


async def test_a_forgotten_device_takes_a_new_name() -> None:
    """What went out once has not run, and goes out again under the new name; what waits with it keeps its order."""
    async with attached(device=DEVICE) as (client, node), trio.open_nursery() as nursery:
        await client.send("before")
        node.forget_devices()
        said = await say(nursery, client, "a", "b", "c")
        await until_open(client, node)
        assert [one.outcome for one in said] == ["run-2", "run-3", "run-4"]
        assert client.device != DEVICE
        assert len(client.device) == 32
        hello = node.current.hello
        assert hello is not None
        assert hello.device == client.device
        assert node.current.ids == [1, 2, 3]
        assert [text for _, text in node.done] == ["before", "a", "b", "c"]
        assert client.statistics().resets == 0


async def test_a_node_that_begins_anew_is_spoken_to_as_a_new_device() -> None:
    """It knows nobody; the program notices nothing but the new history."""
    async with attached() as (client, node):
        await client.send("before")
        node.restart()
        await client.wait_disconnected()
        assert await client.send("after") == "run-2"
        assert client.statistics().resets == 1
        assert node.done == [(0, "before"), (1, "after")]


async def test_whether_a_repeated_command_of_a_forgotten_device_ran_is_not_known() -> None:
    """It may have, so it goes out no more, and its caller is told."""
    async with attached(Fate(answers=["ok", "lost"])) as (client, node), trio.open_nursery() as nursery:
        await client.send("before")
        (said,) = await say(nursery, client, "in between")
        node.forget_devices()
        client.cut()
        await client.wait_disconnected()
        await until_open(client, node)
        refused = failed(said)
        assert (refused.code, refused.retry) == ("expired_id", False)
        assert await client.send("after") == "run-3"
        assert node.done == [(0, "before"), (0, "in between"), (0, "after")]


async def test_a_new_name_waits_until_nothing_of_the_old_one_is_open() -> None:
    """Repeated by a new device, what still waits for its answer would be a new command."""
    fates = Fate(answers=["ok", "late"])
    async with attached(fates, device=DEVICE) as (client, node), trio.open_nursery() as nursery:
        await client.send("before")
        (first,) = await say(nursery, client, "late")
        node.forget_devices()
        (second,) = await say(nursery, client, "expired")
        assert client.device == DEVICE
        await trio.sleep(2)
        assert (first.outcome, second.outcome) == ("run-2", "run-3")
        assert client.device != DEVICE
        assert [text for _, text in node.done] == ["before", "late", "expired"]


async def test_a_cut_between_old_name_and_new_does_no_harm() -> None:
    """What is open under the old name is repeated under it; what has not run waits for the new one."""
    fates = Fate(answers=["ok", "lost"])
    async with attached(fates, device=DEVICE) as (client, node), trio.open_nursery() as nursery:
        await client.send("before")
        (first,) = await say(nursery, client, "lost")
        known = dict(node.devices)
        node.forget_devices()
        (second,) = await say(nursery, client, "expired")
        (third,) = await say(nursery, client, "new")
        assert client.device == DEVICE
        assert node.links[0].ids == [1, 2, 3]  # what is made now waits for the new name
        node.devices.update(known)
        client.cut()
        await client.wait_disconnected()
        await trio.sleep(10)
        assert [first.outcome, second.outcome, third.outcome] == ["run-2", "run-3", "run-4"]
        assert node.links[1].ids == [2]
        assert [text for _, text in node.done] == ["before", "lost", "expired", "new"]


async def test_a_node_that_forgets_every_device_gets_no_busy_loop() -> None:
    """A name or two are tried, then the caller is told."""

    class Forgetful(PlayedNode):
        """Refuses every id."""

        def _command(self, link: PlayedLink, id: str, command: Command) -> None:
            self._refuse(link, command, "expired_id", retry=False)

    async with attached(node_class=Forgetful) as (client, node):
        with pytest.raises(CommandFailed, match="expired_id"):
            await client.send("hello?")
        assert len(node.links) <= 4


async def test_a_node_with_smaller_limits_gets_no_frame_that_would_end_the_session() -> None:
    """A message that was fine for the last one is refused here, by its own answer."""
    async with attached(Fate(answers=["lost"])) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        (said,) = await say(nursery, client, "x" * 5_000)
        node.limits = NodeLimits(frame_bytes=2_000)
        client.cut()
        await client.wait_disconnected()
        await until_open(client, node)
        assert failed(said).code == "too_big"
        with pytest.raises(ValueError, match="allowed are 2000"):
            await client.send("x" * 5_000)
        assert await client.send("short") == "run-2"


@pytest.mark.parametrize(
    "data, error",
    [({"text": "x" * 70_000}, ValueError), ({"text": float("nan")}, ValueError), ({"text": object()}, TypeError)],
)
async def test_what_no_node_would_take_is_not_sent(data: dict[str, object], error: type[Exception]) -> None:
    """The mistake shows where it was made, before the first welcome too."""
    async with attached() as (client, node):
        for _ in range(2):
            with pytest.raises(error):
                await client.command("note", data)
        assert client.connected
        assert node.done == []


async def test_more_commands_at_once_than_the_node_takes_are_refused_here() -> None:
    """Their number is what the welcome said."""
    async with attached(Fate(answers=["lost"] * 99)) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        said = await say(nursery, client, *[f"{number}" for number in range(41)])
        assert isinstance(said[-1].outcome, TooManyCommands)
        assert len(node.current.ids) == 40
        nursery.cancel_scope.cancel()


async def test_commands_hear_the_end() -> None:
    """Those under way, those that wait for a connection, and those that come later."""
    async with attached(Fate(answers=["lost"])) as (client, node), trio.open_nursery() as nursery:
        await until_open(client, node)
        (said,) = await say(nursery, client, "to nobody")
        node.current.end(4006)
        await wait_all_tasks_blocked()
        assert isinstance(said.outcome, SessionClosed)
        with pytest.raises(SessionClosed, match="4006"):
            await client.send("later")
        with pytest.raises(SessionClosed, match="4006"):
            await client.cancel("run-1")


async def test_commands_of_tasks_that_outlive_the_client_hear_that_it_was_left() -> None:
    """Whoever left it knows; nobody waits for ever, and iterating just ends."""
    ended: list[WireRecord | None] = []
    async with trio.open_nursery() as nursery:
        async with attached(Fate(answers=["lost"])) as (client, node):
            await until_open(client, node)

            async def iterate() -> None:
                ended.extend([record async for record in client])
                ended.append(None)

            nursery.start_soon(iterate)
            (said,) = await say(nursery, client, "to nobody")
        await wait_all_tasks_blocked()
        assert isinstance(said.outcome, trio.ClosedResourceError)
        assert isinstance(ended[0], WireRecord)
        assert ended[1:] == [None]
        with pytest.raises(trio.ClosedResourceError, match="was left"):
            await client.send("later")
        assert client.statistics().state == "closed"
