"""The programs, after the Savina suite, for any kind of actor in Python.

S. Imam and V. Sarkar, "Savina, an actor benchmark suite: enabling empirical evaluation of actor libraries", AGERE!
2014; parameters as in the `*Config.java` files of https://github.com/shamsimam/savina at 52e5469 (2018). Written anew
from the behaviour of the programs there, with three differences, the same for all contenders:

- A scale below 1 (`SCALE` of the command, or `--quick`) makes fewer messages of the same kind, or actors in *fjcreate*.
- *bndbuffer* handles its items at cost 0 instead of 25: 2,500 logarithms an item would measure Python's arithmetic.
- *concdict* begins with an empty dictionary instead of one with 524,287 entries.

Where the suite sends everything before anything is received (*fjthrput*, *count*), the receivers declare a mailbox that
holds it. A program creates its actors, sends the first messages, and ends when an actor calls `finish`.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["PROGRAMS", "Behaviour", "Host", "transactions"]


class Behaviour:
    """What an actor does, whatever kind it is; the kind gives `actor_ref` and `stop`."""

    mailbox_capacity = 1_000
    actor_ref: Any
    stop: Callable[[], Any]

    def on_receive(self, message: Any) -> Any:
        """Handle a message."""
        raise NotImplementedError


class Host(Protocol):
    """A kind of actor, and the run that the actors live in."""

    def spawn(self, behaviour: type[Behaviour], *args: Any) -> Any:
        """Start an actor; gives what can be told to."""

    def finish(self, count: int) -> None:
        """The program has ended; `count` messages (or actors) were handled. From any actor."""

    @property
    def account(self) -> type[Behaviour]:
        """A bank account that waits for another's answer: ``(amount, other, teller)`` or ``(amount,)``."""


def compute(theta: float) -> None:
    """The few operations of the fork-join programs."""
    sine = math.sin(theta)
    if sine * sine <= 0:
        raise AssertionError("the sine of 37.2 is not zero")


# -- thread ring: 100 actors, 100,000 passes ----------------------------------------------------------------------


class Ring(Behaviour):
    """Passes on what it gets, one less each time."""

    def __init__(self, ring: list[Any], number: int, finish: Callable[[], None]) -> None:
        super().__init__()
        self.ring, self.next, self.finish = ring, (number + 1) % 100, finish

    def on_receive(self, message: int) -> None:
        """One pass."""
        if message:
            self.ring[self.next].tell(message - 1)
        else:
            self.finish()


def thread_ring(host: Host, size: int) -> None:
    """A message goes round 100 actors."""
    ring: list[Any] = []
    for number in range(100):
        ring.append(host.spawn(Ring, ring, number, lambda: host.finish(size)))
    ring[0].tell(size)


# -- fork-join: 40,000 actors of one message; 60 actors of 10,000 messages each ------------------------------------


class Once(Behaviour):
    """Computes once and ends."""

    def __init__(self, ended: Callable[[], None]) -> None:
        super().__init__()
        self.ended = ended

    def on_receive(self, message: float) -> None:
        """The only message."""
        compute(message)
        self.stop()

    def on_stop(self) -> None:
        """Pykka's hook."""
        self.ended()


def fork_join_create(host: Host, size: int) -> None:
    """Actors are made, get a message each, and end."""
    ended = tally(size, lambda: host.finish(size))
    for _ in range(size):
        host.spawn(Once, ended).tell(37.2)


class Busy(Behaviour):
    """Computes so many times."""

    mailbox_capacity = 10_000

    def __init__(self, left: int, ended: Callable[[], None]) -> None:
        super().__init__()
        self.left, self.ended = left, ended

    def on_receive(self, message: float) -> None:
        """One of them."""
        compute(message)
        self.left -= 1
        if not self.left:
            self.ended()


def fork_join_throughput(host: Host, size: int) -> None:
    """60 actors get so many messages each, in turn."""
    ended = tally(60, lambda: host.finish(60 * size))
    actors = [host.spawn(Busy, size, ended) for _ in range(60)]
    for _ in range(size):
        for actor in actors:
            actor.tell(37.2)


