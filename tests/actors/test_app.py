"""What a platform brings, and what an operator sets, is checked when it is said."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from callboard.actors import Agent, App, Limits
from tests.actors.scripted import Scripted


@pytest.mark.parametrize("agents", [{}, None, [], "agent", {"": Scripted}, {5: Scripted}, {"a": "Scripted"}])
def test_an_app_without_agents_is_none(agents: Any) -> None:
    """S12. Red if a typing error is found by the first user, and not when the node starts."""
    with pytest.raises(ValueError, match="`agents`"):
        App(agents=agents)


def test_the_default_agent_is_the_first_and_has_to_be_there() -> None:
    """Red if a message without an agent's name goes to nobody."""
    agents: dict[str, type[Agent]] = {"one": Scripted, "two": Scripted}
    assert App(agents=agents).default_agent == "one"
    assert App(agents=agents, default_agent="two").default_agent == "two"
    with pytest.raises(ValueError, match="`default_agent` is 'three'; there are one, two"):
        App(agents=agents, default_agent="three")


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Limits)])
def test_every_limit_is_positive(name: str) -> None:
    """S13. Red if a limit can be switched off by a zero, a negative number or a word."""
    wrong: Any
    for wrong in (0, -1, -0.5):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: wrong})
    wrong_kind: Any = "many"
    with pytest.raises(TypeError):
        Limits(**{name: wrong_kind})
    right: Any = 7
    assert getattr(Limits(**{name: right}), name) == 7
