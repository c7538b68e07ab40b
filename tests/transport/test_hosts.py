"""Names, addresses and origins."""

from __future__ import annotations

import pytest

from callboard.transport import ConfigError
from callboard.transport.hosts import check_origin, host_port, is_host, is_loopback


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
