"""`callboard forget`: erase a user from the journal of a node that is stopped."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from ...actors import JournalInUse, JournalRefused, forget_user
from .console import err, out

__all__ = ["run_forget"]


def run_forget(journal: Path | None, user: str) -> int:
    """Erase, and say what was erased; gives the exit code."""
    if journal is None:
        return _complain("a journal in memory is gone with its node; there is nothing to erase")
    try:
        sessions = forget_user(journal, user)
    except JournalInUse as error:
        return _complain(f"{error}. Stop that node first: it has this user's sessions in memory, and would go on")
    except JournalRefused as error:
        return _complain(str(error))
    if not sessions:
        return _complain(f"{journal} has no session of {user!r}")
    count = "1 session" if sessions == 1 else f"{sessions} sessions"
    out.print(
        f"[green]forgot[/] {count} of {escape(user)}: nothing of them is left in {escape(str(journal))}", soft_wrap=True
    )
    return 0


def _complain(text: str) -> int:
    err.print(f"[bold red]callboard:[/] {escape(text)}", soft_wrap=True)
    return 1
