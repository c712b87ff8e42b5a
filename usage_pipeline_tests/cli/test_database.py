"""``usage-pipeline db``."""

from __future__ import annotations

import sqlalchemy as sa

from usage_pipeline.ledger import migrate, server
from usage_pipeline_tests.cli.conftest import CommandLine


def tables(url: str) -> list[str]:
    engine = server.connect_engine(url)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    return names


def test_the_schema_goes_up_and_down(command: CommandLine, empty_database: str) -> None:
    command.environ["USAGE_DATABASE_URL"] = empty_database
    assert command.done("db", "revision", "--json").json == {"current": None, "needed": migrate.head_revision()}
    assert migrate.head_revision() in command.done("db", "upgrade").out
    assert "provider_keys" in tables(empty_database)
    assert "already" in command.done("db", "upgrade").out
    assert "no tables" in command.done("db", "downgrade", "base").out
    assert "provider_keys" not in tables(empty_database)


def test_going_down_does_not_lose_rows_without_being_told_to(command: CommandLine, migrated_database: str) -> None:
    command.done("workspace", "add", "acme")
    told = command.refused("rows_would_be_lost", "db", "downgrade", "base")
    assert "1 rows of workspaces" in told
    assert "1 values of audit_log.actor" in command.refused("rows_would_be_lost", "db", "downgrade", "0011")
    assert "acme" in command.done("workspace", "list").out
    command.done("db", "downgrade", "base", "--yes")
    assert "workspaces" not in tables(migrated_database)


def test_an_unknown_revision_is_refused(command: CommandLine) -> None:
    command.refused("revision_unknown", "db", "upgrade", "7777")
    command.refused("revision_unknown", "db", "downgrade", "7777")
    assert command.done("db", "revision", "--json").json["current"] == migrate.head_revision()


def test_a_database_that_is_down_is_told_as_such(command: CommandLine) -> None:
    command.environ["USAGE_DATABASE_URL"] = "postgresql://usage@127.0.0.1:1/usage"
    for words in (("db", "upgrade"), ("db", "downgrade", "base"), ("db", "revision")):
        command.refused("database_unavailable", *words, exit_code=1)


def test_downgrading_needs_to_be_told_how_far(command: CommandLine) -> None:
    command.refused("usage", "db", "downgrade")
