"""Restoring a backup: into an empty database, or in the place of what is there, which stands until all is verified.

What is there is set aside as a schema of its own, and is put back if anything fails. Nobody else may be connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from usage_pipeline.errors import InvalidInputError, InvariantError
from usage_pipeline.ledger.backup.aside import (
    drop_aside,
    has_rows,
    is_aside,
    put_back,
    refuse_cut_off_restore,
    set_aside,
)
from usage_pipeline.ledger.backup.file import BackupReader
from usage_pipeline.ledger.backup.manifest import Manifest, TableContent, table_contents
from usage_pipeline.ledger.backup.programs import find_program, running
from usage_pipeline.ledger.migrate import head_revision, known_revisions


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
        return is_aside(connection) or has_rows(connection)


def restore_backup(engine: Engine, database: str, backup: BackupReader, *, replace: bool) -> None:
    """Make the database's tables those of the backup, at the backup's own schema; the caller then upgrades.

    Without ``replace`` the database must have no rows. An earlier restore that was cut off before anything came is
    undone first. Raises :class:`InvalidInputError` ``backup_newer``, ``backup_damaged``, ``database_not_empty``,
    ``database_in_use``, ``server_older_than_backup``; :class:`PermanentError` ``restore_cut_off``,
    ``backup_tools_missing``, ``backup_tool_failed``; :class:`InvariantError` ``restore_differs``. The database is then
    as it was.
    """
    manifest = backup.manifest
    check_restorable(manifest, str(backup.path))
    with engine.begin() as connection:
        _refuse_others(connection)
        if is_aside(connection) and not has_rows(connection):
            put_back(connection)
        refuse_cut_off_restore(connection)
    if not replace and holds_rows(engine):
        raise InvalidInputError(
            "database_not_empty",
            "the database has rows, which would be lost",
            where="database",
            remedy="Name an empty database (USAGE_DATABASE_URL or USAGE_HOME), or give --replace.",
        )
    with engine.begin() as connection:
        server_major = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000
    if server_major < manifest.server_major:
        raise InvalidInputError(
            "server_older_than_backup",
            f"this server is PostgreSQL {server_major}, the backup is of {manifest.server_major}",
            where=str(backup.path),
            remedy=f"Restore it on PostgreSQL {manifest.server_major} or newer.",
        )
    program = find_program("pg_restore", server_major, at_least=manifest.tool_major)
    backup.check()
    with _waiting_aside(engine):
        arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--schema=public"]
        with running(program, arguments, database, reads=True) as taking:
            for chunk in backup.chunks():
                taking.write(chunk)
        with engine.begin() as connection:
            _verify(table_contents(connection), manifest, str(backup.path))


def end_cut_off_restore(engine: Engine, *, keep: bool) -> None:
    """End a restore that was killed: ``keep`` what the database holds now, else put back what it held before.

    Raises :class:`InvalidInputError` ``no_restore_cut_off``, ``database_in_use``, ``nothing_restored`` (there is
    nothing to keep). The database is then as it was.
    """
    with engine.begin() as connection:
        if not is_aside(connection):
            raise InvalidInputError(
                "no_restore_cut_off",
                "no restore was cut off here",
                where="database",
                remedy="Name the backup's file to restore one.",
            )
        _refuse_others(connection)
        if not keep:
            put_back(connection)
        elif has_rows(connection):
            drop_aside(connection)
        else:
            raise InvalidInputError(
                "nothing_restored",
                "the restore was cut off before anything came, so there is nothing to keep",
                where="database",
                remedy="Put back what was there before: usage-pipeline restore --undo.",
            )


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
def _waiting_aside(engine: Engine) -> Iterator[None]:
    """The database empty for the block; what it held is dropped when the block ends well, else put back."""
    with engine.begin() as connection:
        set_aside(connection)
    done = False
    try:
        yield
        done = True
    finally:
        with engine.begin() as connection:
            if done:
                drop_aside(connection)
            else:
                put_back(connection)


def _verify(found: Mapping[str, TableContent], manifest: Manifest, where: str) -> None:
    wrong = sorted({name for name in (*found, *manifest.tables) if found.get(name) != manifest.tables.get(name)})
    if wrong:
        raise InvariantError(
            "restore_differs",
            f"what was restored is not what was backed up, in {', '.join(wrong)}",
            where=where,
            remedy="The database is as it was. Keep the file, and report this.",
        )
