"""The command line. One file for each command that does something, and what they share.

General layout, bottom up: `console` is standard output, standard error and the log, `terminal` and `editor` a line
that is typed while others are printed, `story` and `top_view` what is shown of a session and of a node; `apps` finds
the platform's app, `tokens` what tokens come from; `serve`, `demo`, `attach`, `tickets`, `top`, `verify`, `simulate`
and `forget` are the commands; `main` has their options and their help.
"""

from .main import main

__all__ = ["main"]
