"""Names, addresses and origins."""

from __future__ import annotations

import pytest

from callboard.transport import ConfigError
from callboard.transport.hosts import (
    PublicUrl,
    address_block,
    address_of,
    check_origin,
    host_port,
    is_host,
    is_loopback,
)


def test_what_is_this_machine_only() -> None:
    """By address; a name that looks like one is not."""  # S12
    for host in ("localhost", "127.0.0.1", "127.3.2.1", "::1"):
        assert is_loopback(host), host
    for host in ("0.0.0.0", "::", "10.0.0.1", "127.example.org", "localhost.example.org", "", "1.0.0.127"):
        assert not is_loopback(host), host


def test_host_and_port() -> None:
    """As in a URL."""
    assert host_port("127.0.0.1", 80) == "127.0.0.1:80"
    assert host_port("::1", 80) == "[::1]:80"


@pytest.mark.parametrize("text", ["a", "a.b-c_d:1", "127.0.0.1:65535", "[::1]", "[::1]:80"])
def test_what_can_be_a_host(text: str) -> None:
    """With or without a port."""
    assert is_host(text)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a:b", "a:123456", "u@h", "[x]", "::1", "a\n", "é"])
def test_what_cannot_be_a_host(text: str) -> None:
    """None of it is put into a URL."""
    assert not is_host(text)


@pytest.mark.parametrize("origin", ["http://localhost:1", "https://app.example.org", "http://[::1]:80"])
def test_an_origin(origin: str) -> None:
    """As a browser sends it."""
    check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "*",
        "app.example.org",
        "https://",
        "https://x/",
        "https://x/y",
        "ws://x",
        "https://X",
        "http://[",
        "http://*",
    ],
)
def test_what_no_browser_would_send(origin: str) -> None:
    """It would never match, so it is a mistake, and the message shows it."""
    with pytest.raises(ConfigError, match="scheme://host"):
        check_origin(origin)


def test_what_counts_as_one_address() -> None:
    """IPv4 also where it comes as IPv6; of IPv6 the first 64 bits, as who has one has all of those."""  # S13
    assert address_block("192.0.2.7") == address_block("::ffff:192.0.2.7") == "192.0.2.7"
    assert address_block("2001:db8:1:2:3:4:5:6") == address_block("2001:DB8:1:2::") == "2001:db8:1:2::/64"
    assert address_block("2001:db8:1:3::") != address_block("2001:db8:1:2::")
    assert address_block("fe80::1%eth0") == address_block("fe80::2") == "fe80::/64"
    for text in ("-", "", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::g"):
        assert address_block(text) == ""
        assert address_of(text) is None


@pytest.mark.parametrize(
    "url, origin, host, websocket",
    [
        ("https://node.example", "https://node.example", "node.example", "wss://node.example/v1/connect"),
        ("https://Node.Example/", "https://node.example", "node.example", "wss://node.example/v1/connect"),
        ("https://node.example:443", "https://node.example", "node.example", "wss://node.example/v1/connect"),
        ("http://node.example:80", "http://node.example", "node.example", "ws://node.example/v1/connect"),
        ("https://n:80", "https://n:80", "n:80", "wss://n:80/v1/connect"),
        ("http://[::1]:9", "http://[::1]:9", "[::1]:9", "ws://[::1]:9/v1/connect"),
        ("https://n/Chat/v2/", "https://n", "n", "wss://n/Chat/v2/v1/connect"),
    ],
)
def test_a_public_url(url: str, origin: str, host: str, websocket: str) -> None:
    """As a browser spells it: small letters, without the port that goes without saying; a prefix is the proxy's."""
    assert PublicUrl.parse(url) == PublicUrl(origin, host, websocket)


@pytest.mark.parametrize(
    "url",
    ["", "node.example", "wss://n", "https://", "https://u@n", "https://n?x", "https://n#x", "https://n:99999"],
)
def test_what_is_no_public_url(url: str) -> None:
    """It goes into tickets and is compared with origins, so it is read strictly."""
    with pytest.raises(ConfigError, match="public url"):
        PublicUrl.parse(url)


@pytest.mark.parametrize("rest", ["/a b", "//", "/../x?", "\n", "é", ",https://m", "/%2e", "/a//b", "\\x"])
def test_what_does_not_follow_a_public_host(rest: str) -> None:
    """A prefix is plain names and slashes."""
    with pytest.raises(ConfigError, match="public url"):
        PublicUrl.parse(f"https://node.example{rest}")
