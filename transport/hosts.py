"""Names and addresses of nodes, and the origins of pages: how they are spelled, and which are this machine's alone."""

from __future__ import annotations

import ipaddress
import re

from .errors import ConfigError

__all__ = ["check_origin", "host_port", "is_host", "is_loopback"]

# A name or address with its port, as the header Host has it.
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


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
