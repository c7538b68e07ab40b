"""Finding the platform's `App` by the name that the command line gives."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ...actors import App
from ..errors import ConfigError

__all__ = ["load_app"]


def load_app(name: str) -> App:
    """Import ``MODULE:NAME``, looking in the current folder first.

    Raises:
        ConfigError: the name has another form, or there is no such module, or no `App` of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"--app is {name!r}; it has the form MODULE:NAME, as callboard.examples.librarian:board")
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the platform's own code misses is the platform's error, and is shown whole.
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise ConfigError(f"--app is {name!r}, and there is no module {error.name!r} in {here} or installed") from None
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        found = ", ".join(key for key, value in vars(module).items() if isinstance(value, App)) or "none"
        raise ConfigError(f"{attribute!r} of {module_name} is {app!r:.60}, no callboard.App; apps there: {found}")
    return app
