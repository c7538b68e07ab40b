"""Forwarded headers: believed from listed proxies only, from the right end, and refused where they are malformed."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport import ConfigError, Problem
from callboard.transport.forwarded import Caller, TrustedProxies
from callboard.transport.hosts import address_of

PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"
PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::7"])


def caller(**headers: str) -> Caller:
    """Who asks by a proxy; the names of headers have underscores here."""
    return PROXIES.caller(PROXY, False, {name.replace("_", "-"): value for name, value in headers.items()})


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
garbage = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80)


@given(addresses, st.booleans(), garbage, garbage, garbage)
def test_whoever_is_no_listed_proxy_changes_nothing(peer: str, secure: bool, one: str, two: str, three: str) -> None:
    """Its address and scheme are those of its connection, whatever it sends, and nothing of it is even read."""  # S12
    if not PROXIES.trusts(peer):
        headers = {"forwarded": one, "x-forwarded-for": two, "x-forwarded-proto": three}
        assert PROXIES.caller(peer, secure, headers) == Caller(peer, secure)


@given(garbage | st.text('=";,\\ \tfor', max_size=20), addresses, st.sampled_from(["http", "https"]))
def test_what_a_client_wrote_in_front_of_its_proxy_counts_for_nothing(made_up: str, address: str, proto: str) -> None:
    """A listed proxy appends to whatever came: the client is the one that it names, or is refused."""  # S12
    if PROXIES.trusts(address):
        return
    quoted = f'"[{address}]"' if ":" in address else address
    address = str(address_of(address))
    by_list = caller(x_forwarded_for=f"{made_up}, {address}", x_forwarded_proto=proto)
    assert by_list == Caller(address, proto == "https")
    with suppress(Problem):
        assert caller(forwarded=f"{made_up}, for={quoted};proto={proto}") == by_list


@given(st.lists(addresses, min_size=1, max_size=6))
def test_both_headers_are_walked_from_the_right(chain: list[str]) -> None:
    """Past listed proxies to the first address that is none, as in a naive model; both headers say the same."""
    expected = PROXY
    for address in reversed(chain):
        expected = str(getattr(ipaddress.ip_address(address), "ipv4_mapped", None) or address)
        if not PROXIES.trusts(address):
            break
    quoted = ",".join(f'for="[{address}]"' if ":" in address else f"For={address}" for address in chain)
    assert caller(x_forwarded_for=",".join(chain)) == Caller(expected, False)
    assert caller(forwarded=quoted) == Caller(expected, False)
    assert caller(forwarded=quoted, x_forwarded_for=" , ".join(chain)) == Caller(expected, False)


SAID: list[tuple[dict[str, str], Caller]] = [
    ({}, Caller(PROXY, False)),
    ({"x_forwarded_proto": "https"}, Caller(PROXY, True)),
    ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "WSS"}, Caller(CLIENT, True)),
    ({"x_forwarded_for": f"{CLIENT}:4711"}, Caller(CLIENT, False)),
    ({"x_forwarded_for": "[2001:db8::1]:4711"}, Caller("2001:db8::1", False)),
    ({"x_forwarded_for": "2001:db8::1"}, Caller("2001:db8::1", False)),
    ({"x_forwarded_for": f"::ffff:{CLIENT}"}, Caller(CLIENT, False)),
    ({"x_forwarded_for": f"1.1.1.1,{CLIENT},10.9.9.9,fd00::7"}, Caller(CLIENT, False)),
    ({"x_forwarded_for": "10.9.9.9, 10.8.8.8"}, Caller("10.9.9.9", False)),
    ({"x_forwarded_for": "unknown"}, Caller(PROXY, False)),
    ({"x_forwarded_for": f"{CLIENT}, unknown, 10.9.9.9"}, Caller("10.9.9.9", False)),
    ({"forwarded": f"for={CLIENT};proto=https;by=10.0.0.1;host=evil.example"}, Caller(CLIENT, True)),
    ({"forwarded": f'For="{CLIENT}:80" ; Proto=http'}, Caller(CLIENT, False)),
    ({"forwarded": 'for="[2001:db8::1]:80";proto="https"'}, Caller("2001:db8::1", True)),
    ({"forwarded": f"for={CLIENT};proto=https, for=10.1.1.1;proto=http"}, Caller(CLIENT, True)),
    ({"forwarded": "for=_hidden;proto=https"}, Caller(PROXY, True)),
    ({"forwarded": f"for={CLIENT}, for=unknown, for=10.9.9.9"}, Caller("10.9.9.9", False)),
    ({"forwarded": f"for={CLIENT}, proto=https"}, Caller(PROXY, True)),
    ({"forwarded": ""}, Caller(PROXY, False)),
    ({"forwarded": f'ext="a,b;c\\"d";for={CLIENT}'}, Caller(CLIENT, False)),
    (
        {"forwarded": f"for={CLIENT};proto=https", "x_forwarded_for": CLIENT, "x_forwarded_proto": "https"},
        Caller(CLIENT, True),
    ),
]


@pytest.mark.parametrize("headers, expected", SAID, ids=[str(case[0]) for case in SAID])
def test_what_a_listed_proxy_says(headers: dict[str, str], expected: Caller) -> None:
    """With ports, brackets, quotation marks and hidden names, as RFC 7239 has them; `host` is not believed."""
    assert caller(**headers) == expected


MALFORMED: list[dict[str, str]] = [
    {"x_forwarded_for": "nonsense"},
    {"x_forwarded_for": "1.2.3"},
    {"x_forwarded_for": f"{CLIENT}:port"},
    {"x_forwarded_for": f"{CLIENT}, nonsense, 10.9.9.9"},
    {"x_forwarded_for": "fe80::1%eth0"},
    {"x_forwarded_for": "[2001:db8::1"},
    {"x_forwarded_for": "01.2.3.4"},
    {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https, http"},
    {"x_forwarded_for": CLIENT, "x_forwarded_proto": ""},
    {"x_forwarded_proto": "gopher"},
    {"forwarded": CLIENT},
    {"forwarded": f"for= {CLIENT}"},
    {"forwarded": f"for={CLIENT}:80"},
    {"forwarded": "for=[2001:db8::1]"},
    {"forwarded": f'for="{CLIENT}'},
    {"forwarded": f'for=", for={CLIENT}'},
    {"forwarded": f"for={CLIENT};for=10.0.0.1"},
    {"forwarded": f"for={CLIENT};FOR=10.0.0.1"},
    {"forwarded": f"for={CLIENT};proto=gopher"},
    {"forwarded": f"for={CLIENT} proto=https"},
    {"forwarded": "for=nonsense"},
    {"forwarded": 'for=""'},
    # Of two that disagree one is not the proxy's.
    {"forwarded": "for=1.1.1.1", "x_forwarded_for": CLIENT},
    {"forwarded": f"for={CLIENT};proto=http", "x_forwarded_for": CLIENT, "x_forwarded_proto": "https"},
]


@pytest.mark.parametrize("headers", MALFORMED, ids=str)
def test_what_is_malformed_is_refused(headers: dict[str, str]) -> None:
    """400, and no guess: one side of a guess is an attacker's."""  # S12
    with pytest.raises(Problem) as problem:
        caller(**headers)
    assert problem.value.status == 400
    assert "trusted proxy" in problem.value.detail
    assert PROXIES.caller(CLIENT, False, headers) == Caller(CLIENT, False)


