"""Who somebody is: only a token with the right signature, a user and an end says so."""  # S12

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from callboard.transport import Authenticator, ConfigError, TokenRefused

KEY = bytes(range(32))
NOW = 1_700_000_000.0
GOOD: Mapping[str, Any] = {"sub": "ada", "exp": NOW + 60}


def authenticator(now: float = NOW) -> Authenticator:
    """One with our key."""
    return Authenticator(KEY, lambda: now)


def signed(claims: Any, *, key: bytes = KEY, alg: str = "HS256", **header: Any) -> str:
    """A token that is signed with a key, ours by default."""
    return jwt.encode({"alg": alg, **header}, dict(claims), OctKey.import_key(key), algorithms=[alg])


def raw(header: Any, claims: Any, signature: bytes = b"") -> str:
    """A token as somebody without the key would make it."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_good_token_says_who_and_until_when() -> None:
    """The user, the scopes, and the end in Unix seconds."""
    identity = authenticator().verify(signed({**GOOD, "scope": "operator  agent"}))
    assert (identity.user, identity.expires_at) == ("ada", NOW + 60)
    assert identity.scopes == {"operator", "agent"}


def test_what_the_node_makes_it_verifies() -> None:
    """`token` and `verify` agree, up to the end of the token and not a moment longer."""
    token = authenticator().token("grace", scope="operator", lifetime_seconds=100)
    assert authenticator().verify(token).user == "grace"
    assert authenticator(NOW + 99.9).verify(token).scopes == {"operator"}
    with pytest.raises(TokenRefused, match="expired"):
        authenticator(NOW + 100).verify(token)


REFUSED: list[tuple[str, str]] = [
    ("empty", ""),
    ("no token", "hello"),
    ("too few parts", "a.b"),
    ("too many parts", "a.b.c.d.e"),
    ("alg none", raw({"alg": "none"}, GOOD)),
    ("alg none, spelled otherwise", raw({"alg": "NoNe"}, GOOD)),
    ("alg none, with the signature of another token", raw({"alg": "none"}, GOOD, b"x" * 32)),
    ("no alg", raw({}, GOOD)),
    ("alg is a number", raw({"alg": 1}, GOOD)),
    ("alg is a list", raw({"alg": ["HS256"]}, GOOD)),
    ("header is a list", raw([1], GOOD)),
    ("header is null", raw(None, GOOD)),
    ("header nested deep", base64.urlsafe_b64encode(b"[" * 2_000).decode() + ".e30."),
    ("a critical extension", raw({"alg": "HS256", "crit": ["x"]}, GOOD)),
    ("HS512", signed(GOOD, alg="HS512", key=bytes(64))),
    ("HS512 with our key", signed(GOOD, alg="HS512")),
    ("another key", signed(GOOD, key=bytes(32))),
    ("no exp", signed({"sub": "ada"})),
    ("exp in words", signed({"sub": "ada", "exp": "tomorrow"})),
    ("exp true", signed({"sub": "ada", "exp": True})),
    ("exp endless", signed({"sub": "ada", "exp": 10**400})),
    ("exp Infinity", signed({"sub": "ada", "exp": float("inf")})),
    ("exp NaN", signed({"sub": "ada", "exp": float("nan")})),
    ("exp null", signed({"sub": "ada", "exp": None})),
    ("expired", signed({"sub": "ada", "exp": NOW})),
    ("not yet", signed({**GOOD, "nbf": NOW + 1})),
    ("no sub", signed({"exp": NOW + 60})),
    ("sub empty", signed({**GOOD, "sub": ""})),
    ("sub a number", signed({**GOOD, "sub": 7})),
    ("sub too long", signed({**GOOD, "sub": "x" * 201})),
    ("sub with a line break", signed({**GOOD, "sub": "ada\nroot"})),
    ("scope a list", signed({**GOOD, "scope": ["operator"]})),
    ("longer than any", "x" * 8_193),
    ("not ASCII", "é.é.é"),
]


@pytest.mark.parametrize("what, token", REFUSED, ids=[case[0] for case in REFUSED])
def test_a_bad_token_proves_nothing(what: str, token: str) -> None:
    """Each way to be wrong is refused, and the message repeats nothing of the token."""  # S12
    with pytest.raises(TokenRefused) as refused:
        authenticator().verify(token)
    assert len(token) < 10 or token not in str(refused.value)


def test_a_token_of_another_node_is_told_so() -> None:
    """The one mistake that everybody makes once is said in words, and not as the name of a class."""
    with pytest.raises(TokenRefused, match=r"^the token is not signed with a key of this node$"):
        authenticator().verify(signed(GOOD, key=bytes(32)))


def test_a_public_key_is_no_secret() -> None:
    """A token signed with RS256 is not verified with our secret, nor one signed with a public key's text."""
    key = RSAKey.generate_key(2048)
    token = jwt.encode({"alg": "RS256"}, dict(GOOD), key, algorithms=["RS256"])
    with pytest.raises(TokenRefused):
        authenticator().verify(token)


