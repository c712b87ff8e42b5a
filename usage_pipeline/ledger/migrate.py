"""The schema's versions: up, down, and the check that the code and the database fit together."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.server import connect_engine

_MIGRATION_LOCK = 0x75736167  # "usag": one migration at a time, whoever starts it


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _run(connection: Connection, step: str, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    try:
        config = _config()
        config.attributes["connection"] = connection
        getattr(command, step)(config, revision)
        connection.commit()
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` up to ``revision``. Idempotent; safe when two processes do it at once."""
    engine = connect_engine(url, application_name="usage-pipeline migrations")
    try:
        with engine.connect() as connection:
            _run(connection, "upgrade", revision)
    finally:
        engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Take the database at ``url`` down to ``revision`` (``base`` for an empty one)."""
    engine = connect_engine(url, application_name="usage-pipeline migrations")
    try:
        with engine.connect() as connection:
            _run(connection, "downgrade", revision)
    finally:
        engine.dispose()


def head_revision() -> str:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current_revision(engine: Engine) -> str | None:
    """The database's revision, None for a database without our tables."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def fit_schema(engine: Engine, *, embedded: bool, writes: bool) -> None:
    """Give the embedded database this code's schema, where somebody ``writes`` or it is empty; check any other.

    Raises ``schema_outdated``. A server of one's own is only migrated by ``usage-pipeline db upgrade``.
    """
    current = current_revision(engine)
    if embedded and current != head_revision() and (writes or current is None):
        try:
            upgrade(engine.url.render_as_string(hide_password=False))
        except CommandError:
            # A revision that this code does not know: a newer release made it. The check below says so.
            check_schema(engine)
            raise
    check_schema(engine)


def check_schema(engine: Engine) -> None:
    """Raise :class:`PermanentError` ``schema_outdated`` unless the database has exactly the schema of this code."""
    current, head = current_revision(engine), head_revision()
    if current != head:
        found = f"revision {current}" if current else "no tables of ours"
        raise PermanentError(
            "schema_outdated",
            f"the database has {found}, this code needs revision {head}",
            where="database",
            remedy="Run: usage-pipeline db upgrade (or deploy the code that fits).",
        )
