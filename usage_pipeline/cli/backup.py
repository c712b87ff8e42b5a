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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What usage-pipeline backup wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of what the database holds, which is lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Fill an empty database from a backup, verify every table, and bring the schema up to this release's."""
    from usage_pipeline.ledger import migrate
    from usage_pipeline.ledger.audit_log import record_change
    from usage_pipeline.ledger.backup.file import open_backup
    from usage_pipeline.ledger.backup.restore import check_restorable, holds_rows, restore_backup

    at = now(os.environ)
    with open_backup(file) as opened:
        check_restorable(opened.manifest, str(file))
        with connected(os.environ) as (database, engine):
            if replace and not yes and holds_rows(engine):
                _ask(database.shown, opened.manifest.made_at)
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


def _ask(database: str, made_at: str) -> None:
    typer.echo(f"{database} will hold what the backup of {made_at} has, and nothing of what it holds now.", err=True)
    if typer.prompt("Write replace to go on", err=True, default="", show_default=False) != "replace":
        raise InvalidInputError(
            "not_confirmed", "nothing was changed", where="usage-pipeline restore", remedy="Confirm, or give --yes."
        )
