"""The databases that tests use: real PostgreSQL, one server per session, a fresh database per test.

``TEST_DATABASE_URL`` names the server (its user must be allowed to create databases); without it the embedded one is
started in the session's temporary folder and shared by the workers of pytest-xdist.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
import typer.main
import typer.testing
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger import embedded_postgres, server
from usage_pipeline.ledger.server import DatabaseServer

# CliRunner makes every command anew at each call, which takes longer than most commands do.
typer.testing._get_command = functools.cache(typer.main.get_command)


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The session's PostgreSQL server."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield server.acquire({"USAGE_DATABASE_URL": given})
        return
    session_folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session_folder = session_folder.parent  # one server for all workers
    home = session_folder / "usage-home"
    with server.acquire({"USAGE_HOME": str(home)}) as embedded:
        _trade_durability_for_speed(embedded)
        yield embedded
    # The worker that leaves last deletes; for the others the server is still in use.
    with contextlib.suppress(InvalidInputError):
        embedded_postgres.erase(home)


@pytest.fixture
def empty_database(database_server: DatabaseServer) -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty database, dropped after the test."""
    with _database(database_server, template="template0") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(database_server: DatabaseServer) -> Iterator[str]:
    """The name of a database with the ledger's newest schema, to copy from: migrating once is faster than per test."""
    from usage_pipeline.ledger import migrate

    with _database(database_server, template="template0") as url:
        migrate.upgrade(url)
        name = _name(url)
        # A connection left open, by the migration or by a curious test, would make every copy fail.
        _execute(database_server, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        _execute(
            database_server,
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(name)
            ),
        )
        yield name


_USES_MAX = 30
"""After so many tests a database is made anew: what they deleted lies about in it, and every look reads over it."""


@dataclass
class _Kept:
    """A database that waits for the next test: a digest of its schema, and how many tests have had it."""

    name: str
    schema: str | None
    uses: int = 0


@pytest.fixture(scope="session")
def kept_databases(database_server: DatabaseServer) -> Iterator[list[_Kept]]:
    """Databases with the newest schema and no rows: to empty one is ten times faster than to copy one."""
    kept: list[_Kept] = []
    yield kept
    for one in kept:
        _drop(database_server, one.name)


@pytest.fixture
def migrated_database(
    database_server: DatabaseServer, migrated_template: str, kept_databases: list[_Kept]
) -> Iterator[str]:
    """The SQLAlchemy URL of a database of the test's own with the ledger's newest schema and no rows."""
    if not kept_databases:
        made = _create(database_server, migrated_template)
        with _connected(database_server, made) as connection:
            kept_databases.append(_Kept(made, _schema_of(connection)))
    one = kept_databases.pop()
    yield _url(database_server, one.name)
    one.uses += 1
    with _connected(database_server, one.name) as connection:
        connection.execute(_END_OTHER_SESSIONS)
        is_as_before = one.uses < _USES_MAX and _schema_of(connection) == one.schema
        if is_as_before:
            _empty(connection)
    if is_as_before:
        kept_databases.append(one)
    else:
        _drop(database_server, one.name)


@contextlib.contextmanager
def _database(server_in_use: DatabaseServer, *, template: str) -> Iterator[str]:
    name = _create(server_in_use, template)
    try:
        yield _url(server_in_use, name)
    finally:
        _drop(server_in_use, name)


def _create(server_in_use: DatabaseServer, template: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    # Copying files is several times faster than logging pages where checkpoints need not reach the disk.
    strategy = sql.SQL("file_copy" if server_in_use.embedded else "wal_log")
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
    _execute(server_in_use, create.format(sql.Identifier(name), sql.Identifier(template), strategy))
    return name


def _drop(server_in_use: DatabaseServer, name: str) -> None:
    _execute(server_in_use, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server_in_use: DatabaseServer, name: str) -> str:
    return make_url(server_in_use.url).set(database=name).render_as_string(hide_password=False)


_END_OTHER_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""What a test left open, or a process that it killed: it would hold locks."""

_SCHEMA = """
SELECT md5(concat(
    (SELECT string_agg(concat_ws(' ', c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull), ','
                       ORDER BY c.relname, a.attnum) FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped),
    (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), ',' ORDER BY conname) FROM pg_constraint),
    (SELECT string_agg(concat_ws(' ', tgname, tgenabled), ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
    (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting WHERE setdatabase = (
        SELECT oid FROM pg_database WHERE datname = current_database()))
))
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
_NUMBER_FROM_ONE = (
    "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences"
    " WHERE last_value IS NOT NULL"
)


def _schema_of(connection: psycopg.Connection) -> str | None:
    """A digest of the schema: a test may have migrated, or broken something on purpose; None if there is no reading."""
    try:
        row = connection.execute(_SCHEMA).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else str(row[0])


def _empty(connection: psycopg.Connection) -> None:
    """Delete every row, ten times faster than truncating dozens of tables, and start the numbers anew."""
    tables = [sql.Identifier(row[0]) for row in connection.execute(_TABLES)]
    connection.execute("SET session_replication_role = replica")  # in any order
    connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in tables))
    connection.execute(_NUMBER_FROM_ONE)


@contextlib.contextmanager
def _connected(server_in_use: DatabaseServer, name: str) -> Iterator[psycopg.Connection]:
    conninfo = make_conninfo(server_in_use.psycopg_conninfo, dbname=name)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def _execute(server_in_use: DatabaseServer, statement: sql.SQL | sql.Composed) -> None:
    with psycopg.connect(server_in_use.psycopg_conninfo, autocommit=True) as connection:
        connection.execute(statement)


def _name(url: str) -> str:
    name = make_url(url).database
    assert name is not None
    return name


def _trade_durability_for_speed(embedded: DatabaseServer) -> None:
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        _execute(embedded, sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
    _execute(embedded, sql.SQL("SELECT pg_reload_conf()"))
