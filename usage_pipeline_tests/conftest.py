"""The databases that tests use: real PostgreSQL, one server per session, a fresh database per test.

``TEST_DATABASE_URL`` names the server (its user must be allowed to create databases); without it the embedded one is
started in the session's temporary folder and shared by the workers of pytest-xdist.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger import embedded_postgres, server
from usage_pipeline.ledger.server import DatabaseServer


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


@pytest.fixture
def migrated_database(database_server: DatabaseServer, migrated_template: str) -> Iterator[str]:
    """The SQLAlchemy URL of a new database with the ledger's newest schema and no rows, dropped after the test."""
    with _database(database_server, template=migrated_template) as url:
        yield url


@contextlib.contextmanager
def _database(server_in_use: DatabaseServer, *, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    named = sql.Identifier(name)
    # Copying files is several times faster than logging pages where checkpoints need not reach the disk.
    strategy = sql.SQL("file_copy" if server_in_use.embedded else "wal_log")
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
    _execute(server_in_use, create.format(named, sql.Identifier(template), strategy))
    try:
        yield make_url(server_in_use.url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_in_use, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(named))


def _execute(server_in_use: DatabaseServer, statement: sql.Composable) -> None:
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
