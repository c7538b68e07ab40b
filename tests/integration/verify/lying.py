"""A stream whose node's words are changed on their way out, as a node would say them that breaks a rule of the wire.

It stands between a board and the socket of one client, takes the server's frames apart and has a *lie* say what goes
out in their place. HTTP answers pass as they are.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import trio

__all__ = ["Frame", "Lie", "LyingStream", "close_frame"]

Frame = dict[str, Any]

TEXT, CLOSE = 0x81, 0x88


class Lie:
    """What is changed on one connection; by itself nothing. Subclasses change one thing each."""

    def __init__(self, board: dict[str, Any]) -> None:
        self.board = board
        """What the lies of one board share."""
        self.welcome: Frame = {}

    def say(self, frame: Frame) -> list[Frame | bytes]:
        """What goes out in place of a message: messages, or raw bytes."""
        return [frame]

    def close(self, code: int) -> int | None:
        """The code that goes out in place of this one; None for no close at all."""
        return code

    def hear(self, data: bytes) -> bytes | None:
        """What the node hears in place of what came, empty at the end; None if it hears nothing from then on."""
        return data


class MakeLie(Protocol):
    """Makes the lie of one connection."""

    def __call__(self, board: dict[str, Any]) -> Lie:
        """Make it, given what the lies of one board share."""


class LyingStream(trio.abc.Stream):
    """The stream of one connection."""

    def __init__(self, inner: trio.abc.Stream, lie: Lie) -> None:
        self._inner = inner
        self._lie = lie
        self._upgraded = False
        self._rest = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = self._lie.hear(bytes(await self._inner.receive_some(max_bytes)))
        if data is None:
            await trio.sleep_forever()
            raise AssertionError("unreachable")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(self._change(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _change(self, data: bytes) -> bytes:
        if not self._upgraded:
            if not data.startswith(b"HTTP/1.1 101"):
                return data
            self._upgraded = True
            head, _, self._rest = data.partition(b"\r\n\r\n")
            return head + b"\r\n\r\n" + self._frames()
        self._rest += data
        return self._frames()

    def _frames(self) -> bytes:
        out = b""
        while (size := _size(self._rest)) is not None and len(self._rest) >= size[0] + size[1]:
            start, length = size
            whole, payload = self._rest[: start + length], self._rest[start : start + length]
            self._rest = self._rest[start + length :]
            out += self._change_frame(whole, payload)
        return out

    def _change_frame(self, whole: bytes, payload: bytes) -> bytes:
        if whole[0] == CLOSE:
            code = self._lie.close(int.from_bytes(payload[:2], "big"))
            return b"" if code is None else close_frame(code)
        if whole[0] != TEXT:
            return whole
        frame = json.loads(payload)
        before = json.dumps(frame)
        if frame["t"] == "welcome":
            self._lie.welcome = frame
        said = self._lie.say(frame)
        if len(said) == 1 and isinstance(said[0], dict) and json.dumps(said[0]) == before:
            return whole  # nothing was changed, so it goes out as it is, byte for byte
        return b"".join(item if isinstance(item, bytes) else _text_frame(item) for item in said)


def close_frame(code: int) -> bytes:
    """A server's close."""
    return bytes((CLOSE, 2)) + code.to_bytes(2, "big")


def _text_frame(frame: Frame) -> bytes:
    payload = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) < 126:
        return bytes((TEXT, len(payload))) + payload
    if len(payload) < 65_536:
        return bytes((TEXT, 126)) + len(payload).to_bytes(2, "big") + payload
    return bytes((TEXT, 127)) + len(payload).to_bytes(8, "big") + payload


def _size(data: bytes) -> tuple[int, int] | None:
    """How long the first frame's head and payload are; None while that is not known."""
    if len(data) < 2:
        return None
    length = data[1]
    if length < 126:
        return 2, length
    more = 2 if length == 126 else 8
    return None if len(data) < 2 + more else (2 + more, int.from_bytes(data[2 : 2 + more], "big"))
