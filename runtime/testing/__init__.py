"""The test kit for authors of actors: virtual time, one run for one seed, probes, and faults on order.

General layout: `settling` knows when everything is at rest, `running` runs a test on virtual time and by a seed,
`probe` is an actor that stands in for another, `faults` makes actors fail without touching their code. Only tests want
it, and with it `trio.testing`, so `callboard.runtime` does not import it.
"""

from .faults import Crash, CrashStart, Delay, Drop, InjectedFault, faulty, inject
from .probe import Probe
from .running import frozen_clock, run, seeded
from .settling import settle

__all__ = [
    "Crash",
    "CrashStart",
    "Delay",
    "Drop",
    "InjectedFault",
    "Probe",
    "faulty",
    "frozen_clock",
    "inject",
    "run",
    "seeded",
    "settle",
]
