"""Knowing when everything has come to rest."""

from __future__ import annotations

import trio.testing

from ..system import ActorSystem

__all__ = ["settle"]


async def settle(system: ActorSystem) -> None:
    """Wait until nothing can happen any more without time passing or somebody outside doing something.

    Then every mailbox that can be emptied is empty, every handler has ended or waits for a timer, for a message or for
    a socket, and the dispatcher is parked. No time passes meanwhile, on a `trio.testing.MockClock` either: it jumps
    only when nobody waits here. What other threads do is not waited for.
    """
    await trio.testing.wait_all_tasks_blocked()
    assert not system.has_work(), "every task is blocked, yet the dispatcher has actors to run"
