"""The wall clock of a node's machine is set back and forward while a crowd works. By Debian's `faketime`."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration.boards import ask_http
from tests.integration.faults.crowd import Crowd, judge
from tests.integration.faults.lives import Lives, lives

HOUR, DAY = 3_600, 86_400


@pytest.fixture
def clock(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file that says how far the node's clock is off, and the environment that makes it so."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is missing; install it with: apt-get install faketime")
    library = subprocess.run(["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, check=True)
    file = tmp_path / "clock"
    file.write_text("+0", encoding="ascii")
    return file, {
        "LD_PRELOAD": library.stdout.decode().strip(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        # Or Python would take its compiled modules for older ones, and compile them all anew.
        "NO_FAKE_STAT": "1",
        # As the machine's own: what is set is the time of day.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


async def ticket_status(living: Lives, expires_in: int) -> int:
    """What the node answers to a token that ends so soon, by the machine's clock."""
    text = (living.folder / "callboard" / "callboard-dev.key").read_text(encoding="ascii").strip()
    claims = {"sub": "user-9", "exp": int(time.time()) + expires_in}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(bytes.fromhex(text)))
    request = (
        "POST /v1/tickets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    return int((await ask_http(living.port, request.encode()))[9:12])


async def test_a_clock_that_is_set(tmp_path: Path, clock: tuple[Path, dict[str, str]]) -> None:
    """S2 S4 S12. Red if order, heartbeats or durability hang on the time of day, or an expired login is let in."""
    file, environ = clock
    with lives(tmp_path, commands_per_s=1_000, runs=64, heartbeat_seconds=1, timeout_seconds=5) as living:
        living.environ = environ
        await living.serve()
        crowd = Crowd(living.port, living.token, users=2, strict=1, product=1, rng=random.Random(5), pause_seconds=0.05)
        async with crowd.at_work():
            await crowd.until_answers(5)
            for seconds in (-DAY, 2 * DAY):
                file.write_text(f"{seconds:+d}", encoding="ascii")
                await crowd.until_answers(8)
                assert await ticket_status(living, HOUR) == (401 if seconds > HOUR else 201)
            assert set(crowd.connects()) == {1}, "nobody was thrown out"
            await living.end(signal.SIGKILL)
            file.write_text(f"{-2 * DAY}", encoding="ascii")
            await living.serve()
            await crowd.until_answers(8)
        await judge(crowd, living.notes)
        # The times of a session's records never go back: behind the day ahead they stand still.
        at = [record["at"] / 1000 for record in crowd.seen[0].records]
        assert at == sorted(at)
        assert at[-1] > time.time() + DAY
