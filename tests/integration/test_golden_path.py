"""The golden path from outside: a node in its own process, and the third-party `websockets` client."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from time import time

from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration import golden_path, wire_client
from tests.integration.golden_path import walk
from tests.integration.node_process import node_process

USERS, DEVICES = 12, 2


def token_source(folder: Path) -> TokenSource:
    return TokenSource(bytes.fromhex((folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()))


class TokenSource:
    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)

    def __call__(self, user: str) -> str:
        return jwt.encode({"alg": "HS256"}, {"sub": user, "exp": int(time()) + 600}, self._key)


def test_the_golden_path(tmp_path: Path) -> None:
    """Own records only, contiguous seq, legal grammar, one terminal a run, resumption, refusals."""  # S1, S2, S4, S5, S6, S12
    with node_process(tmp_path, limits={"ticket_seconds": 3}) as node:
        report = asyncio.run(walk(node.url, users=USERS, devices=DEVICES, token_for=token_source(tmp_path)))
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
