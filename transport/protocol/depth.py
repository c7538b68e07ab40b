"""How deep a JSON text is nested, found without parsing it and without recursion.

A parser that recurses must not be handed a text of unknown depth. Most frames hold fewer brackets than the
bound allows levels, which two counts show; only the others are looked at closely.

Knows nothing of messages.
"""

from __future__ import annotations

__all__ = ["nested_deeper_than"]

_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def nested_deeper_than(text: bytes, max_depth: int) -> bool:
    """Say whether maps and lists of the JSON `text` are nested more than `max_depth` deep.

    A scalar has depth 0, `[]` has 1. Exact for well-formed JSON; a malformed text may give either answer,
    but costs no more. Time is linear in the text for a given `max_depth`, and spent in C.
    """
    if text.count(b"[") + text.count(b"{") <= max_depth:
        return False
    # Without escaped backslashes, then without escaped quotes, every quote left opens or closes a string,
    # so the even pieces are what stands outside of strings. (A pattern would do too, but an unterminated
    # string full of quotes makes a search quadratic.)
    outside = b"".join(text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    brackets = outside.translate(_TO_SQUARE, _NO_BRACKET)
    # Each round takes away all innermost pairs and so exactly one level.
    for _ in range(max_depth):
        if not brackets:
            return False
        peeled = brackets.replace(b"[]", b"")
        if len(peeled) == len(brackets):
            return True  # brackets without a pair: malformed, and further rounds would change nothing
        brackets = peeled
    return bool(brackets)
