"""``usage-pipeline backup`` and ``restore``: the whole ledger as one file, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.store import connected
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Into this new file.")],
    force: Annotated[bool, typer.Option("--force", help="In the place of a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the ledger's whole database to a file, without stopping anything. It can be read by its owner alone."""
    from usage_pipeline.ledger.backup.make import make_backup
    from usage_pipeline.ledger.backup.manifest import NOT_CONTAINED

    at = now(os.environ)
    with connected(os.environ) as (database, engine):
        made = make_backup(engine, database.psycopg_conninfo, file, at, force=force)
    rows = sum(table.rows for table in made.tables.values())
    for left_out in NOT_CONTAINED:
        print_note(f"not in it: {left_out}.")
    if as_json:
        told = {"file": str(file), "revision": made.revision, "made_at": made.made_at, "bytes": made.dump_bytes}
        print_json({**told, "sha256": made.dump_sha256, "rows": {n: t.rows for n, t in made.tables.items()}})
    else:
        print_line(
            f"{file}: {rows:,} rows of {len(made.tables)} tables, schema {made.revision}, {made.dump_bytes:,} bytes."
        )


def restore(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="What usage-pipeline backup wrote.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of what the database holds, which is lost.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Instead of FILE: after a restore that was cut off, what was there before.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Instead of FILE: after a restore that was cut off, what is there now.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Fill an empty database from a backup, verify every table, and bring the schema up to this release's."""
    if (file is not None) + undo + keep != 1 or (replace and file is None):
        raise InvalidInputError(
            "restore_unclear",
            "it takes one of FILE, --undo and --keep, and --replace with FILE alone",
            where="usage-pipeline restore",
            remedy="See: usage-pipeline restore --help.",
        )
    if file is None:
        _end_cut_off(keep=keep, yes=yes)
    else:
        _restore(file, replace=replace, yes=yes)


def _restore(file: Path, *, replace: bool, yes: bool) -> None:
    from usage_pipeline.ledger import migrate
    from usage_pipeline.ledger.audit_log import record_change
    from usage_pipeline.ledger.backup.file import open_backup
    from usage_pipeline.ledger.backup.restore import check_restorable, holds_rows, restore_backup

    at = now(os.environ)
    with open_backup(file) as opened:
        check_restorable(opened.manifest, str(file))
        with connected(os.environ) as (database, engine):
            if replace and not yes and holds_rows(engine):
                _ask(
                    f"{database.shown} will hold what the backup of {opened.manifest.made_at} has, and nothing of what"
                    " it holds now.",
                    "replace",
                )
            restore_backup(engine, database.psycopg_conninfo, opened, replace=replace)
            migrate.upgrade(database.url)
            with engine.begin() as connection:
                detail = {"made_at": opened.manifest.made_at, "sha256": opened.manifest.dump_sha256}
                record_change(connection, at, "backup_restored", "database", detail)
    rows = sum(table.rows for table in opened.manifest.tables.values())
    print_line(
        f"{rows:,} rows of {len(opened.manifest.tables)} tables are restored and verified, as of"
        f" {opened.manifest.made_at}; the schema is at revision {migrate.head_revision()}."
    )
    print_note("sealed secrets open only with the encryption keys of then: see usage-pipeline keys test KEY.")


def _end_cut_off(*, keep: bool, yes: bool) -> None:
    from usage_pipeline.ledger import migrate
    from usage_pipeline.ledger.audit_log import record_change
    from usage_pipeline.ledger.backup.aside import has_rows, is_aside
    from usage_pipeline.ledger.backup.restore import end_cut_off_restore

    at = now(os.environ)
    with connected(os.environ) as (database, engine):
        with engine.connect() as connection:
            loses = is_aside(connection) and has_rows(connection)
        if loses and not yes:
            lost = "what it held before the restore is lost" if keep else "what it holds now is lost"
            _ask(f"{database.shown}: {lost}.", "keep" if keep else "undo")
        end_cut_off_restore(engine, keep=keep)
        if keep:
            migrate.upgrade(database.url)
            with engine.begin() as connection:
                record_change(connection, at, "backup_restored", "database", {"cut_off": True})
    print_line("What the restore brought is kept." if keep else "What was there before the restore is back.")


def _ask(what: str, word: str) -> None:
    typer.echo(what, err=True)
    if typer.prompt(f"Write {word} to go on", err=True, default="", show_default=False) != word:
        raise InvalidInputError(
            "not_confirmed", "nothing was changed", where="usage-pipeline restore", remedy="Confirm, or give --yes."
        )
