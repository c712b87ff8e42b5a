"""``usage-pipeline db``: the version of the database's schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line
from usage_pipeline.cli.store import connected
from usage_pipeline.errors import InvalidInputError

app = typer.Typer(help="The database's schema.", rich_markup_mode=None)


@app.command()
def upgrade(
    revision: Annotated[
        str, typer.Argument(metavar="[REVISION]", help="Up to this one; the newest by default.")
    ] = "head",
) -> None:
    """Bring the schema up. Running it again changes nothing."""
    from usage_pipeline.ledger import migrate

    # Connecting first tells a database that is down from a migration that fails.
    with connected(os.environ) as (database, engine):
        before = migrate.current_revision(engine)
        with _known_revision(revision):
            migrate.upgrade(database.url, revision)
        after = migrate.current_revision(engine)
    print_line(f"The schema is at revision {after}{' already' if after == before else ''}.")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Down to this one; base removes all tables.")],
    yes: Annotated[bool, typer.Option("--yes", help="Also where rows are lost for good.")] = False,
) -> None:
    """Take the schema down. Tables and columns that newer revisions added are removed with what they hold."""
    from usage_pipeline.ledger import migrate

    with connected(os.environ) as (database, engine):
        with _known_revision(revision):
            lost = migrate.lost_by_downgrade(engine, revision)
        if lost and not yes:
            raise InvalidInputError(
                "rows_would_be_lost",
                f"going down deletes for good: {', '.join(one.in_words for one in lost)}",
                where=revision,
                remedy="Make a backup (usage-pipeline backup FILE), then give --yes.",
            )
        with _known_revision(revision):
            migrate.downgrade(database.url, revision)
        after = migrate.current_revision(engine)
    print_line(f"The schema is at revision {after}." if after else "The database has no tables of ours.")


@app.command()
def revision(as_json: AsJson = False) -> None:
    """Tell the database's revision and the one that this release needs."""
    from usage_pipeline.ledger import migrate

    with connected(os.environ) as (_, engine):
        current = migrate.current_revision(engine)
    needed = migrate.head_revision()
    if as_json:
        print_json({"current": current, "needed": needed})
    else:
        print_line(f"database: {current or 'no tables of ours'}; this release: {needed}")


@contextmanager
def _known_revision(revision: str) -> Iterator[None]:
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    try:
        yield
    except (CommandError, RevisionError):
        raise InvalidInputError(
            "revision_unknown",
            "this release cannot get from the database's revision to that one",
            where=revision,
            remedy="See: usage-pipeline db revision.",
        ) from None
