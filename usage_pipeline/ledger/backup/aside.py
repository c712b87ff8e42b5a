"""What a database held before a restore, in a schema of its own until what was restored is verified.

A restore that is killed leaves it there. Until a person says which of the two stays nothing else uses the database, so
that neither can be put over newer rows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import PermanentError

ASIDE: Final = "usage_before_restore"


def is_aside(connection: Connection) -> bool:
    """Whether something waits: a restore is under way, or was cut off."""
    found = connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = :name)"), {"name": ASIDE}
    ).scalar_one()
    return bool(found)


def set_aside(connection: Connection) -> None:
    """Put everything aside; the database is then empty."""
    connection.execute(text(f"ALTER SCHEMA public RENAME TO {ASIDE}"))
    connection.execute(text("CREATE SCHEMA public AUTHORIZATION pg_database_owner"))


def put_back(connection: Connection) -> None:
    """Put what waits in the place of what the database holds now."""
    connection.execute(text("DROP SCHEMA public CASCADE"))
    connection.execute(text(f"ALTER SCHEMA {ASIDE} RENAME TO public"))


def drop_aside(connection: Connection) -> None:
    """Keep what the database holds now; what waits is gone."""
    connection.execute(text(f"DROP SCHEMA {ASIDE} CASCADE"))


def has_rows(connection: Connection) -> bool:
    """Whether any table of the database has a row, its schema's revision and what waits left aside."""
    names = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
    ).scalars()
    return any(
        connection.execute(text(f'SELECT EXISTS (SELECT 1 FROM public."{name}")')).scalar_one() for name in names.all()
    )


def refuse_cut_off_restore(connection: Connection) -> None:
    """Raises :class:`PermanentError` ``restore_cut_off`` while what was there before a restore waits."""
    if is_aside(connection):
        raise PermanentError(
            "restore_cut_off",
            "a restore is under way or was cut off, and what the database held before waits beside it",
            where="database",
            remedy="If none is under way: usage-pipeline restore --undo puts back what was there before; where the"
            " database holds what was restored, restore --keep keeps that instead.",
        )
