"""Restoring a backup: into an empty database, or in the place of what is there, which stands until all is verified.

What is there is set aside as a schema of its own, and is put back if anything fails. Nobody else may be connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, text

from usage_pipeline.errors import InvalidInputError, InvariantError
from usage_pipeline.ledger.backup.file import BackupReader
from usage_pipeline.ledger.backup.manifest import Manifest, TableContent, table_contents
from usage_pipeline.ledger.backup.programs import find_program, running
from usage_pipeline.ledger.migrate import head_revision, known_revisions

ASIDE: Final = "usage_before_restore"
"""The schema in which what was there waits until the restored tables are verified."""


def check_restorable(manifest: Manifest, where: str) -> None:
    """Raises :class:`InvalidInputError` ``backup_newer`` for a schema that this release does not know."""
    if manifest.revision not in known_revisions():
        raise InvalidInputError(
            "backup_newer",
            f"it has the schema {manifest.revision}, this release knows them up to {head_revision()}",
            where=where,
            remedy="Restore it with the release that made it, or a newer one.",
        )


def holds_rows(engine: Engine) -> bool:
    """Whether any table has a row (the schema's revision aside), or an earlier restore was cut off."""
    with engine.begin() as connection:
        if _schema_exists(connection, ASIDE):
            return True
        names = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
        ).scalars()
        return any(
            connection.execute(text(f'SELECT EXISTS (SELECT 1 FROM public."{name}")')).scalar_one()
            for name in names.all()
        )


def restore_backup(engine: Engine, database: str, backup: BackupReader, *, replace: bool) -> None:
    """Make the database's tables those of the backup, at the backup's own schema; the caller then upgrades.

    Without ``replace`` the database must have no rows. Raises :class:`InvalidInputError` ``backup_newer``,
    ``backup_damaged``, ``database_not_empty``, ``database_in_use``, ``server_older_than_backup``;
    :class:`PermanentError` ``backup_tools_missing``, ``backup_tool_failed``; :class:`InvariantError`
    ``restore_differs``. The database is then as it was.
    """
    manifest = backup.manifest
    check_restorable(manifest, str(backup.path))
    if not replace and holds_rows(engine):
        raise InvalidInputError(
            "database_not_empty",
            "the database has rows, which would be lost",
            where="database",
            remedy="Name an empty database (USAGE_DATABASE_URL or USAGE_HOME), or give --replace.",
        )
    with engine.begin() as connection:
        server_major = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000
        _refuse_others(connection)
    if server_major < manifest.server_major:
        raise InvalidInputError(
            "server_older_than_backup",
            f"this server is PostgreSQL {server_major}, the backup is of {manifest.server_major}",
            where=str(backup.path),
            remedy=f"Restore it on PostgreSQL {manifest.server_major} or newer.",
        )
    program = find_program("pg_restore", server_major, at_least=manifest.tool_major)
    backup.check()
    with _set_aside(engine):
        arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--schema=public"]
        with running(program, arguments, database, reads=True) as taking:
            for chunk in backup.chunks():
                taking.write(chunk)
        with engine.begin() as connection:
            _verify(table_contents(connection), manifest, str(backup.path))


def _refuse_others(connection: Connection) -> None:
    others = connection.execute(
        text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    ).scalar_one()
    if others:
        raise InvalidInputError(
            "database_in_use",
            f"{others} other sessions are connected",
            where="database",
            remedy="Stop usage-pipeline serve and Dagster (dagster dev, the daemon), then run it again.",
        )


@contextmanager
def _set_aside(engine: Engine) -> Iterator[None]:
    """The schema ``public`` empty for the block; what it held is dropped when the block ends well, else put back."""
    with engine.begin() as connection:
        if _schema_exists(connection, ASIDE):
            # A restore was cut off: what stood before it still waits.
            connection.execute(text("DROP SCHEMA public CASCADE"))
        else:
            connection.execute(text(f"ALTER SCHEMA public RENAME TO {ASIDE}"))
        connection.execute(text("CREATE SCHEMA public AUTHORIZATION pg_database_owner"))
    done = False
    try:
        yield
        done = True
    finally:
        with engine.begin() as connection:
            if done:
                connection.execute(text(f"DROP SCHEMA {ASIDE} CASCADE"))
            else:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text(f"ALTER SCHEMA {ASIDE} RENAME TO public"))


def _schema_exists(connection: Connection, name: str) -> bool:
    found = connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = :name)"), {"name": name}
    ).scalar_one()
    return bool(found)


def _verify(found: Mapping[str, TableContent], manifest: Manifest, where: str) -> None:
    wrong = sorted({name for name in (*found, *manifest.tables) if found.get(name) != manifest.tables.get(name)})
    if wrong:
        raise InvariantError(
            "restore_differs",
            f"what was restored is not what was backed up, in {', '.join(wrong)}",
            where=where,
            remedy="The database is as it was. Keep the file, and report this.",
        )
