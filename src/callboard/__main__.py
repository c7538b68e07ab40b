"""``python -m callboard``: the command line."""

from .transport.cli import main

if __name__ == "__main__":
    main(prog_name="callboard")
