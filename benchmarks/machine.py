"""Where a run took place: the machine, the interpreter and the versions that a figure depends on."""

from __future__ import annotations

import datetime
import os
import platform
import sysconfig
from importlib import metadata
from pathlib import Path

import attrs

__all__ = ["Machine", "this_machine", "version_of"]

PACKAGES = ("callboard", "pykka", "trio", "attrs", "outcome", "sortedcontainers")


@attrs.frozen
class Machine:
    """What is written above every result."""

    processor: str
    processors: int
    memory_mib: int
    system: str
    python: str
    python_build: str
    packages: dict[str, str]
    started: str
    load_before: float

    def one_line(self) -> str:
        """For the head of a table and the foot of a plot."""
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"{self.processor}, {self.processors} processors, {self.memory_mib:,} MiB, {self.system}; "
            f"{self.python} ({self.python_build}); {packages}; load before {self.load_before:.1f}; {self.started}"
        )


def version_of(package: str) -> str:
    """The installed version of a distribution; raises `metadata.PackageNotFoundError`."""
    return metadata.version(package)


def this_machine() -> Machine:
    """Describe the machine and the interpreter of this moment."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    build = "optimised build" if "--enable-optimizations" in options else "build without profile-guided optimisation"
    return Machine(
        processor=_processor(),
        processors=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        python_build=build,
        packages={name: version_of(name) for name in PACKAGES},
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        load_before=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
