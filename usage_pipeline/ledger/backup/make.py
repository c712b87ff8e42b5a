"""Making a backup: one snapshot of the database, dumped, counted and digested while everything else goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.backup.aside import refuse_cut_off_restore
from usage_pipeline.ledger.backup.file import new_backup_file
from usage_pipeline.ledger.backup.manifest import Manifest, table_contents
from usage_pipeline.ledger.backup.programs import find_program, running
from usage_pipeline.ledger.migrate import current_revision


def make_backup(engine: Engine, database: str, path: Path, now: datetime, *, force: bool) -> Manifest:
    """Write the whole ledger to ``path``; ``database`` is libpq's connection string of the engine's database.

    Raises :class:`InvalidInputError` ``file_exists``, ``file_unwritable``; :class:`PermanentError`
    ``backup_tools_missing``, ``backup_tool_failed``, ``nothing_to_back_up``, ``restore_cut_off``.
    """
    with engine.connect() as connection:
        refuse_cut_off_restore(connection)
    revision = current_revision(engine)
    if revision is None:
        raise PermanentError(
            "nothing_to_back_up",
            "the database has no tables of ours",
            where="database",
            remedy="Check USAGE_HOME and USAGE_DATABASE_URL.",
        )
    with (
        new_backup_file(path, force=force) as writer,
        engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
        connection.begin(),
    ):
        # The dump sees what this transaction sees, so that counts and digests are of the same rows.
        snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        server_major = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000
        program = find_program("pg_dump", server_major)
        arguments = ["--format=custom", "--schema=public", f"--snapshot={snapshot}", "--no-owner", "--no-privileges"]
        with running(program, arguments, database, reads=False) as dump:
            writer.take(dump)
        manifest = Manifest(
            revision=revision,
            made_at=now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            server_major=server_major,
            tool_major=program.major,
            dump_bytes=writer.bytes,
            dump_sha256=writer.sha256,
            tables=table_contents(connection),
        )
        writer.finish(manifest, now.timestamp())
    return manifest
