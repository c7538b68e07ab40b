"""Which addresses a client goes to, and how they are spelled. Knows no sockets."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

import attrs

from ..hosts import host_port

__all__ = ["Target", "check_node_url", "target", "ticket_target"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@attrs.frozen
class Target:
    """Where something is asked for: `host` as the system knows it (IPv6 without brackets), `path` with its query."""

    host: str
    port: int
    secure: bool
    path: str

    @property
    def host_header(self) -> str:
        """Host and port as the request names them: as in a browser, without the port that goes without saying."""
        usual = DEFAULT_PORTS["https" if self.secure else "http"]
        spelled = host_port(self.host, self.port)
        return spelled.removesuffix(f":{usual}") if self.port == usual else spelled


def check_node_url(url: str) -> str:
    """The address of a node, its scheme in small letters, without a slash at its end.

    Raises:
        ValueError: it is no ``http(s)://host[:port][/prefix]``.
    """
    parts, _ = _split(url, ("http", "https"))
    if parts.query or parts.fragment:
        raise ValueError(f"{_shown(url)}; a query or a fragment is nothing that a node has")
    return f"{parts.scheme}{url[len(parts.scheme) :].rstrip('/')}"


def target(url: str) -> Target:
    """Where a WebSocket's URL leads.

    Raises:
        ValueError: it is no ``ws(s)://host[:port][/path][?query]``.
    """
    parts, port = _split(url, ("ws", "wss"))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname or "", port, parts.scheme == "wss", path)


def ticket_target(url: str) -> Target:
    """Where a node gives its tickets.

    Raises:
        ValueError: the url is no node's.
    """
    parts, port = _split(check_node_url(url), ("http", "https"))
    return Target(parts.hostname or "", port, parts.scheme == "https", f"{parts.path}/v1/tickets")


def agents_url(url: str) -> str:
    """The WebSocket of workers at a node.

    Raises:
        ValueError: the url is no node's.
    """
    parts, _ = _split(check_node_url(url), ("http", "https"))
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path}/v1/agents"


def _split(url: str, schemes: tuple[str, str]) -> tuple[SplitResult, int]:
    # What cannot be printed would get into a request's head, or onto a terminal; `urlsplit` passes over some of it.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{_shown(url)}; it may have printable ASCII characters only")
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ValueError(f"{_shown(url)}: {error}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{_shown(url)}; it has to be {schemes[0]}://HOST or {schemes[1]}://HOST")
    if "@" in parts.netloc:
        raise ValueError("url has a user name in it; who connects is said by the token")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"{_shown(url)}; {parts.hostname!r:.100} is no name of a host") from None
    return parts, port


def _shown(url: str) -> str:
    return f"url is {url!r:.200}"
