"""Calls of the cron endpoint, one after the other, and the process that executes what the last one started.

Both are advisory locks of PostgreSQL, so that they hold across processes and hosts and end with whoever held them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, text

_CALL: Final = 0x63726F6E  # "cron"
_EXECUTION: Final = 0x63726578  # "crex"


def lock_calls(connection: Connection) -> None:
    """Let calls pass one by one until the caller's transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CALL})


def is_executing(connection: Connection) -> bool:
    """Whether a process executes runs that a call started."""
    taken = connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _EXECUTION})
    return not taken.scalar_one()


@contextmanager
def executing(engine: Engine) -> Iterator[bool]:
    """Be the process that executes for as long as the block lasts; False where another one is."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield bool(connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _EXECUTION}).scalar_one())
    finally:
        connection.invalidate()  # not back into the pool, where the lock would outlive the block
        connection.close()
