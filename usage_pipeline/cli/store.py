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
    empty. A command that writes also notes in the audit log if the environment's settings changed; malformed ones
    are for the commands that use them to refuse. Raises ``schema_outdated`` for every other schema, and what taking up
    the server raises.
    """
    from usage_pipeline.ledger import migrate

    with connected(environ) as (database, engine):
        migrate.fit_schema(engine, embedded=database.embedded, writes=writes)
        if writes:
            _record_settings(environ, engine)
        yield engine


def _record_settings(environ: Mapping[str, str], engine: Engine) -> None:
    from usage_pipeline.clock import now
    from usage_pipeline.errors import InvalidInputError
    from usage_pipeline.ledger.settings_log import record_settings
    from usage_pipeline.settings import Settings

    try:
        settings = Settings.from_environment(environ)
    except InvalidInputError:
        return
    with engine.begin() as connection:
        record_settings(connection, settings, now(environ))


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
