"""Every failure of a command as one line on standard error and an exit code: never a traceback, never a secret."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import typer

from usage_pipeline.errors import ExitCode, InvalidInputError, TransientError, UsagePipelineError

DEBUG_VARIABLE: Final = "USAGE_DEBUG"
_PROGRAM: Final = "usage-pipeline"
_EXTRA_ARGUMENTS: Final = "Got unexpected extra argument"


@dataclass(frozen=True, slots=True)
class Failure:
    """What is printed (one line, and maybe the traceback that a person asked for) and the process's exit code."""

    line: str
    exit_code: int
    traceback: str = ""


def describe(error: Exception, environ: Mapping[str, str]) -> Failure:
    """The failure that an exception means to the person at the command line."""
    if isinstance(error, UsagePipelineError):
        return _of_ours(error)
    if isinstance(error, typer.TyperException):
        return _of_ours(_usage_error(error))
    if isinstance(error, typer.Abort):
        return Failure(f"error: [aborted] {_PROGRAM}: stopped before the end.", ExitCode.FAILURE)
    database = _database_error(error)
    if database is not None:
        return _of_ours(database)
    debug = bool(environ.get(DEBUG_VARIABLE, "").strip())
    # Only the type: an unexpected error's text may hold anything, a secret included.
    unexpected = UsagePipelineError(
        "internal_error",
        f"an unexpected {type(error).__name__}, a fault of this program",
        where=_PROGRAM,
        remedy="" if debug else f"Run it again with {DEBUG_VARIABLE}=1 to see where.",
    )
    return Failure(
        f"error: {unexpected}", ExitCode.FAILURE, "".join(traceback.format_exception(error)) if debug else ""
    )


def _of_ours(error: UsagePipelineError) -> Failure:
    return Failure(f"error: {error.line()}", error.exit_code)


def _usage_error(error: typer.TyperException) -> InvalidInputError:
    """A wrong option, command or argument, as one line; ``ctx`` is there where the parser got that far."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else _PROGRAM
    what = error.format_message()
    if what.startswith(_EXTRA_ARGUMENTS):
        # It may be a secret, given as an argument where none is taken.
        what = "got an argument that it does not take (not shown, it may be a secret)"
    return InvalidInputError("usage", what, where=command, remedy=f"See: {command} --help.")


def _database_error(error: Exception) -> UsagePipelineError | None:
    """What the database's driver raised and nobody foresaw: a timeout, a full disk, a connection that broke."""
    module = sys.modules.get("sqlalchemy.exc")
    if module is None or not isinstance(error, (module.OperationalError, module.InterfaceError)):
        return None
    return TransientError(
        "database_failed",
        f"the database broke off ({type(error.orig).__name__}); what was not committed is not written",
        where="database",
        remedy="Look at the server's log, then run the command again.",
    )
