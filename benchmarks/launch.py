"""The programs of a measurement: started on a core each, listened to, their CPU read from the kernel, killed."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from .worker import ROOT, Failed

__all__ = [
    "Memory",
    "cpu_seconds",
    "descriptors",
    "environment",
    "line_of",
    "memory_of",
    "port_of",
    "running",
    "wakeups",
]

SERVES = re.compile(r"port (\d+)$|serves .* on http://\S+:(\d+)")
END_SECONDS = 10.0


def environment(key: str, limits: Mapping[str, float] | None = None) -> dict[str, str]:
    """What a server runs in: this environment without callboard's own settings, with a key and these limits."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    # A log line is written for each connection; width and colour are for people.
    environ |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "CALLBOARD_KEY": key}
    return environ | {f"CALLBOARD_LIMITS_{name.upper()}": f"{value:g}" for name, value in (limits or {}).items()}


@contextmanager
def running(
    command: Sequence[str], core: int, folder: Path, environ: Mapping[str, str], deadline_seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on one core for the body of a ``with``; it is killed behind it, or when it overruns the deadline.

    Raises:
        Failed: the body did; with the last line that the program said on standard error.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        killer = threading.Timer(deadline_seconds, process.kill)
        killer.start()
        try:
            yield process
        except Failed as failure:
            process.kill()
            process.wait(END_SECONDS)
            errors.seek(0)
            said = errors.read().strip().splitlines()
            raise Failed(f"{failure}; {Path(command[0]).name} said: {said[-1] if said else 'nothing'}") from None
        finally:
            killer.cancel()
            process.kill()
            process.wait(END_SECONDS)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def port_of(server: subprocess.Popen[str]) -> int:
    """Wait until a server says where it serves.

    Raises:
        Failed: it ended before.
    """
    assert server.stdout is not None
    for line in server.stdout:
        found = SERVES.search(line.strip())
        if found is not None:
            return int(found[1] or found[2])
    raise Failed("the server ended, or did not serve in time")


def line_of(load: subprocess.Popen[str]) -> str:
    """Wait for one line of a load generator.

    Raises:
        Failed: it ended before.
    """
    assert load.stdout is not None
    line = load.stdout.readline()
    if not line:
        raise Failed("the load generator ended, or was not done in time")
    return line


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


@attrs.frozen
class Memory:
    """What the kernel counts for a process, KiB: resident, and its share of what is shared (proc_pid_smaps(5))."""

    rss: float
    pss: float


def memory_of(pid: int) -> Memory:
    """A process's memory now."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name.lower()] = float(rest.split()[0])
    return Memory(**found)


def wakeups(pid: int) -> int:
    """How often the threads of a process have gone to sleep so far, each time to be woken again."""
    number = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                number += int(line.split()[1])
    return number


def descriptors(needed: int) -> int:
    """Raise this process's bound of open files, which the programs that it starts inherit; gives what is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, needed)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
