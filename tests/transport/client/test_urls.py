"""Which addresses a client goes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.client.urls import Target, check_node_url, target


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://127.0.0.1:8765//", "http://127.0.0.1:8765"),
        ("HTTPS://Example.org/prefix/", "https://Example.org/prefix"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_the_address_of_a_node(url: str, expected: str) -> None:
    """A prefix is kept, a slash at the end is not."""
    assert check_node_url(url) == expected


@pytest.mark.parametrize(
    "url, expected, host_header",
    [
        ("ws://h/v1/connect", Target("h", 80, False, "/v1/connect"), "h"),
        ("wss://h", Target("h", 443, True, "/"), "h"),
        ("ws://[::1]", Target("::1", 80, False, "/"), "[::1]"),
        ("ws://[::80]", Target("::80", 80, False, "/"), "[::80]"),
        ("ws://h:443", Target("h", 443, False, "/"), "h:443"),
        ("WSS://h:1/?a=b&c", Target("h", 1, True, "/?a=b&c"), "h:1"),
        ("ws://[2001:db8::1]:9/x#y", Target("2001:db8::1", 9, False, "/x"), "[2001:db8::1]:9"),
    ],
)
def test_where_a_websocket_is(url: str, expected: Target, host_header: str) -> None:
    """Port by the scheme; a query belongs to the path; IPv6 has brackets in the header only."""
    assert target(url) == expected
    assert target(url).host_header == host_header


WRONG = [
    "",
    "example.org",
    "ftp://example.org",
    "http:example.org",
    "http://",
    "http:///path",
    "http://:80",
    "http://h:65536",
    "http://h:x",
    "http://[::1",
    "http://h\r\nx: y",
    "http://h/ x",
    "http://hö",
    "http://a..b",
    "http://" + "a" * 64,
    "http://ada:secret@h",
]


@pytest.mark.parametrize("url", [*WRONG, "http://h?q", "http://h#f", "ws://h"])
def test_what_is_no_nodes_address(url: str) -> None:
    """Is refused, and what may be a password is not repeated."""
    with pytest.raises(ValueError, match="url") as refused:
        check_node_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", [*(url.replace("http", "ws", 1) for url in WRONG), "http://h", "file:///etc/passwd"])
def test_what_is_no_websockets_address(url: str) -> None:
    """A node that names it gets no further."""
    with pytest.raises(ValueError, match="url"):
        target(url)


@given(st.text() | st.from_regex(r"wss?://[^ ]{0,30}"))
def test_whatever_is_named_is_taken_or_refused(url: str) -> None:
    """And what is taken can stand in a request's head."""
    try:
        found = target(url)
    except ValueError:
        return
    assert found.path.isascii()
    assert found.path.isprintable()
    assert 0 <= found.port < 65_536
    assert not set(found.host) & set(" /@\r\n")
