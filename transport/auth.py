"""Who somebody is: bearer JSON Web Tokens, verified with joserfc.

Fails closed (law S12): a token is good only if its signature is right under an algorithm that was chosen here, it has a
user and an end, and it is in time. There is no fallback identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from .errors import ConfigError, TokenRefused

__all__ = ["Authenticator", "Identity"]

# RFC 7518 section 3.2: a key for HS256 has at least as many bits as the hash has.
MIN_KEY_BYTES = 32
# A user's name goes into logs and ids; the bound is that of `SessionKey`.
MAX_SUBJECT = 200
# No token of ours comes near; a header of megabytes is not worth decoding.
MAX_TOKEN_CHARS = 8_192


@attrs.frozen
class Identity:
    """A verified principal: its name, what it may do besides, and until when (Unix seconds)."""

    user: str
    scopes: frozenset[str]
    expires_at: float


class Authenticator:
    """Verifies tokens, and makes them where the node itself logs users in (`demo`, `token`).

    Args:
        key: the HS256 secret, 32 bytes at least.
        clock: Unix seconds.
    """

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ConfigError(f"the key has {len(key)} bytes; HS256 needs {MIN_KEY_BYTES} at least (RFC 7518)")
        self._key = OctKey.import_key(key)
        self._clock = clock

    def verify(self, token: str) -> Identity:
        """Who presents this token. Raises TokenRefused."""
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRefused(f"the token is longer than {MAX_TOKEN_CHARS} characters")
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError) as error:
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
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise TokenRefused("`scope` of the token has to be text, names separated by spaces")
        return Identity(user, frozenset(scope.split()), expires_at)

    def token(self, user: str, *, scope: str = "", lifetime_seconds: float = 86_400.0) -> str:
        """Make a token for a user, valid from now on for `lifetime_seconds`."""
        now = self._clock()
        claims: dict[str, object] = {"sub": user, "iat": int(now), "exp": int(now + lifetime_seconds)}
        if scope:
            claims["scope"] = scope
        return jwt.encode({"alg": "HS256"}, claims, self._key, algorithms=["HS256"])


def _seconds(claims: Mapping[str, object], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TokenRefused(f"the token needs `{name}` in Unix seconds")
    return float(value)
