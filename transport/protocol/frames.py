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


def text_frame(payload: bytes) -> bytes:
    """Return the frame that carries `payload` (valid UTF-8, which is not checked) as one text message."""
    length = len(payload)
    if length <= _MAX_SHORT:
        return _FIN_TEXT + length.to_bytes(1, "big") + payload
    if length <= _MAX_16_BIT:
        return _FIN_TEXT + b"\x7e" + length.to_bytes(2, "big") + payload
    return _FIN_TEXT + b"\x7f" + length.to_bytes(8, "big") + payload


def frame_size(payload_len: int) -> int:
    """Return the bytes that `text_frame` makes of a payload of `payload_len` bytes."""
    if payload_len <= _MAX_SHORT:
        return payload_len + 2
    return payload_len + (4 if payload_len <= _MAX_16_BIT else 10)
