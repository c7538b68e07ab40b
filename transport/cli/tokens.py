"""Where the client commands get their tokens: a command that prints one, or the development key."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from ..auth import Authenticator
from ..errors import ConfigError
from .console import clock

__all__ = ["token_source"]

# A command that asks a login service; one that takes longer hangs.
TOKEN_COMMAND_SECONDS = 30


def token_source(command: str | None, key: Callable[[], bytes]) -> Callable[[str], str]:
    """What gives a token for a user.

    Args:
        command: a shell-like command line in which ``{user}`` stands for the user; its output is the token.
        key: gives the development key, asked for only if there is no command.

    Raises:
        ConfigError: when asked for a token: the command fails, or prints none.
    """
    if command is None:
        authenticator = Authenticator(key(), clock)
        return authenticator.token
    words = shlex.split(command)
    if not words:
        raise ConfigError("--token-command is empty; it has to print a JWT for {user}")

    def run(user: str) -> str:
        line = [word.replace("{user}", user) for word in words]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, timeout=TOKEN_COMMAND_SECONDS, check=False, cwd=Path.cwd()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"--token-command {line[0]!r} did not run: {error}") from None
        token = done.stdout.strip()
        if done.returncode != 0 or not token:
            raise ConfigError(f"--token-command {line[0]!r} ended with {done.returncode} and printed no token")
        return token

    return run
