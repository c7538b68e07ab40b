"""The golden path from outside: a node in its own process, and the third-party `websockets` client."""

from __future__ import annotations

import ast
import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from time import time

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration import golden_path, wire_client
from tests.integration.golden_path import grammar_problems, walk
from tests.integration.node_process import node_process

USERS, DEVICES = 12, 2


def token_source(folder: Path) -> Callable[[str], str]:
    """What `callboard token` does, without a process for each user."""
    text = (folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()
    key = OctKey.import_key(bytes.fromhex(text))
    return lambda user: jwt.encode({"alg": "HS256"}, {"sub": user, "exp": int(time()) + 600}, key)


def test_the_golden_path(tmp_path: Path) -> None:
    """Own records, contiguous seq, legal grammar, one terminal a run, refusals."""  # S1, S2, S4, S5, S6, S12
    with node_process(tmp_path, limits={"ticket_seconds": 3}) as node:
        url = node.url  # the key is there once it serves
        report = asyncio.run(walk(url, users=USERS, devices=DEVICES, token_for=token_source(tmp_path)))
    assert not report.wrong
    checked = report.checked
    assert checked["own records only"] == USERS
    assert checked["the same stream on every device"] == USERS * (DEVICES + 1)
    assert checked["legal grammar, one terminal a run"] == USERS * (DEVICES + 3)
    assert checked["an expired ticket: 4300"] == 1


def test_the_client_knows_nothing_of_the_node() -> None:
    """It is written from the wire's description: what the node gets wrong, it cannot get wrong in the same way."""
    for module in (wire_client, golden_path):
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "callboard" for name in names), names


def record(type: str, call: str = "c", **data: object) -> dict[str, object]:
    """A record, with an id of its own."""
    text = {"text": "t"} if type in ("agent_thinking", "agent_delta") else {}
    return {"id": secrets.token_hex(4), "type": type, "data": {"call": call, **text, **data}}


BREACHES = [
    ["agent_completed"],
    ["agent_started"],
    ["agent_started", "agent_started", "agent_completed"],
    ["agent_thinking", "agent_started", "agent_completed"],
    ["agent_started", "agent_completed", "agent_delta"],
    ["agent_started", "agent_completed", "agent_error"],
    ["agent_started", "tool_executing", "agent_completed"],
    ["agent_started", "tool_completed", "agent_completed"],
    ["agent_started", "tool_executing", "tool_completed", "tool_completed", "agent_completed"],
    ["agent_started", "tool_executing", "tool_completed", "tool_executing", "tool_completed", "agent_completed"],
    ["agent_started", "shout", "agent_completed"],
]


@pytest.mark.parametrize("types", BREACHES, ids=[" ".join(types) for types in BREACHES])
def test_the_checker_of_the_grammar_finds_what_is_wrong(types: list[str]) -> None:
    """A checker that finds nothing would prove nothing."""  # S6
    assert grammar_problems([record(type) for type in types])


def test_the_checker_of_the_grammar_takes_what_is_right() -> None:
    """And twice the same id is wrong in whatever is right otherwise."""  # S6
    types = ["agent_started", "agent_thinking", "tool_executing", "x.mine", "tool_completed", "agent_delta"]
    records = [record(type) for type in [*types, "agent_completed"]]
    assert grammar_problems(records) == []
    assert grammar_problems([{**each, "id": "same"} for each in records])
