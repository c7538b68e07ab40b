"""Who asks, where a proxy asks for somebody else: forwarded headers, believed from listed proxies only.

Whatever a client writes into `Forwarded` (RFC 7239) or `X-Forwarded-For` arrives in front of what its proxy appends. So
the list is read from its right end: each listed proxy is believed about the one before it, and the first address that
is not a listed proxy's is the client. What stands left of it was written by that client, and counts for nothing. A peer
that is no listed proxy is the client itself, whatever it sends: else anybody could take another address with every
connection, and pass by the limits of an address.

What is malformed is refused with 400 as soon as it matters, never repaired: one side of a guess is an attacker's. The
whole of `Forwarded` has to be sound, as a quotation mark that is not closed would swallow what the proxy appended; and
where both kinds of header come and disagree, one of them is not the proxy's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from .errors import ConfigError, Problem
from .hosts import Address, address_of

__all__ = ["Caller", "TrustedProxies"]

# RFC 9110 section 5.6: a token, a quoted string.
PAIR = re.compile(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\\x00-\x1f]|\\.)*)")""")
SEPARATOR = re.compile(r"[ \t]*(?:([;,])[ \t]*|$)")
# An address as proxies write it: RFC 7239 section 6 with a port or without, and IPv6 with brackets or without.
NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
# RFC 7239 sections 6.2 and 6.3: a proxy that does not know, or does not tell.
HIDDEN = re.compile(r"unknown|_[0-9A-Za-z._-]+(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?", re.IGNORECASE)
# Traefik, for one, names the scheme of an upgrade by its WebSocket name.
SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}


@attrs.frozen
class Caller:
    """Who asks: the address, ``-`` if there is none, and whether by TLS, as far as that is known."""

    address: str
    secure: bool


@attrs.frozen
class _Hop:
    """What one proxy says of whoever asked it: a node as it is written, and by which scheme."""

    node: str
    proto: str | None = None


class TrustedProxies:
    """The proxies that are believed.

    Args:
        networks: addresses and networks, such as ``10.0.0.7`` and ``fd00::/8``.

    Raises:
        ConfigError: one is no address or network, or is all that there are.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        if isinstance(networks, str):
            raise ConfigError(f"trusted proxies are {networks!r:.200}; a list of addresses and networks is needed")
        self._networks = [_network(text) for text in networks]

    def trusts(self, address: str) -> bool:
        """Whether what comes from this address is believed."""
        if not self._networks:
            return False  # as on most nodes, so that no address has to be read there
        found = address_of(address)
        return found is not None and self._listed(found)

    def caller(self, peer: str, secure: bool, headers: Mapping[str, str]) -> Caller:
        """Who asks by a connection from `peer`, with these headers. Raises Problem."""
        if not self.trusts(peer):
            return Caller(peer, secure)
        callers = []
        if "forwarded" in headers:
            callers.append(self._walk(peer, secure, _forwarded(headers["forwarded"])))
        if "x-forwarded-for" in headers or "x-forwarded-proto" in headers:
            if "x-forwarded-proto" in headers:
                secure = _secure(headers["x-forwarded-proto"])
            callers.append(
                self._walk(peer, secure, [_Hop(node) for node in _elements(headers.get("x-forwarded-for", ""))])
            )
        if any(other != callers[0] for other in callers):
            raise _refused("Forwarded and X-Forwarded-* disagree: the proxy has to remove the one that it does not set")
        return callers[0] if callers else Caller(peer, secure)

    def _walk(self, peer: str, secure: bool, hops: Sequence[_Hop]) -> Caller:
        caller = Caller(peer, secure)
        for hop in reversed(hops):
            secure_there = secure if hop.proto is None else _secure(hop.proto)
            if HIDDEN.fullmatch(hop.node):
                return Caller(caller.address, secure_there)  # it asks for the account of the proxy that hides it
            address = _node(hop.node)
            caller = Caller(str(address), secure_there)
            if not self._listed(address):
                break
        return caller

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"trusted proxy is {text!r:.80}; it has to be an address or a network: {error}") from None
    if network.prefixlen == 0:
        raise ConfigError(f"trusted proxy is {text!r}, which is everybody: any client could take any address")
    return network


def _node(text: str) -> Address:
    match = NODE.fullmatch(text)
    address = address_of(next(filter(None, match.groups()))) if match is not None else None
    if address is None:
        raise _refused(f"{text!r:.60} is no address")
    return address


def _secure(proto: str) -> bool:
    secure = SCHEMES.get(proto.lower())
    if secure is None:
        raise _refused(f"the scheme {proto!r:.60} is none of {', '.join(SCHEMES)}")
    return secure


def _elements(text: str) -> list[str]:
    return [part for part in (part.strip(" \t") for part in text.split(",")) if part]


def _forwarded(text: str) -> list[_Hop]:
    """The elements of `Forwarded`, RFC 7239 section 4. Raises Problem if any of it is malformed."""
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    position = 0
    while True:
        pair = PAIR.match(text, position)
        if pair is not None:
            name, token, quoted = pair[1].lower(), pair[2], pair[3]
            if name in pairs:
                raise _refused(f"Forwarded has {name!r:.60} twice in one element")
            pairs[name] = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            position = pair.end()
        separator = SEPARATOR.match(text, position)
        if separator is None:
            raise _refused("Forwarded is malformed")
        position = separator.end()
        if separator[1] == ";":
            continue
        if pairs:
            hops.append(_Hop(pairs.get("for", "unknown"), pairs.get("proto")))
        pairs = {}
        if separator[1] is None:
            return hops


def _refused(detail: str) -> Problem:
    return Problem(400, "Bad request", f"a trusted proxy sent this: {detail}")
