"""Names and addresses of nodes, and the origins of pages: how they are spelled, and which are this machine's alone."""

from __future__ import annotations

import functools
import ipaddress
import re

import attrs

from .errors import ConfigError

__all__ = [
    "AGENTS",
    "CONNECT",
    "Address",
    "PublicUrl",
    "address_block",
    "address_of",
    "check_origin",
    "host_port",
    "is_host",
    "is_loopback",
]

# Where WebSockets are opened.
CONNECT = "/v1/connect"
AGENTS = "/v1/agents"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A name or address with its port, as the header Host has it.
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
# What a proxy puts in front of the node's own paths.
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def address_of(text: str) -> Address | None:
    """The address that is spelled so, None if it is none. IPv4 in IPv6 is IPv4, and a zone is left out."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@functools.lru_cache(maxsize=4_096)  # an address is asked for twice a connection, and most have several
def address_block(text: str) -> str:
    """What counts as one address, empty if it is none: IPv6 by its first 64 bits, all of which a household has."""
    address = address_of(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return "" if address is None else str(address)


def host_port(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_host(text: str) -> bool:
    """Whether this can be a host, with or without a port."""
    return HOST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether whoever listens there is reached from this machine only.

    By the address: any other name than ``localhost`` may come to mean another address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_origin(origin: str) -> None:
    """Raise ConfigError for what no browser would send as its `Origin`."""
    scheme, separator, host = origin.partition("://")
    if scheme not in ("http", "https") or not separator or not is_host(host) or origin != origin.lower():
        raise ConfigError(f"origin is {origin!r:.200}; an origin is scheme://host or scheme://host:port, no more")


@attrs.frozen
class PublicUrl:
    """What a node is called from outside.

    Attributes:
        origin: what a browser calls a page of it.
        host: what requests name in `Host`.
        websocket: where its WebSockets are.
    """

    origin: str
    host: str
    websocket: str

    @classmethod
    def parse(cls, text: str) -> PublicUrl:
        """Read ``http(s)://host[:port][/prefix]``. Raises ConfigError."""
        scheme, separator, rest = text.lower().partition("://")
        host = rest.partition("/")[0]
        prefix = text[len(scheme) + len(separator) + len(host) :]
        port = host.rpartition(":")[2]
        sound = is_host(host) and not (port.isdigit() and int(port) > 65_535) and PREFIX.fullmatch(prefix)
        if scheme not in ("http", "https") or not sound:
            raise ConfigError(
                f"public url is {text!r:.200}; it has to be http(s)://HOST, with a port or path if need be"
            )
        # A browser leaves out the port that goes without saying.
        host = host.removesuffix(":443" if scheme == "https" else ":80")
        websocket = f"{'wss' if scheme == 'https' else 'ws'}://{host}{prefix.rstrip('/')}{CONNECT}"
        return cls(f"{scheme}://{host}", host, websocket)
