"""What a node is called, and whose pages may connect to it."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import ConfigError
from .hosts import CONNECT, PublicUrl, check_origin, host_port, is_host, is_loopback

__all__ = ["Names"]


class Names:
    """The names of one node: those that it listens on, its public url, and the origins that were configured.

    Its own names are never those that a request gives it: a foreign name that is made to point here (DNS rebinding)
    is not the node's.

    Args:
        origins: further origins whose pages may connect.
        public_url: what the node is called from outside.

    Raises:
        ConfigError: an origin or the url is none.
    """

    def __init__(self, origins: Iterable[str], public_url: str | None) -> None:
        if isinstance(origins, str):
            raise ConfigError(f"origins is {origins!r:.200}; a list of origins is needed")
        self._public = PublicUrl.parse(public_url) if public_url is not None else None
        self._origins = set(origins)
        for origin in self._origins:
            check_origin(origin)
        self._hosts: set[str] = set()
        if self._public is not None:
            self._origins.add(self._public.origin)
            self._hosts.add(self._public.host)
        self._listens = ""

    def listens(self, host: str, port: int, *, secure: bool) -> None:
        """Note where the node listens, and whether by TLS."""
        self._listens = host_port(host, port)
        names = {host, "127.0.0.1", "localhost", "::1"} if is_loopback(host) else {host}
        scheme, usual = ("https", 443) if secure else ("http", 80)
        # A browser leaves the port out of origin and host where it is the scheme's own.
        hosts = {host_port(name, port) for name in names}
        hosts |= {spelled.removesuffix(f":{usual}") for spelled in hosts}
        self._hosts |= hosts
        self._origins |= {f"{scheme}://{spelled}" for spelled in hosts}

    def origin_allowed(self, origin: str | None) -> bool:
        """Whether a page of this origin may ask and connect; None is no page."""
        return origin is None or origin in self._origins

    def own_host(self, host: str) -> bool:
        """Whether a request that named this host meant this node."""
        return host in self._hosts

    def websocket_url(self, host: str, secure: bool) -> str:
        """Where a client connects to: the public url, or `host`, which it asked, as it has found the way there.

        It is told to that client only, so a host that is made up leads nobody else astray.
        """
        if self._public is not None:
            return self._public.websocket
        return f"{'wss' if secure else 'ws'}://{host if is_host(host) else self._listens}{CONNECT}"
