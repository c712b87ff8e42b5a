"""The errors that a person reads: what was wrong, where, and what to do, with a stable code.

Every error that leaves the domain on purpose is a :class:`UsagePipelineError`. The faces (CLI, Dagster, service)
print ``str(error)``, one line, never a traceback. No message may hold a secret, a header or a response body.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The CLI's exit codes: ``FAILURE`` is the world's fault or ours, ``USAGE`` is the input's."""

    OK = 0
    FAILURE = 1
    USAGE = 2


class UsagePipelineError(Exception):
    """A failure with a stable ``code``.

    ``what`` says what was wrong, ``where`` names the place (a key's slug, a file, an endpoint and day), ``remedy``
    says what to do. The three become one line.
    """

    exit_code = ExitCode.FAILURE

    def __init__(self, code: str, what: str, *, where: str = "", remedy: str = "") -> None:
        self.code = code
        self.what = " ".join(what.split())
        self.where = " ".join(where.split())
        self.remedy = " ".join(remedy.split())
        super().__init__(self.line())

    def line(self) -> str:
        """The error as one line: ``[code] where: what. remedy``."""
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}" if self.remedy else ""
        end = "" if self.what.endswith((".", "!", "?")) else "."
        return f"[{self.code}] {place}{self.what}{end}{advice}"


class InvalidInputError(UsagePipelineError):
    """The caller's input was refused before anything was written."""

    exit_code = ExitCode.USAGE


class TransientError(UsagePipelineError):
    """Trying again later may succeed: rate limits, server errors, timeouts, a store that is down."""


class PermanentError(UsagePipelineError):
    """Trying again gives the same answer until a person changes something: 401, 403, a broken contract."""


class InvariantError(UsagePipelineError):
    """An invariant of the ledger or of reconciliation would not hold; nothing was published."""
