"""A line that is typed, key by key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.cli.editor import LineEditor

LEFT, RIGHT, DELETE, HOME, END = b"\x1b[D", b"\x1b[C", b"\x1b[3~", b"\x1b[H", b"\x1b[F"

KEYS: list[tuple[bytes, str, int]] = [
    (b"hello", "hello", 5),
    (b"hell\x7f\x7fp", "hep", 3),
    (b"\x7f\x08", "", 0),
    (b"ac" + LEFT + b"b", "abc", 2),
    (b"ab" + LEFT * 5 + b"x" + RIGHT * 9 + b"y", "xaby", 4),
    (b"abc" + HOME + DELETE + END + b"d", "bcd", 3),
    (b"abc" + LEFT + b"\x04", "abc", 2),
    (b"one two  \x17", "one ", 4),
    (b"one\x17", "", 0),
    (b"one two" + LEFT * 3 + b"\x15", "two", 0),
    (b"a\x01b\x05c", "bac", 3),
    (b"a\tb", "a b", 3),
    (b"a\x1b[1;5Cb\x1bOPc\x1bxd", "abcd", 4),
    ("grüß 🙂".encode(), "grüß 🙂", 6),
    (b"a\x00\x03b", "ab", 2),
]


@pytest.mark.parametrize("keys, text, cursor", KEYS, ids=[repr(case[0])[2:-1] for case in KEYS])
def test_what_keys_do(keys: bytes, text: str, cursor: int) -> None:
    """At once, and byte by byte."""
    for pieces in ([keys], [keys[index : index + 1] for index in range(len(keys))]):
        editor = LineEditor()
        for piece in pieces:
            assert editor.feed(piece) == []
        assert (editor.text, editor.cursor, editor.ended) == (text, cursor, False)


def test_lines_are_given_when_they_are_finished() -> None:
    """Several at once when they were pasted."""
    editor = LineEditor()
    assert editor.feed(b"one\ntwo\rthr") == ["one", "two"]
    assert editor.feed(b"ee\n") == ["three"]
    assert editor.text == ""


def test_ctrl_d_ends_on_an_empty_line_only() -> None:
    """Elsewhere it does nothing; so does the end of the terminal anywhere."""
    editor = LineEditor()
    editor.feed(b"x\x04")
    assert not editor.ended
    assert editor.feed(b"\x7f\x04ignored\n") == []
    assert editor.ended
    gone = LineEditor()
    gone.feed(b"x")
    gone.feed(b"")
    assert gone.ended


@given(st.lists(st.binary(max_size=12)))
def test_whatever_is_typed_can_be_shown(pieces: list[bytes]) -> None:
    """The cursor stays in the text, and no control gets into it."""
    editor = LineEditor()
    for piece in pieces:
        lines = editor.feed(piece + b" ")
        assert 0 <= editor.cursor <= len(editor.text)
        assert all(character.isprintable() for line in [*lines, editor.text] for character in line)