# -- counting: 1,000,000 messages ----------------------------------------------------------------------------------


class Counter(Behaviour):
    """Counts, and tells when asked."""

    mailbox_capacity = 1_000_001

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> None:
        """One more, or who wants to know."""
        if message is None:
            self.count += 1
        else:
            message.tell(self.count)


class Producer(Behaviour):
    """Has the counter count, and asks how far it came."""

    def __init__(self, counter: Any, finish: Callable[[int], None]) -> None:
        super().__init__()
        self.counter, self.finish = counter, finish

    def on_receive(self, message: tuple[str, int] | int) -> None:
        """The start with how many, or the result."""
        if isinstance(message, int):
            self.finish(message)
            return
        for _ in range(message[1]):
            self.counter.tell(None)
        self.counter.tell(self.actor_ref)


def counting(host: Host, size: int) -> None:
    """One actor counts the messages of another."""
    host.spawn(Producer, host.spawn(Counter), host.finish).tell(("count", size))


# -- ping pong: 40,000 pings ---------------------------------------------------------------------------------------


class Pong(Behaviour):
    """Answers."""

    def on_receive(self, message: Any) -> None:
        """A ping."""
        message.tell(None)


class Ping(Behaviour):
    """Pings so many times, the next when the last was answered."""

    def __init__(self, pong: Any, left: int, finish: Callable[[], None]) -> None:
        super().__init__()
        self.pong, self.left, self.finish = pong, left, finish

    def on_receive(self, message: None) -> None:
        """The start, or a pong."""
        if self.left:
            self.left -= 1
            self.pong.tell(self.actor_ref)
        else:
            self.finish()


def ping_pong(host: Host, size: int) -> None:
    """Two actors."""
    host.spawn(Ping, host.spawn(Pong), size, lambda: host.finish(2 * size)).tell(None)


# -- big: 120 actors ping one another at random, 20,000 times each -------------------------------------------------


class Big(Behaviour):
    """Pings somebody, and the next when that one has answered; answers all others meanwhile."""

    def __init__(self, actors: list[Any], number: int, left: int, ended: Callable[[], None]) -> None:
        super().__init__()
        self.actors, self.number, self.left, self.ended = actors, number, left, ended
        self.random = random.Random(number).random

    def on_receive(self, message: int) -> None:
        """A ping of that number, or a pong (-1)."""
        if message >= 0:
            self.actors[message].tell(-1)
        elif self.left:
            self.left -= 1
            self.actors[int(self.random() * 120)].tell(self.number)
        else:
            self.ended()


def big(host: Host, size: int) -> None:
    """Many to many."""
    ended = tally(120, lambda: host.finish(120 * size * 2))
    actors: list[Any] = []
    for number in range(120):
        actors.append(host.spawn(Big, actors, number, size, ended))
    for actor in actors:
        actor.tell(-1)


# -- concurrent dictionary: 20 workers, 10,000 requests each, a tenth of them writes ------------------------------


class Dictionary(Behaviour):
    """Keeps numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[int, int] = {}

    def on_receive(self, message: tuple[Any, int, int | None]) -> None:
        """Who asks, the key, and the value to write."""
        worker, key, value = message
        if value is not None:
            self.data[key] = value
        worker.tell(self.data.get(key))


class Reader(Behaviour):
    """Reads and writes at random, the next when the last was answered."""

    def __init__(self, dictionary: Any, number: int, left: int, ended: Callable[[], None]) -> None:
        super().__init__()
        self.dictionary, self.left, self.ended = dictionary, left, ended
        self.random = random.Random(number).random

    def on_receive(self, message: int | None) -> None:
        """The start, or a result."""
        if not self.left:
            self.ended()
            return
        self.left -= 1
        key = int(self.random() * 2**19)
        self.dictionary.tell((self.actor_ref, key, key if self.random() < 0.1 else None))


def concurrent_dictionary(host: Host, size: int) -> None:
    """Many to one and back."""
    ended = tally(20, lambda: host.finish(20 * size * 2))
    dictionary = host.spawn(Dictionary)
    for number in range(20):
        host.spawn(Reader, dictionary, number, size, ended).tell(None)


# -- bounded buffer: 40 producers of 1,000 items, 40 consumers, a buffer of 50 -------------------------------------


def process(number: float) -> float:
    """An item at cost 0."""
    return number + math.log(0.5 + 0.01)


class Maker(Behaviour):
    """Makes an item when told to."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left, self.item = left, 0.0

    def on_receive(self, manager: Any) -> None:
        """One more."""
        if self.left:
            self.left -= 1
            self.item = process(self.item)
            manager.tell((self.actor_ref, self.item))
        else:
            manager.tell(None)


