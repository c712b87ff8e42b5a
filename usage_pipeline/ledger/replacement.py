"""Making a slice equal to what its source says: insert what is new, update what differs, remove what vanished.

Superseded versions move to the history table with the instant at which they stopped being believed. An empty slice is
loaded directly; one that has rows goes through a temporary table and a set-based comparison, so that nothing is
rewritten that did not change. The caller holds the slice's lock and commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from usage_pipeline.errors import InvariantError

CopyWriter = Callable[[psycopg.Copy], None]


@dataclass(frozen=True, slots=True)
class ReplacedTable:
    """A table whose slices are replaced: its name, its history's, its key within a slice, and its columns in order.

    ``bookkeeping`` columns (which pull, when recorded) do not make a row different.
    """

    name: str
    history: str
    key: str
    columns: tuple[str, ...]
    bookkeeping: tuple[str, ...] = ("source_id", "recorded_at")
    slice_column: str = "slice_id"

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns that make a version of a row."""
        return tuple(c for c in self.columns if c not in {self.slice_column, self.key, *self.bookkeeping})


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of a slice by what became of them."""

    stored: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.stored + other.stored,
            self.updated + other.updated,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )

    @property
    def any(self) -> bool:
        """Whether anything differs from before."""
        return bool(self.stored or self.updated or self.removed)


def binary_copy(chunks: Iterable[bytes]) -> CopyWriter:
    """A writer of chunks that are already encoded for a binary COPY."""

    def write(copy: psycopg.Copy) -> None:
        for chunk in chunks:
            copy.write(chunk)

    return write


def typed_copy(rows: Iterable[tuple[Any, ...]]) -> CopyWriter:
    """A writer of Python values in text format, for tables with few rows or with numerics."""

    def write(copy: psycopg.Copy) -> None:
        for row in rows:
            copy.write_row(row)

    return write


def replace_slice(
    connection: Connection,
    table: ReplacedTable,
    slice_id: int,
    write: CopyWriter,
    *,
    binary: bool,
    slice_is_empty: bool,
    now: datetime,
) -> Changes:
    """Make the rows of ``slice_id`` in ``table`` equal to those that ``write`` sends.

    Raises :class:`InvariantError` ``duplicate_rows`` if two rows have one key; the transaction must then be rolled
    back by the caller.
    """
    cursor = _cursor(connection)
    statements = _statements(table)
    try:
        if slice_is_empty:
            _copy(cursor, table.name, table, write, binary=binary)
            return Changes(stored=cursor.rowcount)
        cursor.execute(statements.create_staging)
        cursor.execute(statements.empty_staging)
        _copy(cursor, f"staged_{table.name}", table, write, binary=binary)
        staged = cursor.rowcount
        parameters = {"slice_id": slice_id, "now": now}
        cursor.execute(statements.remove_vanished, parameters)
        removed = cursor.rowcount
        cursor.execute(statements.keep_superseded, parameters)
        updated = cursor.rowcount
        if updated:
            cursor.execute(statements.update_changed, parameters)
            assert cursor.rowcount == updated, "each superseded row has a new version"
        cursor.execute(statements.insert_new, parameters)
        stored = cursor.rowcount
        return Changes(stored, updated, removed, staged - stored - updated)
    except psycopg.errors.UniqueViolation:
        raise InvariantError(
            "duplicate_rows",
            f"two rows of one slice have the same key in {table.name}",
            where=f"slice {slice_id}",
            remedy="Nothing was written; look at the raw page of this slice.",
        ) from None


class StandsOtherwiseError(Exception):
    """The slice does not hold what the caller took it to hold, and must be replaced as a whole instead."""


def amend_slice(
    connection: Connection,
    table: ReplacedTable,
    slice_id: int,
    write_standing: CopyWriter,
    write_newer: CopyWriter,
    *,
    row_count: int,
    now: datetime,
) -> Changes:
    """Put newer rows of ``slice_id`` in the place of standing ones, both sent in binary; every other row stays.

    ``row_count`` is how many rows the slice has before. Raises :class:`StandsOtherwiseError`, whereupon the caller
    rolls back to where it was, if a standing row is not stored as it is sent, or if a newer row has the key of one that
    stays.
    """
    cursor = _cursor(connection)
    statements = _amending(table)
    parameters = {"slice_id": slice_id, "now": now}
    cursor.execute(_statements(table).create_staging)
    cursor.execute(_statements(table).empty_staging)
    cursor.execute(statements.create_temporary)
    _copy(cursor, f"expected_{table.name}", table, write_standing, binary=True)
    expected = cursor.rowcount
    _copy(cursor, f"staged_{table.name}", table, write_newer, binary=True)
    staged = cursor.rowcount
    cursor.execute(statements.find_standing, parameters)
    if cursor.rowcount != expected or _count(cursor, statements.count_unexpected):
        raise StandsOtherwiseError
    matched = _count(cursor, statements.count_matched)
    cursor.execute(statements.keep_superseded, parameters)
    superseded = cursor.rowcount
    cursor.execute(statements.remove_superseded)
    try:
        cursor.execute(statements.insert_changed_and_new)
    except psycopg.errors.UniqueViolation:
        raise StandsOtherwiseError from None
    removed, stored = expected - matched, staged - matched
    assert cursor.rowcount == superseded - removed + stored, "each superseded row has vanished or has a new version"
    return Changes(stored, superseded - removed, removed, row_count - superseded)


def _count(cursor: psycopg.Cursor[Any], statement: sql.Composed) -> int:
    row = cursor.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def _cursor(connection: Connection) -> psycopg.Cursor[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.cursor()


def _copy(cursor: psycopg.Cursor[Any], target: str, table: ReplacedTable, write: CopyWriter, *, binary: bool) -> None:
    statement = sql.SQL("COPY {target} ({columns}) FROM STDIN {options}").format(
        target=sql.Identifier(target),
        columns=_names(table.columns),
        options=sql.SQL("(FORMAT BINARY)" if binary else ""),
    )
    with cursor.copy(statement) as copy:
        write(copy)


@dataclass(frozen=True, slots=True)
class _Statements:
    create_staging: sql.Composed
    empty_staging: sql.Composed
    remove_vanished: sql.Composed
    keep_superseded: sql.Composed
    update_changed: sql.Composed
    insert_new: sql.Composed


@cache
def _statements(table: ReplacedTable) -> _Statements:
    names: dict[str, sql.Composable] = {
        "table": sql.Identifier(table.name),
        "history": sql.Identifier(table.history),
        "staged": sql.Identifier(f"staged_{table.name}"),
        "key": sql.Identifier(table.key),
        "slice": sql.Identifier(table.slice_column),
        "columns": _names(table.columns),
        "old_columns": _names(table.columns, "old"),
        "old": _names(table.compared, "old"),
        "new": _names(table.compared, "new"),
        "changed": _names((*table.compared, *table.bookkeeping)),
        "new_changed": _names((*table.compared, *table.bookkeeping), "new"),
    }

    def statement(text: str) -> sql.Composed:
        return sql.SQL(text).format(**names)

    return _Statements(
        # Made once a session. Neither is it truncated nor its index made anew for each slice: a month of small slices
        # would spend more time on the catalogue than on its rows.
        create_staging=statement(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {staged} (LIKE {table} INCLUDING DEFAULTS, UNIQUE ({key}))"
            " ON COMMIT DELETE ROWS"
        ),
        empty_staging=statement("DELETE FROM {staged}"),
        remove_vanished=statement(
            "WITH vanished AS (DELETE FROM {table} AS old WHERE old.{slice} = %(slice_id)s"
            " AND NOT EXISTS (SELECT 1 FROM {staged} AS new WHERE new.{key} = old.{key}) RETURNING {old_columns})"
            " INSERT INTO {history} ({columns}, superseded_at) SELECT *, %(now)s FROM vanished"
        ),
        keep_superseded=statement(
            "INSERT INTO {history} ({columns}, superseded_at) SELECT {old_columns}, %(now)s"
            " FROM {table} AS old JOIN {staged} AS new ON new.{key} = old.{key}"
            " WHERE old.{slice} = %(slice_id)s AND ({old}) IS DISTINCT FROM ({new})"
        ),
        update_changed=statement(
            "UPDATE {table} AS old SET ({changed}) = ROW({new_changed}) FROM {staged} AS new"
            " WHERE old.{slice} = %(slice_id)s AND new.{key} = old.{key} AND ({old}) IS DISTINCT FROM ({new})"
        ),
        insert_new=statement(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged} AS new"
            " WHERE NOT EXISTS (SELECT 1 FROM {table} AS old WHERE old.{slice} = %(slice_id)s"
            " AND old.{key} = new.{key})"
        ),
    )


@dataclass(frozen=True, slots=True)
class _Amending:
    create_temporary: sql.Composed
    find_standing: sql.Composed
    count_unexpected: sql.Composed
    count_matched: sql.Composed
    keep_superseded: sql.Composed
    remove_superseded: sql.Composed
    insert_changed_and_new: sql.Composed


@cache
def _amending(table: ReplacedTable) -> _Amending:
    names: dict[str, sql.Composable] = {
        "table": sql.Identifier(table.name),
        "history": sql.Identifier(table.history),
        "staged": sql.Identifier(f"staged_{table.name}"),
        "standing": sql.Identifier(f"standing_{table.name}"),
        "expected": sql.Identifier(f"expected_{table.name}"),
        "key": sql.Identifier(table.key),
        "slice": sql.Identifier(table.slice_column),
        "columns": _names(table.columns),
        "old_columns": _names(table.columns, "old"),
        "new_columns": _names(table.columns, "new"),
        "old": _names(table.compared, "old"),
        "new": _names(table.compared, "new"),
    }

    def statement(text: str) -> sql.Composed:
        return sql.SQL(text).format(**names)

    return _Amending(
        create_temporary=statement(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {expected} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;"
            " CREATE TEMPORARY TABLE IF NOT EXISTS {standing} (place tid, LIKE {table}) ON COMMIT DELETE ROWS;"
            " DELETE FROM {expected}; DELETE FROM {standing}"
        ),
        # OFFSET 0 keeps the lookup by key: a slice loaded a moment ago has no statistics yet, and without them the
        # planner takes it for small and reads it whole.
        find_standing=statement(
            "INSERT INTO {standing} (place, {columns}) SELECT old.place, {old_columns} FROM {expected} AS expected"
            " CROSS JOIN LATERAL (SELECT one.ctid AS place, one.* FROM {table} AS one"
            " WHERE one.{slice} = %(slice_id)s AND one.{key} = expected.{key} OFFSET 0) AS old"
        ),
        count_unexpected=statement(
            "SELECT count(*) FROM {standing} AS old JOIN {expected} AS new ON new.{key} = old.{key}"
            " WHERE ({old}) IS DISTINCT FROM ({new})"
        ),
        count_matched=statement("SELECT count(*) FROM {standing} AS old JOIN {staged} AS new ON new.{key} = old.{key}"),
        keep_superseded=statement(
            "INSERT INTO {history} ({columns}, superseded_at) SELECT {old_columns}, %(now)s FROM {standing} AS old"
            " LEFT JOIN {staged} AS new ON new.{key} = old.{key}"
            " WHERE new.{key} IS NULL OR ({old}) IS DISTINCT FROM ({new})"
        ),
        remove_superseded=statement(
            "DELETE FROM {table} AS one USING {standing} AS old LEFT JOIN {staged} AS new ON new.{key} = old.{key}"
            " WHERE one.ctid = old.place AND (new.{key} IS NULL OR ({old}) IS DISTINCT FROM ({new}))"
        ),
        insert_changed_and_new=statement(
            "INSERT INTO {table} ({columns}) SELECT {new_columns} FROM {staged} AS new"
            " LEFT JOIN {standing} AS old ON old.{key} = new.{key}"
            " WHERE old.{key} IS NULL OR ({old}) IS DISTINCT FROM ({new})"
        ),
    )


def _names(columns: Iterable[str], alias: str | None = None) -> sql.Composed:
    def one() -> Iterator[sql.Composable]:
        for column in columns:
            yield sql.Identifier(alias, column) if alias else sql.Identifier(column)

    return sql.SQL(", ").join(list(one()))
