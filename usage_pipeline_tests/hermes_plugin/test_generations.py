"""Four generations of state.db are read, each for what it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline_hermes.errors import PluginError
from usage_pipeline_hermes.state_db import base_url_to_send, read_snapshot
from usage_pipeline_tests.hermes_plugin.hermes_database import GENERATIONS, Call, HermesDatabase, Made
from usage_pipeline_tests.hermes_plugin.replica import Plugin, Server, moment

NINE = moment("2026-08-10T09:00:00")
CLAUDE = Made("anthropic/claude-sonnet-4.6", "openrouter", "https://openrouter.ai/api/v1", "official_models_api")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _database(stack: ExitStack, tmp_path: Path, generation: str, *, wal: bool = False) -> HermesDatabase:
    database = HermesDatabase(tmp_path / "state.db", generation, wal=wal)
    stack.callback(database.close)
    return database


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_generation_is_recognised_and_its_usage_reported(
    generation: str, stack: ExitStack, tmp_path: Path
) -> None:
    database, server = _database(stack, tmp_path, generation), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    plugin.sync(NINE)
    database.open_session("s1", NINE + 10)
    database.call("s1", NINE + 60, Call(input=100, output=40, cache_read=20, cache_write=5))
    plugin.sync(NINE + 900)
    snapshot = read_snapshot(database.path, 1)
    assert snapshot.generation == generation
    assert snapshot.schema_version == {"sessions": 6, "sessions_billing": 15, "model_usage": 20}.get(generation, 30)
    (row,) = server.rows()
    assert (row.model, row.uncached_input, row.output, row.cache_read, row.cache_write_unsplit) == (
        "gpt-5.4",
        100,
        40,
        20,
        5,
    )
    assert row.billing_provider == ("" if generation == "sessions" else "openai")
    assert (row.requests, row.reasoning) == ((None, None) if generation == "sessions" else (1, 0))
    assert row.estimated_cost_usd == Decimal("0.001")
    assert row.actual_cost_usd is None


def test_each_model_of_a_session_and_each_auxiliary_task_has_its_row(stack: ExitStack, tmp_path: Path) -> None:
    database, server = _database(stack, tmp_path, "model_usage_task"), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    plugin.sync(NINE)
    database.open_session("s1", NINE + 10)
    database.call("s1", NINE + 60, Call(input=100), Made())
    database.call("s1", NINE + 70, Call(input=200), CLAUDE)
    database.auxiliary("s1", NINE + 80, Call(input=30), CLAUDE, "title_generation")
    database.call("s1", NINE + 90, Call(input=7), CLAUDE, task="voice_chat")
    plugin.sync(NINE + 900)
    assert server.figures() == {
        ("2026-08-10T09", "gpt-5.4", ""): 100,
        ("2026-08-10T09", "anthropic/claude-sonnet-4.6", ""): 200,
        ("2026-08-10T09", "anthropic/claude-sonnet-4.6", "title_generation"): 30,
        ("2026-08-10T09", "anthropic/claude-sonnet-4.6", "voice_chat"): 7,
    }
    assert {row.billing_base_url for row in server.rows()} == {
        "https://api.openai.com/v1",
        "https://openrouter.ai/api/v1",
    }


def test_what_a_session_has_beyond_its_rows_is_reported_on_its_own_route(stack: ExitStack, tmp_path: Path) -> None:
    database, server = _database(stack, tmp_path, "model_usage_task"), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    plugin.sync(NINE)
    database.open_session("gateway", NINE + 10)
    database.auxiliary("gateway", NINE + 20, Call(input=9), CLAUDE, "compression")
    database.set_totals("gateway", NINE + 60, Call(input=500, calls=3))
    plugin.sync(NINE + 900)
    assert server.figures() == {
        ("2026-08-10T09", "gpt-5.4", ""): 500,
        ("2026-08-10T09", "anthropic/claude-sonnet-4.6", "compression"): 9,
    }


def test_an_update_of_hermes_that_fills_the_new_table_counts_nothing_twice(stack: ExitStack, tmp_path: Path) -> None:
    database, server = _database(stack, tmp_path, "sessions"), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    plugin.sync(NINE)
    database.open_session("s1", NINE + 10)
    database.call("s1", NINE + 60, Call(input=100))
    plugin.sync(NINE + 900)
    database.update_to("model_usage_task")
    database.call("s1", NINE + 1000, Call(input=50), CLAUDE)
    plugin.sync(NINE + 1800)
    database.call("s1", NINE + 1900, Call(input=8))
    plugin.sync(NINE + 2700)
    assert server.figures() == {
        ("2026-08-10T09", "gpt-5.4", ""): 108,
        ("2026-08-10T09", "anthropic/claude-sonnet-4.6", ""): 50,
    }


def test_usage_that_is_still_in_the_write_ahead_log_is_seen(stack: ExitStack, tmp_path: Path) -> None:
    database, server = _database(stack, tmp_path, "model_usage_task", wal=True), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    database.open_session("s1", NINE + 10)
    database.call("s1", NINE + 60, Call(input=100))
    assert (tmp_path / "state.db-wal").stat().st_size > 0
    plugin.sync(NINE + 900)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 100}


def test_nothing_is_written_to_the_database(stack: ExitStack, tmp_path: Path) -> None:
    database = _database(stack, tmp_path, "model_usage_task")
    database.open_session("s1", NINE)
    before = database.copy()
    read_snapshot(database.path, 1)
    assert database.copy() == before


def test_a_locked_database_is_given_up_after_the_timeout(stack: ExitStack, tmp_path: Path) -> None:
    database = _database(stack, tmp_path, "model_usage_task")
    database.connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PluginError) as caught:
        read_snapshot(database.path, 0.05)
    assert (caught.value.code, caught.value.status) == ("database_locked", 5)


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "database_missing"), (b"not a database, whatever its name says" * 40, "database_unreadable")],
)
def test_a_file_that_is_no_database_is_named(content: bytes | None, code: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PluginError) as caught:
        read_snapshot(path, 1)
    assert caught.value.code == code


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("CREATE TABLE sessions (id TEXT, cookie TEXT)")
    with pytest.raises(PluginError, match="database_unknown"):
        read_snapshot(tmp_path / "state.db", 1)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://user:secret@host.example:8443/v1?key=secret#secret", "https://host.example:8443/v1"),
        ("localhost:11434/v1", "localhost:11434/v1"),
        ("user:secret@host/v1", ""),
        ("host/v1?key=secret", ""),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_a_base_url_is_cut_to_what_is_no_secret(written: str, sent: str) -> None:
    assert base_url_to_send(written) == sent


@pytest.mark.parametrize(
    ("actual", "status", "expected"),
    [
        (None, "unknown", None),
        (0.0, "unknown", None),
        (0.0, "included", Decimal(0)),
        (0.25, "actual", Decimal("0.25")),
        (0.1 + 0.2, "actual", Decimal("0.3")),
    ],
)
def test_a_cost_that_nobody_observed_is_not_zero(
    actual: float | None, status: str, expected: Decimal | None, stack: ExitStack, tmp_path: Path
) -> None:
    database, server = _database(stack, tmp_path, "model_usage_task"), Server()
    plugin = stack.enter_context(Plugin(database.path, server))
    plugin.sync(NINE)
    database.open_session("s1", NINE + 10)
    database.call("s1", NINE + 60, Call(actual_usd=actual, status=status, estimated_usd=0.0))
    plugin.sync(NINE + 900)
    (row,) = server.rows()
    assert row.actual_cost_usd == expected
    assert row.estimated_cost_usd == (None if status == "unknown" else 0)
