"""Who somebody is: bearer JSON Web Tokens, verified with joserfc.

Fails closed (law S12): a token is good only if its signature is right under an algorithm that was chosen here, it has a
user and an end, and it is in time. There is no fallback identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import attrs
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, GuestProtocol, OctKey, RSAKey

from .errors import ConfigError, TokenRefused
from .keys import KeyRing, KeySource, secret_ring

__all__ = ["Authenticator", "Identity"]

# A user's name goes into logs and ids; the bound is that of `SessionKey`.
MAX_SUBJECT = 200
# No token of ours comes near; a header of megabytes is not worth decoding.
MAX_TOKEN_CHARS = 8_192
MAX_SECONDS = 2**40
# Users whose older tokens are refused, remembered one by one; some 3 MB at most.
MAX_REFUSED = 10_000


@attrs.frozen
class Identity:
    """A verified principal: its name, what it may do besides, and until when (Unix seconds).

    `sessions` are the ids of the sessions that a service may speak in; None where its token names none: in all.
    """

    user: str
    scopes: frozenset[str]
    expires_at: float
    sessions: frozenset[str] | None = None


class Authenticator:
    """Verifies tokens, and makes them where the node itself logs users in (`demo`, `token`).

    Args:
        keys: the HS256 secret, 32 bytes at least, or where keys come from.
        clock: Unix seconds.
    """

    def __init__(self, keys: bytes | KeySource, clock: Callable[[], float]) -> None:
        if isinstance(keys, str):
            raise ConfigError("the key is a text; an HS256 secret is bytes, as `bytes.fromhex` gives them")
        self._keys: KeySource = _Secret(secret_ring(keys)) if isinstance(keys, bytes) else keys
        self._clock = clock
        self._refused: dict[str, float] = {}
        self._all_refused_until = -math.inf

    def refuse_tokens(self, user: str) -> None:
        """Refuse from now on the tokens of a user that were issued until now, and those that do not say when (`iat`).

        A moment is kept for each of `MAX_REFUSED` users, in memory. Beyond that many the oldest moment counts for all
        users: some have to log in again who need not, but nobody gets in again who was shut out.
        """
        self._refused.pop(user, None)
        self._refused[user] = self._clock()
        if len(self._refused) > MAX_REFUSED:
            oldest = self._refused.pop(next(iter(self._refused)))
            self._all_refused_until = max(self._all_refused_until, oldest)

    def verify(self, token: str) -> Identity:
        """Who presents this token. Raises TokenRefused."""
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRefused(f"the token is longer than {MAX_TOKEN_CHARS} characters")
        try:
            ring = self._keys.ring()
            claims = jwt.decode(token, lambda guest: _choose(ring, guest), algorithms=ring.algorithms).claims
        except BadSignatureError:
            raise TokenRefused("the token is not signed with a key of this node") from None
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # The library assumes parts of the right shape; who presents a token may have written anything.
            raise TokenRefused(f"the token is not valid: {type(error).__name__}") from None
        now = self._clock()
        expires_at, not_before = _seconds(claims, "exp", None), _seconds(claims, "nbf", 0)
        if now >= expires_at:
            raise TokenRefused("the token has expired")
        if now < not_before:
            raise TokenRefused("the token is not valid yet")
        user = claims.get("sub")
        if not isinstance(user, str) or not 1 <= len(user) <= MAX_SUBJECT or not user.isprintable():
            raise TokenRefused(f"`sub` of the token has to be 1 to {MAX_SUBJECT} printable characters")
        refused_until = max(self._refused.get(user, -math.inf), self._all_refused_until)
        if refused_until > -math.inf and _seconds(claims, "iat", None) <= refused_until:
            raise TokenRefused("the token was revoked; log in again")
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise TokenRefused("`scope` of the token has to be text, names separated by spaces")
        return Identity(user, frozenset(scope.split()), expires_at, _sessions(claims))

    def token(
        self,
        user: str,
        *,
        scope: str = "",
        lifetime_seconds: float = 86_400.0,
        sessions: Collection[str] | None = None,
    ) -> str:
        """Make a token for a user or service, valid from now on for `lifetime_seconds`.

        A service with `sessions` may speak in these only, by their ids.

        Raises:
            ConfigError: there are only public keys, with which nothing can be signed.
        """
        secret = self._keys.ring().secret()
        if secret is None:
            raise ConfigError("this node has public keys only: it verifies tokens, and cannot make them")
        now = self._clock()
        claims: dict[str, object] = {"sub": user, "iat": int(now), "exp": int(now + lifetime_seconds)}
        if scope:
            claims["scope"] = scope
        if sessions is not None:
            claims["sessions"] = list(sessions)
        return jwt.encode({"alg": "HS256"}, claims, secret, algorithms=["HS256"])


@attrs.frozen
class _Secret:
    """A key source that never changes."""

    _ring: KeyRing

    def ring(self) -> KeyRing:
        return self._ring


def _choose(ring: KeyRing, guest: GuestProtocol) -> OctKey | RSAKey | ECKey:
    headers = guest.headers()
    return ring.find(headers.get("alg"), headers.get("kid"))


def _sessions(claims: Mapping[str, object]) -> frozenset[str] | None:
    if "sessions" not in claims:
        return None
    named = claims["sessions"]
    # A limit that is not understood must not become none at all.
    if not isinstance(named, list) or not all(isinstance(id, str) for id in named):
        raise TokenRefused("`sessions` of the token has to be a list of session ids")
    return frozenset(named)


def _seconds(claims: Mapping[str, object], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    # Beyond this no clock will come; what is no number, or a larger one, would make arithmetic fail, or never end.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_SECONDS:
        raise TokenRefused(f"the token needs `{name}` in Unix seconds")
    return float(value)
