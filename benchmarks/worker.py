"""Runs one workload in this process and prints its sample as JSON: ``python -m benchmarks.worker …``.

Each measurement has a fresh interpreter, the same for all contenders that are Python, so that neither the garbage, the
threads nor the warmed caches of one are there for the next.
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path

import attrs

from .samples import Sample

__all__ = ["COLLECTOR_SETTINGS", "Failed", "measure_here", "measure_in_process", "run_and_parse"]

ROOT = Path(__file__).parent.parent

COLLECTOR_SETTINGS = ("default", "tuned")
# What `callboard serve` sets: rarer collections, and what was imported is never looked at again.
TUNED_THRESHOLDS = (50_000, 5, 2)


class Failed(Exception):
    """A measurement that gave no sample; says why."""


def measure_here(module: str, workload: str, size: int, collector: str) -> Sample:
    """Run a workload in this process, under the garbage collector setting of that name.

    A workload is the name of a function of the module, with what it takes before the size behind a colon.
    """
    name, *arguments = workload.split(":")
    run = getattr(importlib.import_module(module), name)
    if collector == "tuned":
        gc.collect()
        gc.freeze()
        gc.set_threshold(*TUNED_THRESHOLDS)
    sample: Sample = run(*arguments, size)
    return sample


def measure_in_process(module: str, workload: str, size: int, collector: str, deadline_seconds: float) -> Sample:
    """Run a workload in a process of its own, killed when it overruns the deadline.

    Raises:
        Failed: it ended with an error, or not in time.
    """
    command = [sys.executable, "-m", "benchmarks.worker", module, workload, str(size), collector]
    return run_and_parse(command, deadline_seconds)


def run_and_parse(command: list[str], deadline_seconds: float) -> Sample:
    """Run a program that prints a sample as its last line.

    Raises:
        Failed: it ended with an error, or not in time.
    """
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=deadline_seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done within {deadline_seconds:g} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines() or lines or ["nothing"]
        raise Failed(f"ended with status {done.returncode} and said: {said[-1]}")
    return Sample(**json.loads(lines[-1]))


def main(arguments: list[str]) -> None:
    """Print the sample of the workload that the arguments name."""
    module, workload, size, collector = arguments
    print(json.dumps(attrs.asdict(measure_here(module, workload, int(size), collector))))


if __name__ == "__main__":
    main(sys.argv[1:])
