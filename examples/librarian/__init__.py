"""An agent that answers questions about Python, from the documentation that is installed beside it.

Run it with ``callboard serve --dev --app callboard.examples.librarian:board``, or with its page by ``callboard demo``.

General layout, bottom up; each file knows only those above it:

    parsing, conditions       a file's syntax tree; what its `if`s come to on this machine
    reading, walking          what a file defines; what an import of it would bind
    scan, builtin             which sources there are; what is written in C
    names, entries, index     what a name means; what is public and where it stands; all of it, by name
    pages, opening            what the tools give; one definition, as its file is now
    words, bm25, search       terms and their kin; scoring; which modules fit plain words
    tools                     `search`, `open`, `source`: real work on the files, JSON results
    wording, plan             what a question says; what to do about it, with the conversation in mind
    markdown, answers         the parts of answers; pages become Markdown
    agent                     the shell: makes the plan, calls the tools, streams the answer
"""

from __future__ import annotations

from callboard import App

from .agent import Librarian, Library

__all__ = ["Librarian", "Library", "board"]

board = App(agents={"librarian": Librarian}, default_agent="librarian")