@given(st.data())
def test_a_token_that_was_changed_proves_nothing(data: st.DataObject) -> None:
    """Whichever character is another one: refused, and nothing else is raised."""  # S12
    token = signed(GOOD)
    index = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8"))
    changed = token[:index] + other + token[index + 1 :]
    decoded = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    try:
        same = [base64.urlsafe_b64decode(part + "==") for part in changed.split(".")] == decoded
    except ValueError:
        same = False
    if same:
        return  # the last character of a part has bits that say nothing
    with pytest.raises(TokenRefused):
        authenticator().verify(changed)


@given(st.text(max_size=200))
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    """Whatever is presented is refused."""
    with pytest.raises(TokenRefused):
        authenticator().verify(text)


def test_a_short_key_is_not_taken() -> None:
    """RFC 7518 section 3.2; the message says how many bytes there are and how many are needed."""
    with pytest.raises(ConfigError, match=r"31 bytes.* 32"):
        Authenticator(bytes(31), lambda: NOW)


def test_a_text_is_no_key() -> None:
    """Red if it is taken, and every token then refused for a reason that nobody understands."""
    with pytest.raises(ConfigError, match="the key is a text"):
        Authenticator("0" * 64, lambda: NOW)  # type: ignore[arg-type]


def test_tokens_of_a_user_who_was_shut_out() -> None:
    """Those from before, and those that do not say when they are from; newer ones and other users' are good."""  # S12
    clock = [NOW]
    own = Authenticator(KEY, lambda: clock[0])
    old, unborn = own.token("ada"), signed(GOOD)
    assert own.verify(unborn).user == "ada"
    clock[0] += 0.5
    own.refuse_tokens("ada")
    clock[0] += 0.25
    same_second = own.token("ada")
    for token in (old, unborn, same_second, signed({**GOOD, "iat": "soon"}), signed({**GOOD, "iat": NOW + 0.5})):
        with pytest.raises(TokenRefused):
            own.verify(token)
    assert own.verify(own.token("grace")).user == own.verify(signed({**GOOD, "sub": "grace"})).user == "grace"
    clock[0] = NOW + 1
    assert own.verify(own.token("ada")).user == "ada"


def test_beyond_the_bound_whoever_was_shut_out_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten of single users counts for all: some log in once more, nobody slips in."""  # S12, S13
    monkeypatch.setattr("callboard.transport.auth.MAX_REFUSED", 3)
    clock = [NOW]
    own = Authenticator(KEY, lambda: clock[0])
    users = [f"user{number}" for number in range(5)]
    tokens = {}
    for user in (*users, "other"):
        tokens[user] = own.token(user)
    for number, user in enumerate(users):
        clock[0] = NOW + 10 * (number + 1)
        own.refuse_tokens(user)
    assert len(own._refused) == 3
    for token in tokens.values():
        with pytest.raises(TokenRefused, match="revoked"):
            own.verify(token)
    clock[0] = NOW + 21
    assert own.verify(own.token("other")).user == "other"
    with pytest.raises(TokenRefused, match="revoked"):
        own.verify(own.token("user4"))
