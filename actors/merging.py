"""Pieces of an answer, joined for a connection that lags: fewer records that say the same. No I/O.

What an `agent_delta` means is that its text follows the one before it, so a stretch of them, of one run and side by
side in the log, may be said as one record. That has `"seq": [a, b]`, the texts one after the other, and everything else
of the last one: it stands where record b stands, as if the pieces before had come with it. Nothing else merges: not
what changes how far a run has come, not an author's `x.*`, and no delta that carries more than its text.

Texts are joined as they are encoded. JSON text is escaped character by character, so what is encoded apart is, side by
side, the encoding of the whole; `emit` refuses half a character (a lone surrogate).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .events import Record

__all__ = ["merge_deltas"]

# How a record's JSON (`Record.of`) goes on where its data begins with a text. Not to be found inside of a string, where
# quotes are escaped, and so the record's own data where it is first found: what stands before it is no map.
_DATA = b',"data":{"text":"'
_END = b'"}}'
# The inside of one JSON string. Where there is more in the data than a text, the text's own quote ends it early.
_inside = re.compile(rb'(?:[^"\\]|\\.)*+')


def merge_deltas(records: Sequence[Record], told: Collection[int] = ()) -> list[bytes]:
    """Records as a connection sends them, each stretch of deltas that may be merged as one.

    Args:
        records: in order.
        told: positions that no stretch goes across: it may end at one of them, or begin behind it.
    """
    encoded: list[bytes] = []
    texts: list[bytes] = []
    last: Record | None = None
    for record in records:
        text = _text(record)
        if last is not None:
            if text is not None and texts and _follows(last, record) and last.seq not in told:
                texts.append(text)
                last = record
                continue
            encoded.append(_joined(last, texts))
        last, texts = record, [] if text is None else [text]
    if last is not None:
        encoded.append(_joined(last, texts))
    return encoded


def _follows(last: Record, record: Record) -> bool:
    return record.run == last.run and record.seq == last.seq + 1


def _text(record: Record) -> bytes | None:
    """The text of a delta that has nothing else to say, as it is encoded."""
    if record.type != "agent_delta" or record.run is None:
        return None
    encoded = record.encoded
    begin, end = encoded.find(_DATA) + len(_DATA), len(encoded) - len(_END)
    if begin < len(_DATA) or _inside.fullmatch(encoded, begin, end) is None:
        return None
    return encoded[begin:end]


def _joined(last: Record, texts: Sequence[bytes]) -> bytes:
    encoded = last.encoded
    if len(texts) < 2:
        return encoded
    rest = encoded[encoded.index(b",") : encoded.index(_DATA) + len(_DATA)]
    return b'{"seq":[%d,%d]%b%b%b' % (last.seq - len(texts) + 1, last.seq, rest, b"".join(texts), _END)
