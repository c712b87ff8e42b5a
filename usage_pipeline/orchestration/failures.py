"""Errors of a stage as Dagster's failures: one readable line, retried only where trying again may help.

Dagster keeps what an exception says for ever, so nothing of an unexpected error's text goes into it: only its type and
where it came from.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
from sqlalchemy.exc import InterfaceError, OperationalError

from usage_pipeline.errors import TransientError, UsagePipelineError


@contextmanager
def readable_failures(*, retry: bool = True) -> Iterator[None]:
    """Turn whatever a stage raises into a :class:`dagster.Failure` of one line, without a cause.

    ``retry`` False: not even what may pass by itself is tried again.
    """
    try:
        yield
    except dg.Failure:
        raise
    except UsagePipelineError as error:
        failure = _failure(error.line(), retry=retry and isinstance(error, TransientError))
    # COPY goes past SQLAlchemy, so the driver's own errors come as they are.
    except (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError) as error:
        kind = type(getattr(error, "orig", error)).__name__
        failure = _failure(f"[database_failed] database: it broke off ({kind}). Look at the server's log.", retry=retry)
    except Exception as error:  # noqa: BLE001  whatever it is, its text must not be kept
        where = " < ".join(
            f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(error.__traceback__)[-6:])
        )
        failure = _failure(
            f"[internal_error] usage-pipeline: an unexpected {type(error).__name__}, at {where}.", retry=False
        )
    else:
        return
    raise failure from None


def _failure(line: str, *, retry: bool) -> dg.Failure:
    return dg.Failure(description=line, metadata={"error": line}, allow_retries=retry)
