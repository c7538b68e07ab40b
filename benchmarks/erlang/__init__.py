"""Erlang as a contender: one program, compiled when it is first needed, one scheduler thread.

One scheduler, because all contenders in Python use one processor; without busy waiting, because CPU time counts here.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..samples import Sample
from ..trials import Contender, Missing
from ..worker import Failed, run_and_parse

__all__ = ["ERLANG", "measure"]

SOURCE = Path(__file__).parent / "bench.erl"
# How often it does the work of the others: it would be done before its clock of milliseconds has ticked.
TIMES = 10


def version() -> str:
    """The release that is installed."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        raise Missing("no erl and erlc on the path; on Debian: apt-get install erlang-base")
    show = 'io:format("OTP ~s, erts ~s", [erlang:system_info(otp_release), erlang:system_info(version)]), halt().'
    done = subprocess.run(["erl", "-noshell", "-eval", show], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


ERLANG = Contender("Erlang/OTP", "a process each, one scheduler", version)


@functools.cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    # Kept, and so removed, with this process.
    folder = tempfile.TemporaryDirectory(prefix="callboard-bench-")
    done = subprocess.run(
        ["erlc", "-o", folder.name, str(SOURCE)], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise Failed(f"erlc: {done.stdout.strip() or done.stderr.strip()}")
    return folder


def measure(workload: str, size: int, deadline_seconds: float) -> Sample:
    """Run a workload of `bench.erl`; raises `Failed`."""
    quiet = ["+S", "1:1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+P", "2000000"]
    command = ["erl", "-noshell", *quiet, "-pa", _compiled().name, "-run", "bench", "main", workload, str(size)]
    return run_and_parse(command, deadline_seconds)