class Taker(Behaviour):
    """Takes an item."""

    item = 0.0

    def on_receive(self, message: tuple[Any, float]) -> None:
        """The manager and an item."""
        manager, item = message
        self.item = process(self.item + item)
        manager.tell(self.actor_ref)


class Manager(Behaviour):
    """Keeps the buffer."""

    def __init__(self, makers: list[Any], takers: list[Any], finish: Callable[[], None]) -> None:
        super().__init__()
        self.takers, self.finish = deque(takers), finish
        self.everybody, self.at_work = len(takers), len(makers)
        self.makers: deque[Any] = deque()
        self.items: deque[float] = deque()
        self.room = 50 - len(makers)

    def on_receive(self, message: Any) -> None:
        """An item with its maker, a taker that is free, or None: a maker has made all it makes."""
        if message is None:
            self.at_work -= 1
        elif message.__class__ is tuple:
            maker, item = message
            if self.takers:
                self.takers.popleft().tell((self.actor_ref, item))
            else:
                self.items.append(item)
            if len(self.items) >= self.room:
                self.makers.append(maker)
            else:
                maker.tell(self.actor_ref)
            return
        elif self.items:
            message.tell((self.actor_ref, self.items.popleft()))
            if self.makers:
                self.makers.popleft().tell(self.actor_ref)
            return
        else:
            self.takers.append(message)
        if not self.at_work and len(self.takers) == self.everybody:
            self.finish()


def bounded_buffer(host: Host, size: int) -> None:
    """Producers and consumers."""
    makers = [host.spawn(Maker, size) for _ in range(40)]
    takers = [host.spawn(Taker) for _ in range(40)]
    manager = host.spawn(Manager, makers, takers, lambda: host.finish(40 * size))
    for maker in makers:
        maker.tell(manager)


# -- banking: 1,000 accounts, 50,000 transactions ------------------------------------------------------------------


class Teller(Behaviour):
    """Hears of each transaction that is done."""

    mailbox_capacity = 50_000

    def __init__(self, left: int, finish: Callable[[], None]) -> None:
        super().__init__()
        self.left, self.finish = left, finish

    def on_receive(self, message: None) -> None:
        """One is done."""
        self.left -= 1
        if not self.left:
            self.finish()


def transactions(size: int) -> list[tuple[float, int, int]]:
    """Amount, from and to: always to a higher number, so that those who wait never wait in a circle."""
    rng = random.Random(123456)
    found = []
    for _ in range(size):
        source = rng.randrange(800)
        found.append((rng.random() * 1000, source, source + (rng.randrange(1000 - source) or 1)))
    return found


def banking(host: Host, size: int) -> None:
    """Accounts that wait for one another."""
    work = transactions(size)
    accounts = [host.spawn(host.account) for _ in range(1_000)]
    teller = host.spawn(Teller, size, lambda: host.finish(size))
    for amount, source, destination in work:
        accounts[source].tell((amount, accounts[destination], teller))


def tally(count: int, finish: Callable[[], None]) -> Callable[[], None]:
    """What is to be called `count` times, from any thread, before `finish`."""
    numbers = itertools.count(1)

    def ended() -> None:
        if next(numbers) == count:
            finish()

    return ended


PROGRAMS: dict[str, Callable[[Host, int], None]] = {
    "thr": thread_ring,
    "fjcreate": fork_join_create,
    "fjthrput": fork_join_throughput,
    "count": counting,
    "pingpong": ping_pong,
    "big": big,
    "concdict": concurrent_dictionary,
    "bndbuffer": bounded_buffer,
    "banking": banking,
}
