"""The schema's versions: up, down, and the check that the code and the database fit together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.backup.aside import refuse_cut_off_restore
from usage_pipeline.ledger.server import connect_engine

_MIGRATION_LOCK = 0x75736167  # "usag": one migration at a time, whoever starts it
_DROPPED_TABLES = re.compile(r"^DROP TABLE ([^;]+);", re.MULTILINE)
_DROPPED_COLUMN = re.compile(r"^ALTER TABLE (\w+) DROP COLUMN (\w+);", re.MULTILINE)
_WORD = re.compile(r"\w+")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _run(connection: Connection, step: str, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    try:
        refuse_cut_off_restore(connection)
        config = _config()
        config.attributes["connection"] = connection
        getattr(command, step)(config, revision)
        connection.commit()
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` up to ``revision``. Idempotent; safe when two processes do it at once.

    Raises :class:`PermanentError` ``restore_cut_off``."""
    engine = connect_engine(url, application_name="usage-pipeline migrations")
    try:
        with engine.connect() as connection:
            _run(connection, "upgrade", revision)
    finally:
        engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Take the database at ``url`` down to ``revision`` (``base`` for an empty one).

    Raises :class:`PermanentError` ``restore_cut_off``."""
    engine = connect_engine(url, application_name="usage-pipeline migrations")
    try:
        with engine.connect() as connection:
            _run(connection, "downgrade", revision)
    finally:
        engine.dispose()


@cache
def head_revision() -> str:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def known_revisions() -> tuple[str, ...]:
    """Every revision that this code knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def current_revision(engine: Engine) -> str | None:
    """The database's revision, None for a database without our tables."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows that a downgrade would delete: those of a table, or the values of one of its columns."""

    table: str
    column: str | None
    rows: int

    @property
    def in_words(self) -> str:
        """For a person."""
        if self.column is None:
            return f"{self.rows:,} rows of {self.table}"
        return f"{self.rows:,} values of {self.table}.{self.column}"


def lost_by_downgrade(engine: Engine, revision: str) -> tuple[Lost, ...]:
    """What going down to ``revision`` would delete for good, as the steps' own SQL says; nothing is changed.

    Rows that a step deletes because they are derived are not told. Raises ``CommandError`` where there is no such way.
    """
    current = current_revision(engine)
    if current is None:
        return ()
    scripts = ScriptDirectory.from_config(_config())
    steps = list(scripts.iterate_revisions(current, revision, implicit_base=True))
    if revision != "base" and scripts.get_revision(revision).revision == current:
        return ()
    written = [Path(step.path).with_suffix(".down.sql").read_text(encoding="utf-8") for step in steps]
    places = [
        (name, None) for sql in written for listed in _DROPPED_TABLES.findall(sql) for name in _WORD.findall(listed)
    ]
    tables = {name for name, _ in places}
    columns = [(table, column) for sql in written for table, column in _DROPPED_COLUMN.findall(sql)]
    places += [one for one in columns if one[0] not in tables]
    lost = []
    with engine.begin() as connection:
        for table, column in places:
            condition = f'WHERE "{column}" IS NOT NULL' if column else ""
            rows = int(connection.execute(text(f'SELECT count(*) FROM "{table}" {condition}')).scalar_one())
            if rows:
                lost.append(Lost(table, column, rows))
    return tuple(lost)


def fit_schema(engine: Engine, *, embedded: bool, writes: bool) -> None:
    """Give the embedded database this code's schema, where somebody ``writes`` or it is empty; check any other.

    Raises ``schema_outdated``, ``restore_cut_off``. A server of one's own is only migrated by
    ``usage-pipeline db upgrade``.
    """
    with engine.connect() as connection:
        refuse_cut_off_restore(connection)
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
