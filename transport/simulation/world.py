"""A simulated world: one disk, nodes that come and go on it, agents, devices, and the misfortunes of a plan.

A node is killed by cutting it off from the world: its connections break in one instant and its disk takes nothing from
it any more. What is left of it then is stopped in order, unseen by anybody. That is what `kill -9` looks like from the
outside, and it may come between any two steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pykka
import trio
import trio.testing

from ...actors import (
    App,
    RegistryEntries,
    ReportEntries,
    SessionKey,
    SessionQuarantined,
    StoreUnavailable,
)
from ...runtime import AskTimeout, Killed, MailboxFull
from ..board import Board, open_board
from .agents import Witness, agent_type, session_type
from .device import Device
from .disk import Disk, Fault, Mount
from .judge import judge
from .network import Wire, stream_pair
from .plan import Plan
from .publisher import Publisher
from .trace import Trace

__all__ = ["World"]

KEY = bytes(32)
NOW = 1_700_000_000.0
# After the last misfortune: longer than any run, quarantine, heartbeat or back-off of the plan's limits.
REST_SECONDS = 90.0
# Then again and again as long as a run may take: one that was refused as others were open is asked for once more.
ROUND_SECONDS = 30.0
REST_ROUNDS = 60
# The way of one event through disk and wire at their slowest, and less than a heartbeat.
PROBE_SECONDS = 3.0


@attrs.define(eq=False)
class _Node:
    """One life of the node."""

    number: int
    mount: Mount
    board: Board | None = None
    dead: trio.Event = attrs.field(factory=trio.Event)
    wires: dict[Wire, None] = attrs.field(factory=dict)
    nursery: trio.Nursery | None = None
    gone: trio.Event = attrs.field(factory=trio.Event)


class World:
    """One run of a plan.

    Args:
        plan: what it is like.
        rng: all its chance.
        trace: where it is written down.
        make_disk: makes the disk; a test may give one with a bug in it.
    """

    def __init__(self, plan: Plan, rng: random.Random, trace: Trace, make_disk: Callable[..., Disk] = Disk) -> None:
        self.plan = plan
        self.trace = trace
        self._rng = rng
        self.disk = make_disk(
            lambda: f"{rng.getrandbits(64):016x}", rng, power_safe=plan.power_safe, retained=plan.retained
        )
        self.witness = Witness(self.disk)
        self.published: dict[str, list[str]] = {}
        self.devices: list[Device] = []
        self.publisher = Publisher(
            partial(self._token, "reporter", scope="agent"),
            self._dial,
            self.witness,
            random.Random(rng.getrandbits(64)),
            trace.note,
            unsteady="cut" in plan.weights,
            forgetful="power" in plan.weights,
        )
        self.node: _Node | None = None
        self._nodes = 0
        self._began = 0.0
        self._nursery: trio.Nursery
        self._crash_in: int | None = None
        self._faults: list[tuple[str, int, Fault]] = []
        self._top_kills: list[float] = []

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> list[str]:
        """Live through the plan, come to rest, and give what is wrong."""
        self._began = trio.current_time()
        async with trio.open_nursery() as self._nursery:
            await self._start_node()
            for user in self.plan.users:
                for session in self.plan.sessions:
                    for number in range(self.plan.devices):
                        self._add_device(f"{user}/{session}/{number}", user, session)
            kinds = list(self.plan.weights)
            for _ in range(self.plan.steps):
                await trio.sleep(self._rng.expovariate(self.plan.steps / self.plan.seconds))
                await self._step(self._rng.choices(kinds, list(self.plan.weights.values()))[0])
            wrong = await self._come_to_rest()
            wrong += judge(self.disk, self.witness, self.devices, self.published, self.publisher)
            self._nursery.cancel_scope.cancel()
        return wrong

    def _add_device(self, name: str, user: str, session: str) -> None:
        device = Device(
            name,
            user,
            session,
            partial(self._token, user),
            self._dial,
            random.Random(self._rng.getrandbits(64)),
            self.trace.note,
            self._look,
            merge=len(self.devices) % 2 == 0,
        )
        self.devices.append(device)
        self._nursery.start_soon(device.run)

    def _token(self, user: str, scope: str = "") -> str:
        board = self.node.board if self.node is not None else None
        if board is None:
            raise ConnectionRefusedError("no node listens")
        return board.authenticator.token(user, scope=scope, lifetime_seconds=3_600.0)

    def _look(self, session: str, record: dict[str, Any]) -> None:
        """A device applies a record: it has to be durable by now (S3)."""
        seq = record["seq"][1] if isinstance(record["seq"], list) else record["seq"]
        if not self.disk.has(session, seq, record["id"]) and not self.disk.lost:
            self.witness.wrong.append(f"S3: record {seq} of {session} was shown, and is not durable")

    async def _dial(self, name: str) -> tuple[trio.abc.Stream, Wire]:
        await trio.sleep(self._delay(self.plan.wire_seconds))
        node = self.node
        if node is None or node.board is None or node.nursery is None:
            raise ConnectionRefusedError("no node listens")
        client, server, wire = stream_pair(
            random.Random(self._rng.getrandbits(64)), lambda: self._delay(self.plan.wire_seconds)
        )
        node.wires[wire] = None
        node.nursery.start_soon(self._serve, node, server, wire)
        return client, wire

    async def _serve(self, node: _Node, stream: trio.abc.Stream, wire: Wire) -> None:
        assert node.board is not None
        try:
            await node.board.serve_stream(stream)
        finally:
            node.wires.pop(wire, None)

    def _delay(self, most: float) -> float:
        return self._rng.random() * most if most else 0.0

    # -- nodes --------------------------------------------------------------------------------------------------------

    async def _start_node(self) -> None:
        self._nodes += 1
        faults = {(operation, number): fault for operation, number, fault in self._faults}
        self._faults = []
        mount = Mount(self.disk, faults, self._later, lambda: self._delay(self.plan.disk_seconds))
        self.node = node = _Node(self._nodes, mount)
        self.trace.note(f"node {node.number} starts")
        await self._nursery.start(self._host, node)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            function()

        self._nursery.start_soon(wait)

    async def _host(self, node: _Node, task_status: trio.TaskStatus[None]) -> None:
        app = App(
            agents={"scripted": agent_type(self.witness, random.Random(self._rng.getrandbits(64)))},
            session=session_type(self._crashes),
        )
        bytes_of = random.Random(self._rng.getrandbits(64)).randbytes
        try:
            async with (
                open_board(
                    app,
                    key=KEY,
                    limits=self.plan.limits,
                    journal=node.mount,
                    random_bytes=bytes_of,
                    wall_clock=lambda: NOW + trio.current_time() - self._began,
                    slow_seconds=None,
                    slice_clock=lambda: 0.0,
                ) as board,
                trio.open_nursery() as nursery,
            ):
                node.board, node.nursery = board, nursery
                task_status.started()
                await node.dead.wait()
                if not node.mount.dead:
                    await board.drain()
                node.nursery = None
                nursery.cancel_scope.cancel()
        finally:
            node.gone.set()
            if not node.dead.is_set():
                self.witness.wrong.append(f"node {node.number} ended by itself")

    def _crashes(self, what: str) -> bool:
        if self._crash_in is not None:
            self._crash_in -= 1
            if self._crash_in <= 0:
                self._crash_in = None
                self.trace.note(f"crash in {what}")
                return True
        return False

    def _kill_node(self) -> None:
        node, self.node = self.node, None
        if node is None:
            return
        self.trace.note(f"node {node.number} is killed")
        for wire in list(node.wires):
            wire.cut()
        node.mount.die(self._rng)
        node.dead.set()

    async def _restart_node(self, seconds: float) -> None:
        await trio.sleep(seconds)
        if self.node is None:
            await self._start_node()

    # -- steps --------------------------------------------------------------------------------------------------------

    async def _step(self, kind: str) -> None:
        rng = self._rng
        device = rng.choice(self.devices)
        key = SessionKey(device.user, device.session)
        match kind:
            case "say":
                words = rng.choices(self.plan.words, k=rng.randint(1, 4))
                self._nursery.start_soon(device.say, "user_message", {"text": " ".join((key.id, *words))})
            case "volley":
                for word in rng.choices(self.plan.words, k=3):
                    self._nursery.start_soon(device.say, "user_message", {"text": f"{key.id} {word}"})
            case "away":
                device.away_seconds = rng.choice((5.0, 20.0, 60.0))
                self._cut(device)
            case "count":
                self._nursery.start_soon(device.say, "count", {"session": key.id})
            case "cancel":
                run = device.last_run()
                if run is not None:
                    self._nursery.start_soon(device.say, "cancel", {}, run)
            case "publish":
                self._nursery.start_soon(self._publish, key)
            case "post":
                self._nursery.start_soon(self.publisher.publish, key.id)
            case "repeat":
                self._nursery.start_soon(device.repeat)
            case "lie":
                self._nursery.start_soon(device.lie)
            case "babble":
                self._nursery.start_soon(device.babble)
            case "dream":
                device.dream()
                self._cut(device)
            case "cut":
                self._cut(device)
            case "cut in a frame":
                if device.wire is not None:
                    device.wire.cut_after(rng.choice(("down", "up")), rng.randint(1, 400))
            case "stall" | "stop reading":
                if device.wire is not None:
                    self._nursery.start_soon(self._stall, device.wire, rng.choice((0.5, 4.0, 30.0)), kind)
            case "crash at a newcomer":
                if device.rename():
                    for word in rng.choices(self.plan.words, k=3):
                        self._nursery.start_soon(device.say, "user_message", {"text": f"{key.id} {word}"})
                    self._crash_in = rng.randint(2, 6)
            case "crash session":
                self._crash_in = rng.randint(1, 12)
            case "kill agent" | "kill session" | "kill registry" | "kill sessions":
                self._kill_actor(kind.removeprefix("kill "))
            case "disk":
                self._break_disk()
            case "kill node" | "power" | "deploy":
                self._end_node(kind)
            case _:
                raise AssertionError(kind)

    def _cut(self, device: Device) -> None:
        if device.wire is not None:
            self.trace.note(f"{device.name} is cut")
            device.wire.cut()

    async def _stall(self, wire: Wire, seconds: float, kind: str) -> None:
        directions = ("down",) if kind == "stop reading" else (self._rng.choice(("down", "up")),)
        for direction in directions:
            wire.stall(direction, stalled=True)
        await trio.sleep(seconds)
        for direction in directions:
            wire.stall(direction, stalled=False)

    async def _publish(self, key: SessionKey) -> None:
        board = self.node.board if self.node is not None else None
        if board is None:
            return
        token = self.witness.token(key.id, "")
        try:
            position = await board.publish(key.user, "x.said", {"text": token}, session=key.name)
        except (
            Killed,
            SessionQuarantined,
            StoreUnavailable,
            MailboxFull,
            pykka.ActorDeadError,
            AskTimeout,
            RuntimeError,
        ) as error:
            self.trace.note(f"publication {token} failed: {type(error).__name__}")
            return
        self.witness.acknowledged(key.id, position, token)
        self.published.setdefault(key.id, []).append(token)

    def _kill_actor(self, which: str) -> None:
        board = self.node.board if self.node is not None else None
        if board is None:
            return
        if which in ("registry", "sessions"):
            # Four failures within five seconds end the whole node, rightly; and an end may come late, as children stop
            # first.
            now = trio.current_time()
            self._top_kills = [at for at in self._top_kills if now - at <= 30.0]
            if len(self._top_kills) < 3:
                self._top_kills.append(now)
                self.trace.note(f"{which} is killed")
                (board.node.registry if which == "registry" else board.node.sessions).kill()
            return
        depth = 3 if which == "session" else 4
        cells = [cell for cell in board.system.cells if cell.path.count("/") == depth - 1]
        if cells:
            cell = self._rng.choice(cells)
            self.trace.note(f"{cell.path} is killed")
            cell.ref.kill()

    def _break_disk(self) -> None:
        operation = self._rng.choice(("append", "append", "append", "open", "read"))
        fault = self._rng.choice(list(Fault))
        ahead = self._rng.randint(1, 4)
        if self.node is None:
            self._faults.append((operation, ahead, fault))
        else:
            mount = self.node.mount
            mount._faults[operation, mount.counts[operation] + ahead] = fault
        self.trace.note(f"{operation} {ahead} from now will {fault.value}")

    def _end_node(self, kind: str) -> None:
        node = self.node
        if kind == "deploy":
            if node is not None:
                self.trace.note(f"node {node.number} drains")
                node.dead.set()
                self._nursery.start_soon(self._deploy, node)
            return
        self._kill_node()
        if kind == "power":
            self.disk.cut_power()
            for device in self.devices:
                device.power_was_cut = self.disk.batches_lost > 0
            self.trace.note(f"the power is cut; {self.disk.lost} records are lost so far")
        self._nursery.start_soon(self._restart_node, self._rng.choice((0.0, 0.2, 3.0, 12.0)))

    async def _deploy(self, node: _Node) -> None:
        await node.gone.wait()
        if self.node is node:  # else it was killed while it drained
            self.node = None
            await self._restart_node(self._rng.choice((0.0, 0.5)))

    # -- rest ---------------------------------------------------------------------------------------------------------

    async def _come_to_rest(self) -> list[str]:
        """No more misfortune: everybody comes back, and all work ends. Gives what did not."""
        self.trace.note("the weather clears")
        self._crash_in = None
        self._faults = []
        for device in self.devices:
            device.calm_down()
        self.publisher.calm = True
        await trio.sleep(REST_SECONDS)  # a node that drains, or starts after a while, is there now
        unrest: list[str] = []
        for _ in range(REST_ROUNDS):
            if self.node is not None:
                self.node.mount.heal()
            for device in self.devices:
                for asked in list(device.asked.values()):
                    if asked.final() is None:
                        await device._send(asked.frame())
            await trio.sleep(ROUND_SECONDS)
            unrest = await self._unrest()
            if not unrest:
                return await self._probe()
        return unrest

    async def _probe(self) -> list[str]:
        """At rest, news is with every device at once: nobody has to wait for a heartbeat to hear of it (S8)."""
        for key in [SessionKey(user, name) for user in self.plan.users for name in self.plan.sessions]:
            await self._publish(key)
        await trio.sleep(PROBE_SECONDS)
        return [
            f"S8: {device.name} does not hear of news"
            for device in self.devices
            if not await device.catch_up(self.disk.streams[device.session_id].head)
        ]

    async def _unrest(self) -> list[str]:
        """What has not come to rest; and S11, that the registry's entries are the live sessions."""
        node = self.node
        if node is None or node.board is None:
            return ["no node runs"]
        await trio.testing.wait_all_tasks_blocked()
        unrest = []
        for device in self.devices:
            stream = self.disk.streams.get(device.session_id)
            if stream is None or not device.open or not await device.catch_up(stream.head):
                unrest.append(f"S10: {device.name} has not caught up")
            elif device.epoch != stream.epoch:
                unrest.append(f"S10: {device.name} is in another epoch than its session")
            elif not device.settled():
                unrest.append(f"S5: {device.name} has commands without an answer")
        if not self.publisher.settled():
            unrest.append("S5: publications are without an answer")
        entries: RegistryEntries = await node.board.node.registry.ask_async(ReportEntries())
        live = {cell.id for cell in node.board.system.cells if cell.path.count("/") == 2 and "/sessions/" in cell.path}
        if set(entries.sessions) != live:
            unrest.append(f"S11: the registry has {sorted(entries.sessions)}; {sorted(live)} live")
        if entries.runs:
            unrest.append(f"S6: runs are open at rest: {sorted(entries.runs)}")
        return unrest
