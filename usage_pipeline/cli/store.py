"""The database of a command: taken up, its schema checked or brought up to date, and left again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from usage_pipeline.ledger.server import DatabaseServer


@contextmanager
def opened(environ: Mapping[str, str], *, writes: bool) -> Iterator[Engine]:
    """An engine on the database, with the schema of this code.

    The embedded database is brought up to date before a command that ``writes``, and set up by any command where it is
    empty. Raises ``schema_outdated`` for every other schema, and what taking up the server raises.
    """
    from usage_pipeline.ledger import migrate

    with connected(environ) as (database, engine):
        migrate.fit_schema(engine, embedded=database.embedded, writes=writes)
        yield engine


@contextmanager
def connected(environ: Mapping[str, str]) -> Iterator[tuple[DatabaseServer, Engine]]:
    """The server and an engine on it, whatever its schema. Raises what taking up the server raises."""
    from usage_pipeline.ledger import server

    with server.acquire(environ) as database:
        engine = server.connect_engine(database.url)
        try:
            yield database, engine
        finally:
            engine.dispose()
