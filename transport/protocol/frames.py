"""The WebSocket frames that the server writes: whole text messages, unmasked (RFC 6455 section 5.2).

A server's frame is not masked, so the same bytes go to any number of connections. Reading frames, control
frames and the handshake are the WebSocket library's; this file knows nothing of what the text says.
"""

from __future__ import annotations

__all__ = ["frame_size", "text_frame"]

# FIN set, no extension, opcode 1: a whole text message in one frame.
_FIN_TEXT = b"\x81"
# Payload lengths up to 125 stand in the second byte; 126 and 127 there announce 16 and 64 bits of length.
_MAX_SHORT = 125
_MAX_16_BIT = 0xFFFF


def text_frame(*parts: bytes) -> bytes:
    """Return the frame that carries `parts` (together valid UTF-8, which is not checked) as one text message."""
    length = sum(map(len, parts))
    if length <= _MAX_SHORT:
        header = length.to_bytes(1, "big")
    elif length <= _MAX_16_BIT:
        header = b"\x7e" + length.to_bytes(2, "big")
    else:
        header = b"\x7f" + length.to_bytes(8, "big")
    return b"".join((_FIN_TEXT, header, *parts))


def frame_size(payload_len: int) -> int:
    """Return the bytes that `text_frame` makes of a payload of `payload_len` bytes."""
    if payload_len <= _MAX_SHORT:
        return payload_len + 2
    return payload_len + (4 if payload_len <= _MAX_16_BIT else 10)
