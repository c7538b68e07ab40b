"""Who takes part: callboard and its peers, with the versions that are installed here."""

from __future__ import annotations

import platform

from .machine import version_of
from .trials import OURS, Contender

__all__ = ["ASYNCIO", "CALLBOARD", "PYKKA", "TRIO"]

CALLBOARD = Contender(OURS, "actors of callboard.runtime", lambda: version_of("callboard"))
PYKKA = Contender("pykka", "stock ThreadingActor, a thread each", lambda: version_of("pykka"))
TRIO = Contender("trio", "a task and a memory channel each", lambda: version_of("trio"))
ASYNCIO = Contender("asyncio", "a task and a queue each", platform.python_version)
