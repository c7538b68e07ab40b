"""`App`: what an embedding platform brings: its agents and its session class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import pykka

from .agent import Agent
from .ids import SessionKey
from .session import Session
from .session_node import SessionNode

__all__ = ["App"]


def _agents(_: object, attribute: attrs.Attribute[object], value: object) -> None:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"`agents` is {value!r:.80}; it has to map at least one name to a factory of agents")
    for name, factory in value.items():
        if not isinstance(name, str) or not name or not callable(factory):
            raise ValueError(f"`agents` has {name!r:.80}: {factory!r:.80}; it needs a name and a callable")


@attrs.frozen(kw_only=True)
class App:
    """A platform's agents and sessions, for `callboard.open(app)` and ``callboard serve --app MODULE:NAME``.

    Args:
        agents: name → what makes an agent: an `Agent` subclass, a stock `pykka.ThreadingActor` for blocking code
            (see `BlockingMessage`), or a function that gives a new one each time.
        default_agent: the agent of a `user_message` that names none; the first one if not given.
        session: what makes a session: a `Session` subclass, or a function of the same two arguments.
    """

    agents: Mapping[str, Callable[[], Agent | pykka.ThreadingActor]] = attrs.field(validator=_agents)
    default_agent: str = attrs.field()
    session: Callable[[SessionKey, SessionNode], Session] = Session

    @default_agent.default
    def _first(self) -> str:
        # This runs before `agents` was looked at: what is wrong with it, its own validator says.
        agents: object = self.agents
        return next(iter(agents), "") if isinstance(agents, Mapping) else ""

    @default_agent.validator
    def _known(self, _: attrs.Attribute[str], value: str) -> None:
        if value not in self.agents:
            raise ValueError(f"`default_agent` is {value!r:.80}; there are {', '.join(self.agents)}")
