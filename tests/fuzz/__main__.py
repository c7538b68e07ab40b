"""Feed one target with a fuzzer that is led by coverage, for some seconds.

::

    python -m tests.fuzz codec --seconds 60

Prints libFuzzer's own statistics. What makes the target fail is written to the folder `--found`, and the exit code is
not 0. Needs the extra ``fuzz``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

# Their branches lead the fuzzer; what is written in C does not.
LED_BY = ["callboard", "h11", "joserfc", "trio_websocket", "wsproto"]


def main() -> None:
    """Run until the time is over; ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path())
    given = parser.parse_args()
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=LED_BY):
        targets = importlib.import_module("tests.fuzz.targets")
    if given.target not in targets.TARGETS:
        parser.error(f"there is no target {given.target!r}; there are {', '.join(targets.TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="callboard-corpus-") as corpus:
        for number, seed in enumerate(targets.SEEDS[given.target]):
            (Path(corpus) / str(number)).write_bytes(seed)
        bounds = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-max_total_time={given.seconds}"]
        options = [*bounds, "-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={given.found}/", corpus]
        atheris.Setup([sys.argv[0], *options], targets.TARGETS[given.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
