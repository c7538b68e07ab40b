"""The one payload of all servers: a record as callboard sends it, in bytes the same for everybody.

callboard makes it anew for each event: checked, encoded, numbered. The others get the finished text and put a number
in, which flatters them; Socket.IO, whose API takes a map, encodes it.
"""

from __future__ import annotations

__all__ = ["TYPE", "pieces", "text_of"]

TYPE = "agent_delta"
# About what a model says at a time, with the name of the client in front, so that each client knows its own.
WORDS = "the quick brown fox jumps over"
# What stands in place of a run's id and a time, as long as the real ones.
RUN = "0123456789abcdef" * 2
AT = 1_767_225_600_000


def text_of(client: str) -> str:
    """What is said to one client, over and over."""
    return f"{client} {WORDS}"


def pieces(path: str) -> tuple[str, str, str]:
    """The record of the client that connects at ``/NAME``, as text to be joined by its number."""
    return (
        '{"seq":',
        f',"at":{AT},"id":"{RUN}/',
        f'","type":"{TYPE}","run":"{RUN}","data":{{"text":"{text_of(path.rpartition("/")[2])}"}}}}',
    )
