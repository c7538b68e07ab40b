"""What becomes of a service's publications: recorded once, answered when durable, and known again (law S5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ..runtime import Reply
from .errors import EventRefused, InvalidEvent, StoreUnavailable
from .events import Record, encode_json
from .ledger import Ledger
from .limits import Limits
from .messages import PublishOnce
from .publications import Publication, PublicationMemory

__all__ = ["PublicationDesk"]


class PublicationDesk:
    """Takes the publications of one incarnation of a session.

    Args:
        memory: what is known of earlier ones.
        ledger: where they go.
        limits: the node's.
        now_ms: Unix milliseconds.
        record: records an event outside of runs, as `Session.publish` does.
    """

    def __init__(
        self,
        memory: PublicationMemory,
        ledger: Ledger,
        limits: Limits,
        now_ms: Callable[[], int],
        record: Callable[[str, Mapping[str, Any]], Record],
    ) -> None:
        self._memory = memory
        self._ledger = ledger
        self._limits = limits
        self._now_ms = now_ms
        self._record = record

    def take(self, message: PublishOnce, defer: Callable[[], Reply[Publication]]) -> None:
        """Record a publication, or give the first answer again; what `defer` gives is answered once it is durable.

        Raises:
            EventRefused: the type is not ``x.…``, or JSON cannot hold the data exactly.
            PublicationConflict: the key was used for something else.
            TooManyPublications: one more could not be remembered.
            StoreUnavailable: too much is not durable yet.
        """
        ledger, memory = self._ledger, self._memory
        try:
            body = encode_json([message.type, message.data], self._limits.depth + 1, "body", in_order=True)
            fingerprint = hashlib.sha256(body).digest()
            now = max(self._now_ms(), ledger.last_at)
            before = memory.forget(now)
            known = memory.find(message.service, message.key, fingerprint)
            if known is None:
                if ledger.undurable_bytes > self._limits.undurable_bytes:
                    raise StoreUnavailable("too much is not durable yet")
                memory.check_room(message.service, now)
                record = self._record(message.type, message.data)
                known = Publication(message.service, message.key, fingerprint, record.at, "", record.seq, record.id)
                memory.remember(known)
                ledger.note_publication(known, before)
        except InvalidEvent as error:
            raise EventRefused(str(error)) from None
        self._answer(known, defer())

    def _answer(self, known: Publication, reply: Reply[Publication]) -> None:
        if known.epoch:
            reply.offer(known)
            return

        def settled(error: BaseException | None) -> None:
            # Also where it is a repetition that came while the first one was on its way to the disk.
            if error is not None:
                reply.offer_exception(error)
            else:
                reply.offer(self._memory.settle(known, self._ledger.log.epoch))

        self._ledger.when_durable(settled)
