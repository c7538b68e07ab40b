"""The frames that the server writes, against an independent WebSocket implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from callboard.transport.protocol import frame_size, text_frame

# Around every change of the length's form (RFC 6455 section 5.2), and some between.
LENGTHS = [*range(131), 200, 1_000, 4_095, 65_534, 65_535, 65_536, 65_537, 70_000, 1_000_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_frame_is_what_wsproto_writes(length: int) -> None:
    """Byte for byte, for every form of the length."""
    text = "x" * length
    expected = FrameProtocol(client=False, extensions=[]).send_data(text, fin=True)
    assert text_frame(text.encode()) == expected
    assert frame_size(length) == len(expected)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), max_size=8))
def test_frames_in_a_row_are_read_as_the_messages_they_were(texts: list[str]) -> None:
    """One frame is one whole message, in order, whatever its characters."""
    reader = FrameProtocol(client=True, extensions=[])
    reader.receive_bytes(b"".join(text_frame(text.encode()) for text in texts))
    frames = list(reader.received_frames())
    assert [frame.payload for frame in frames] == texts
    assert all(frame.message_finished for frame in frames)


@given(st.lists(st.binary(max_size=70_000), max_size=4))
def test_parts_make_the_frame_of_the_whole(parts: list[bytes]) -> None:
    """Red if the length in front does not count all parts, or one is left out."""
    assert text_frame(*parts) == text_frame(b"".join(parts))
