"""What can go wrong, as one kind of error with a stable code and an exit status.

In: nothing. Out: :class:`PluginError`, which ``cli`` prints in one line. No message holds a token, a header, an
answer's body or anything from a conversation.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of all commands."""

    OK = 0
    UNEXPECTED = 1
    CONFIGURATION = 2
    REFUSED = 3
    """The server refused for good: repeating changes nothing until somebody acts."""
    UNDELIVERED = 4
    """Not delivered this time; the usage is kept and goes with the next sync."""
    DATABASE = 5
    """state.db or the local ledger cannot be read."""
    BUSY = 6
    """Another sync of the same profile is running."""


class PluginError(Exception):
    """One line for a person: ``code``, what, and what to do. ``status`` is the command's exit status."""

    def __init__(self, code: str, what: str, remedy: str, status: Exit) -> None:
        super().__init__(f"{code}: {what}. {remedy}")
        self.code = code
        self.what = what
        self.remedy = remedy
        self.status = status