@given(st.text(st.sampled_from('for="=;, \\t\\\\[]:_protohttps10.2'), max_size=60))
def test_any_text_is_read_in_one_go(text: str) -> None:
    """As somebody's address, or as a problem; never as a traceback."""
    for name in ("forwarded", "x_forwarded_for"):
        with suppress(Problem):
            assert address_of(caller(**{name: text}).address) is not None


def test_a_long_header_takes_no_longer_than_its_length() -> None:
    """What a head can hold of the worst is read in a moment."""
    for text in ("a=b;" * 5_000, '"' * 16_000, 'for="' + "\\" * 16_000, " " * 16_000, "," * 16_000, "a" * 16_000):
        for name in ("forwarded", "x_forwarded_for"):
            with suppress(Problem):
                caller(**{name: text})


@pytest.mark.parametrize(
    "network", ["", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*", "0.0.0.0/0", "::/0", "10.0.0.0/8 "]
)
def test_what_can_be_no_listed_proxy(network: str) -> None:
    """A name may come to mean another address, and everybody is nobody."""  # S12
    with pytest.raises(ConfigError, match="trusted proxy is"):
        TrustedProxies([network])


def test_who_is_listed() -> None:
    """By address; IPv4 that comes as IPv6 is IPv4."""
    assert all(PROXIES.trusts(address) for address in ("10.255.0.1", "::ffff:10.1.2.3", "fd00::7"))
    assert not any(PROXIES.trusts(address) for address in ("11.0.0.1", "fd00::8", "-", "", "localhost"))
    assert not TrustedProxies().trusts("127.0.0.1")
