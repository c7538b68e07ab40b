"""Where the client commands get their tokens: a command that prints one, or the development key."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..auth import Authenticator
from ..errors import ConfigError
from .console import clock
from .story import clean

__all__ = ["TokenOf", "token_source"]

# A command that asks a login service; one that takes longer hangs.
TOKEN_COMMAND_SECONDS = 30


class TokenOf(Protocol):
    """Gives a token for a user, with a scope if one is needed."""

    def __call__(self, user: str, *, scope: str = "") -> str:
        """The token."""


def token_source(command: str | None, key: Callable[[], bytes]) -> TokenOf:
    """What gives a token for a user.

    Args:
        command: a shell-like command line in which ``{user}`` stands for the user and ``{scope}`` for the scope; its
            output is the token.
        key: gives the development key, asked for only if there is no command.

    Raises:
        ConfigError: the command cannot be read; or, when asked for a token, it fails or prints none.
    """
    if command is None:
        authenticator = Authenticator(key(), clock)

        def sign(user: str, *, scope: str = "") -> str:
            return authenticator.token(user, scope=scope)

        return sign
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--token-command is {command!r:.200}, which no shell would take: {error}") from None
    if not words:
        raise ConfigError("--token-command is empty; it has to print a JWT for {user}")

    def run(user: str, *, scope: str = "") -> str:
        line = [word.replace("{user}", user).replace("{scope}", scope) for word in words]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, timeout=TOKEN_COMMAND_SECONDS, check=False, cwd=Path.cwd()
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"--token-command {line[0]!r} took more than {TOKEN_COMMAND_SECONDS} seconds") from None
        except (OSError, ValueError) as error:
            # ValueError: a NUL in the user's name, or an output that is no text.
            raise ConfigError(f"--token-command {line[0]!r} did not run: {error}") from None
        token = done.stdout.strip()
        if done.returncode == 0 and token and not any(character.isspace() for character in token):
            return token
        said = done.stderr.strip().splitlines()
        what = "ended" if done.returncode else "printed no single token and ended"
        raise ConfigError(
            f"--token-command {line[0]!r} {what} with {done.returncode}{f': {clean(said[-1]):.200}' if said else ''}"
        )

    return run
