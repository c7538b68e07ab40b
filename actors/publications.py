"""What a session remembers of what services published over HTTP, so that nothing is said twice (law S5).

No clock, no I/O.

A service names each publication by a key of its own making, and repeats it under that key until it has an answer. What
was accepted is known by service and key for a stated time, and gets its first answer again. Within that time nothing is
forgotten to make room: where a service has used up its share, further keys are refused until older ones have expired.
To forget early would mean to say twice what was promised once.

Times are those of the session's records, which never run backwards. So they lie in the order of their coming, and what
is read back from the journal makes the same memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from .errors import PublicationConflict, TooManyPublications

__all__ = ["Publication", "PublicationMemory"]


@attrs.frozen
class Publication:
    """A publication that was accepted: who said what under which key, and where and when it was recorded.

    `fingerprint` is that of its body. `epoch` is empty until the record is durable, as until then it may still change.
    """

    service: str
    key: str
    fingerprint: bytes
    at: int
    epoch: str
    seq: int
    id: str


class PublicationMemory:
    """The memory of one session.

    Args:
        keep_ms: how long a publication is known.
        per_service: how many of one service are known at most.
        services: how many services are known at most.
    """

    def __init__(self, *, keep_ms: int, per_service: int, services: int) -> None:
        self._keep_ms = keep_ms
        self._per_service = per_service
        self._max_services = services
        self._services: dict[str, OrderedDict[str, Publication]] = {}

    def forget(self, now: int) -> int:
        """Forget what is older than the stated time; gives the moment before which nothing is known, Unix ms."""
        before = now - self._keep_ms
        for service, known in list(self._services.items()):
            while known and next(iter(known.values())).at < before:
                known.popitem(last=False)
            if not known:
                del self._services[service]
        return before

    def find(self, service: str, key: str, fingerprint: bytes) -> Publication | None:
        """What is known under this key; None if it is new.

        Raises:
            PublicationConflict: it was used for something else.
        """
        of_service = self._services.get(service)
        known = None if of_service is None else of_service.get(key)
        if known is not None and known.fingerprint != fingerprint:
            raise PublicationConflict("this key was used for another event; take a new key for a new event")
        return known

    def check_room(self, service: str, now: int) -> None:
        """Raise TooManyPublications if one more of this service could not be remembered."""
        known = self._services.get(service)
        if known is None:
            if len(self._services) < self._max_services:
                return
            # The service that was last heard of longest ago is the first that is forgotten as a whole.
            free_at = min(next(reversed(each.values())).at for each in self._services.values())
            what = f"{self._max_services} services are known in this session, which is the limit"
        elif len(known) < self._per_service:
            return
        else:
            free_at = next(iter(known.values())).at
            what = f"{self._per_service} keys of this service are known in this session, which is the limit"
        raise TooManyPublications(what, retry_ms=max(1, free_at + self._keep_ms + 1 - now))

    def remember(self, publication: Publication) -> None:
        """Keep what was accepted; a later one under the same key takes the place of the earlier one."""
        known = self._services.setdefault(publication.service, OrderedDict())
        known[publication.key] = publication
        known.move_to_end(publication.key)

    def remember_all(self, publications: Iterable[Publication]) -> None:
        """Keep what the journal has kept, in its order."""
        for publication in publications:
            self.remember(publication)

    def settle(self, publication: Publication, epoch: str) -> Publication:
        """It is durable under this epoch: note that, and give it. If that is noted already, the first word counts."""
        known = self._services.get(publication.service)
        noted = None if known is None else known.get(publication.key)
        if noted is not None and noted.seq == publication.seq and noted.epoch:
            return noted
        settled = attrs.evolve(publication, epoch=epoch)
        if known is not None and noted is publication:  # else it was forgotten meanwhile
            known[publication.key] = settled
        return settled

    def entries(self) -> list[Publication]:
        """All that is remembered, of each service in order."""
        return [publication for known in self._services.values() for publication in known.values()]
