"""One measurement: a server on one core, its clients on another, and the server's CPU clock read from outside."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

from ..launch import cpu_seconds, descriptors, environment, line_of, port_of, running
from ..samples import Sample
from .peer import Task
from .servers import Server

__all__ = ["measure"]

# One machine is one address here; and the files of a process that are no connections.
LIMITS = {"connections_per_address": 20_000, "ticket_seconds": 600}
OTHER_DESCRIPTORS = 256


def measure(server: Server, task: Task, deadline_seconds: float) -> Sample:
    """Serve one task to the end.

    Raises:
        Failed: a client did not get its own events, all of them and in order; or something ended, or not in time.
    """
    cores = sorted(os.sched_getaffinity(0))
    key = secrets.token_hex(32)
    environ = environment(key, LIMITS)
    descriptors(task.clients + OTHER_DESCRIPTORS)
    with (
        tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder,
        running(server.command(task), cores[0], Path(folder), environ, deadline_seconds) as serving,
    ):
        port = port_of(serving)
        spec = {"clients": server.clients, "url": f"127.0.0.1:{port}", "key": key} | {
            "events": task.events,
            "burst": task.burst,
            "number": task.clients,
        }
        command = [sys.executable, "-m", "benchmarks.delivery.load", json.dumps(spec)]
        with running(command, cores[-1], Path(folder), environ, deadline_seconds) as load:
            assert load.stdin is not None
            line_of(load)
            before = cpu_seconds(serving.pid)
            load.stdin.write("go\n")
            load.stdin.flush()
            report = json.loads(line_of(load))
            # The clock stops when the last client has its last event.
            cpu = cpu_seconds(serving.pid) - before
    details = {
        "events a message": report["events"] / report["messages"],
        "load CPU %": 100 * report["cpu_seconds"] / report["seconds"],
    }
    return Sample(report["events"], report["seconds"], cpu, details=details)
