"""One actor and those who ask it, as naive as can be: what every ask ends with, and every message, by the laws.

Time is an integer. Operations come at multiples of 1,000, handlers run for multiples of 100 plus 7, deadlines end at
multiples of 100 plus 50: no two things happen at once, so there is exactly one right outcome.
"""

from typing import Literal

import attrs

Kind = Literal["plain", "slow", "crash", "slow crash", "refuse"]


@attrs.frozen
class Say:
    """A message that is handled so; with `ask` somebody waits, no longer than `deadline`."""

    kind: Kind
    duration: int = 0
    ask: bool = False
    deadline: int | None = None


@attrs.frozen
class Kill:
    """Kill the actor."""


@attrs.frozen
class Drain:
    """Stop the actor, pykka's way."""


@attrs.frozen
class Cancel:
    """Cancel the asker of the operation of that number."""

    number: int


Operation = Say | Kill | Drain | Cancel


class Model:
    """Carries out the operations; `outcomes` has the number of each `Say`, `letters` counts dead letters."""

    def __init__(self, capacity: int, restarts: int) -> None:
        self.capacity = capacity
        self.restarts_left = restarts
        self.alive = True
        self.queue: list[int] = []
        self.current: int | None = None
        self.ends_at = 0
        self.said: dict[int, Say] = {}
        self.gone: set[int] = set()
        self.outcomes: dict[int, str] = {}
        self.letters: dict[str, int] = {}
        self.handled: list[int] = []

    def run(self, operations: list[Operation]) -> None:
        """All of them, and what follows of them."""
        moments = {(number + 1) * 1_000: operation for number, operation in enumerate(operations)}
        deadlines: dict[int, list[int]] = {}
        now = 0
        while True:
            upcoming = [at for at in (*moments, *deadlines) if at > now]
            if self.current is not None:
                upcoming.append(self.ends_at)
            if not upcoming:
                return
            now = min(upcoming)
            if self.current is not None and self.ends_at == now:
                self._end(now)
            # Deadlines of one moment pass together, before anybody's turn comes because of one of them.
            for number in deadlines.get(now, ()):
                self._leave(number, "timeout")
            self._next(now)
            if now in moments:
                operation, number = moments[now], now // 1_000 - 1
                self._do(operation, number, now)
                if isinstance(operation, Say) and operation.ask and operation.deadline is not None:
                    deadlines.setdefault(now + operation.deadline, []).append(number)

    def _do(self, operation: Operation, number: int, now: int) -> None:
        match operation:
            case Say():
                self.said[number] = operation
                if not self.alive:
                    self.outcomes[number] = "dead"
                    if not operation.ask:
                        self._letter("dead")
                elif len([waiting for waiting in self.queue if waiting >= 0]) + self._drains() >= self.capacity:
                    self.outcomes[number] = "full"
                else:
                    self.queue.append(number)
            case Kill() if self.alive:
                if self.current is not None:
                    self._letter("interrupted")
                    self._answer(self.current, "dead")
                    self.current = None
                self._crash()
            case Drain() if self.alive:
                self.queue.append(-1)
            case Cancel(other):
                self._leave(other, "cancelled")
        self._next(now)

    def _drains(self) -> int:
        return self.queue.count(-1)

    def _leave(self, number: int, why: str) -> None:
        said = self.said.get(number)
        if said is None or not said.ask or number in self.outcomes:
            return
        self.outcomes[number] = why
        self.gone.add(number)
        if self.current == number:
            self.current = None

    def _end(self, now: int) -> None:
        number = self.current
        assert number is not None
        self.current = None
        if self.said[number].kind == "slow crash":
            self._answer(number, "raised")
            self._letter("crashed")
            self._crash()
        else:
            self._answer(number, "answer")
        self._next(now)

    def _next(self, now: int) -> None:
        """Handle what waits, as far as no time passes."""
        while self.alive and self.current is None and self.queue:
            number = self.queue.pop(0)
            if number == -1:
                self._die()
                return
            if number in self.gone:
                self._letter("expired")
                continue
            self.handled.append(number)
            match self.said[number].kind:
                case "plain":
                    self._answer(number, "answer")
                case "refuse":
                    if not self.said[number].ask:
                        self._letter("crashed")
                    self._answer(number, "refused")
                case "crash":
                    self._letter("crashed")
                    self._answer(number, "raised")
                    self._crash()
                case "slow" | "slow crash":
                    self.current = number
                    self.ends_at = now + self.said[number].duration

    def _crash(self) -> None:
        if self.restarts_left:
            self.restarts_left -= 1
        else:
            self._die()

    def _die(self) -> None:
        self.alive = False
        queue, self.queue = self.queue, []
        for number in queue:
            if number in self.gone:
                self._letter("expired")
            elif number >= 0:
                self._letter("stopped")
                self._answer(number, "dead")

    def _answer(self, number: int, outcome: str) -> None:
        if self.said[number].ask:
            self.outcomes.setdefault(number, outcome)

    def _letter(self, reason: str) -> None:
        self.letters[reason] = self.letters.get(reason, 0) + 1
