"""The errors of the outside: HTTP, tokens and configuration.

::

    Exception
    ├── Problem            the peer: a request that gets an `application/problem+json` answer
    ├── TokenRefused       the peer: a bearer token that proves nothing
    ├── ConfigError        the operator: a setting with a value that is not allowed
    └── OSError
        └── ListenError    the world: the address is taken, or not ours
"""

from __future__ import annotations

__all__ = ["ConfigError", "ListenError", "Problem", "TokenRefused", "words_of"]


class Problem(Exception):
    """An HTTP error answer, RFC 9457: `status`, a short `title`, and what exactly was wrong in `detail`."""

    def __init__(self, status: int, title: str, detail: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers


class TokenRefused(Exception):
    """A bearer token proves nothing; the message says what is wrong with it, and repeats nothing of it."""


class ListenError(OSError):
    """An address cannot be listened on; `strerror` names it and says why."""


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the message names both."""


def words_of(error: BaseException) -> str:
    """What an error says, or the first of its causes that says something: httpx leaves the words of TLS to those."""
    said: BaseException | None = error
    while said is not None:
        if str(said):
            return str(said)
        said = said.__cause__ or said.__context__
    return type(error).__name__
