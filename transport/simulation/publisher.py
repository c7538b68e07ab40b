"""A service of a simulated platform: it speaks in sessions over HTTP, and repeats each event until it has an answer.

Written from the rules of the HTTP side alone. Each event has a key, and goes out on a connection of its own, which may
be cut at any byte. Some are sent again although they were answered, and some keys are used for something else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import attrs
import h11
import trio

from ...actors import Position
from .agents import Witness
from .device import Dial

__all__ = ["Publisher", "Said"]

# Longer than any answer may take in a run that is well.
SILENCE_SECONDS = 20.0
BACK_OFF_SECONDS = 2.0
# What says: not now. 500 is the bug that the plan puts into a session; 404 is a session that nobody has opened yet.
AGAIN = frozenset((404, 500, 503))


@attrs.define(eq=False)
class Said:
    """An event, and all answers to it."""

    session: str
    key: str
    token: str
    answers: list[dict[str, Any]] = attrs.field(factory=list)


class Publisher:
    """The service.

    Args:
        token: gives its JWT; raises OSError while no node listens.
        dial: opens a connection.
        witness: notes what it says.
        rng: its own chance.
        note: the trace.
        unsteady: its connections are cut now and then.
        forgetful: cuts of power may take what was answered, and then a used key is new.
    """

    def __init__(
        self,
        token: Callable[[], str],
        dial: Dial,
        witness: Witness,
        rng: random.Random,
        note: Callable[[str], None],
        *,
        unsteady: bool,
        forgetful: bool,
    ) -> None:
        self.said: list[Said] = []
        self.calm = False
        """No mischief any more: repeat what has no answer."""
        self.wrong: list[str] = []
        self._token = token
        self._dial = dial
        self._witness = witness
        self._rng = rng
        self._note = note
        self._unsteady = unsteady
        self._forgetful = forgetful

    async def publish(self, session: str) -> None:
        """Say something in a session, until it is answered, and perhaps once more."""
        rng = self._rng
        said = Said(session, f"key-{len(self.said)}", self._witness.token(session, ""))
        self.said.append(said)
        while not said.answers:
            await self._attempt(said)
            await trio.sleep(rng.uniform(0.0, BACK_OFF_SECONDS))
        if rng.random() < 0.5:
            await trio.sleep(rng.choice((0.0, 3.0, 15.0)))
            await self._attempt(said)
        if rng.random() < 0.3 and not self._forgetful:
            status, _ = await self._ask(said, "a lie")
            if status not in AGAIN | {0, 422}:
                self.wrong.append(f"S5: {said.key} was used for something else, and answered with {status}")

    def settled(self) -> bool:
        """Whether everything has an answer."""
        return all(said.answers for said in self.said)

    async def _attempt(self, said: Said) -> None:
        status, answer = await self._ask(said, said.token)
        self._note(f"publication {said.token} gets {status}")
        if status == 201:
            said.answers.append(answer)
            self._witness.acknowledged(said.session, Position(answer["epoch"], answer["seq"]), said.token)
        elif status not in AGAIN | {0}:
            self.wrong.append(f"S5: {said.key} of {said.session} was answered with {status}: {answer}")

    async def _ask(self, said: Said, text: str) -> tuple[int, dict[str, Any]]:
        """One request; status 0 where there was no answer."""
        body = json.dumps({"type": "x.said", "data": {"text": text}}).encode()
        try:
            headers = [
                ("host", "node.sim"),
                ("authorization", f"Bearer {self._token()}"),
                ("idempotency-key", said.key),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            stream, wire = await self._dial("publisher")
        except OSError:
            return 0, {}
        if self._unsteady and not self.calm and self._rng.random() < 0.4:
            wire.cut_after(self._rng.choice(("down", "up")), self._rng.randint(1, 700))
        request = h11.Request(method="POST", target=f"/v1/sessions/{said.session}/events", headers=headers)
        try:
            with trio.fail_after(SILENCE_SECONDS):
                return await _exchange(stream, request, body)
        except (trio.TooSlowError, trio.BrokenResourceError, h11.RemoteProtocolError):
            return 0, {}
        finally:
            wire.cut()


async def _exchange(stream: trio.abc.Stream, request: h11.Request, body: bytes) -> tuple[int, dict[str, Any]]:
    """Send a request and read the whole of its answer."""
    connection = h11.Connection(h11.CLIENT)
    sent = [connection.send(part) or b"" for part in (request, h11.Data(data=body), h11.EndOfMessage())]
    await stream.send_all(b"".join(sent))
    status, answer = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            answer += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, json.loads(answer)
