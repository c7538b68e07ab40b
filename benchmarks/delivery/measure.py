"""One measurement: a server on one core, its clients on another, and the server's CPU clock read from outside."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..samples import Sample
from ..worker import ROOT, Failed
from .peer import Task
from .servers import Server

__all__ = ["measure"]

SERVES = re.compile(r"port (\d+)$|serves .* on http://\S+:(\d+)")
END_SECONDS = 10.0


def measure(server: Server, task: Task, deadline_seconds: float) -> Sample:
    """Serve one task to the end.

    Raises:
        Failed: a client did not get its own events, all of them and in order; or something ended, or not in time.
    """
    cores = sorted(os.sched_getaffinity(0))
    key = secrets.token_hex(32)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    # A log line is written for each connection; width and colour are for people.
    environ |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "CALLBOARD_KEY": key}
    with (
        tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder,
        _running(server.command(task), cores[0], Path(folder), environ, deadline_seconds) as serving,
    ):
        port = _port(serving)
        spec = {"clients": server.clients, "url": f"127.0.0.1:{port}", "key": key} | {
            "events": task.events,
            "burst": task.burst,
            "number": task.clients,
        }
        command = [sys.executable, "-m", "benchmarks.delivery.load", json.dumps(spec)]
        with _running(command, cores[-1], Path(folder), environ, deadline_seconds) as load:
            assert load.stdin is not None
            _said(load)
            before = _cpu_seconds(serving.pid)
            load.stdin.write("go\n")
            load.stdin.flush()
            report = json.loads(_said(load))
            # The clock stops when the last client has its last event.
            cpu = _cpu_seconds(serving.pid) - before
    details = {
        "events a message": report["events"] / report["messages"],
        "load CPU %": 100 * report["cpu_seconds"] / report["seconds"],
    }
    return Sample(report["events"], report["seconds"], cpu, details=details)


@contextmanager
def _running(
    command: Sequence[str], core: int, folder: Path, environ: Mapping[str, str], deadline_seconds: float
) -> Iterator[subprocess.Popen[str]]:
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


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        found = SERVES.search(line.strip())
        if found is not None:
            return int(found[1] or found[2])
    raise Failed("the server ended, or did not serve in time")


def _said(load: subprocess.Popen[str]) -> str:
    assert load.stdout is not None
    line = load.stdout.readline()
    if not line:
        raise Failed("the load generator ended, or was not done in time")
    return line


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)
