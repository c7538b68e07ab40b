"""Where lines come from and go to, with files in place of a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console

from callboard.transport.cli.story import Line
from callboard.transport.cli.terminal import LineReader, PlainScreen


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file's descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def read_all(descriptor: int) -> list[str]:
    """All lines, to the end."""
    reader, lines = LineReader(descriptor), []
    while not reader.ended:
        lines += await reader.read()
    return lines


async def test_a_plain_file_is_read_too(tmp_path: Path) -> None:
    """The kernel has nothing to wait for there; a line without its end is a line, and letters are not torn."""
    path = tmp_path / "typed"
    path.write_bytes(("ä" * 5_000 + "\n\nlast ü").encode() + b"\xff")
    with opened(path) as descriptor:
        assert await read_all(descriptor) == ["ä" * 5_000, "", "last ü\ufffd"]
    with opened(Path(os.devnull)) as descriptor:
        assert await read_all(descriptor) == []


async def test_a_pipe_is_read_to_its_end() -> None:
    """Line by line, as they come."""
    ours, theirs = os.pipe()
    os.write(theirs, b"one\ntwo")
    reader = LineReader(ours)
    assert await reader.read() == ["one"]
    os.write(theirs, b"!\n")
    os.close(theirs)
    assert await reader.read() == ["two!"]
    assert await reader.read() == []
    assert reader.ended
    os.close(ours)


def test_what_is_not_a_terminal_gets_plain_lines() -> None:
    """However long; what is being written has to wait for its end."""
    out, err = StringIO(), StringIO()
    screen = PlainScreen(Console(file=out, width=20), Console(file=err, width=20))
    screen.show([Line("you", "[b]x[/b] :smile: " * 4, "bold"), Line("", "")], [Line("agent", "not yet")])
    assert out.getvalue() == "you      " + ("[b]x[/b] :smile: " * 4).rstrip() + "\n\n"
    screen.status("")
    screen.status("no \x1b[31mconnection")
    screen.status("")
    screen.status("")
    assert err.getvalue() == "callboard: no ␛[31mconnection\ncallboard: connected again\n"
