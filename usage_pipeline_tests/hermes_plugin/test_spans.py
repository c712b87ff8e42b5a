"""When usage happened, as far as that can be known, and what is said about days where it can't."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from usage_pipeline_tests.hermes_plugin.hermes_database import Call, HermesDatabase, Made
from usage_pipeline_tests.hermes_plugin.replica import Plugin, Server, moment

NINE = moment("2026-08-10T09:00:00")
HOUR, DAY = 3600, 86_400


@pytest.fixture
def database(tmp_path: Path) -> Iterator[HermesDatabase]:
    database = HermesDatabase(tmp_path / "state.db")
    yield database
    database.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def plugin(database: HermesDatabase, server: Server) -> Iterator[Plugin]:
    with Plugin(database.path, server) as plugin:
        yield plugin


def _gateway(database: HermesDatabase, *, started: float, total: int, ended: float | None = None) -> None:
    database.open_session("gateway", started)
    database.set_totals("gateway", started, Call(input=total, calls=9))
    if ended is not None:
        database.end_session("gateway", ended)


def test_a_session_from_before_the_plugin_stands_at_its_end_and_its_days_say_so(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    _gateway(database, started=NINE - 3 * DAY, ended=NINE - DAY, total=700)
    plugin.sync(NINE)
    assert server.figures() == {("2026-08-09T09", "gpt-5.4", ""): 700}
    assert server.by_call_time == {
        date(2026, 8, 7): False,
        date(2026, 8, 8): False,
        date(2026, 8, 9): False,
        date(2026, 8, 10): True,
    }


def test_days_by_call_and_days_by_session_go_in_reports_of_their_own(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    _gateway(database, started=NINE - 3 * DAY, ended=NINE - DAY, total=700)
    plugin.sync(NINE)
    assert [(batch.covered_days, batch.hours_are_call_time) for batch in server.batches] == [
        ((date(2026, 8, 7), date(2026, 8, 10)), False),
        ((date(2026, 8, 10), date(2026, 8, 11)), True),
    ]


def test_a_session_within_an_hour_is_by_call_even_from_before_the_plugin(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    database.open_session("short", NINE - DAY)
    database.call("short", NINE - DAY + 60, Call(input=5))
    database.call("short", NINE - DAY + 600, Call(input=6))
    plugin.sync(NINE)
    assert server.figures() == {("2026-08-09T09", "gpt-5.4", ""): 11}
    assert all(server.by_call_time.values())


def test_an_open_session_from_before_the_plugin_is_not_dated_today(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    # Hermes was killed: the session never ended, and nothing says that it was used today.
    _gateway(database, started=NINE - 3 * DAY, total=700)
    plugin.sync(NINE)
    assert server.figures() == {("2026-08-07T09", "gpt-5.4", ""): 700}
    assert not any(server.by_call_time.values())


def test_after_the_first_sync_a_long_session_is_spread_as_it_happens(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    _gateway(database, started=NINE - DAY, total=700)
    plugin.sync(NINE)
    database.set_totals("gateway", NINE + 60, Call(input=730, calls=12))
    plugin.sync(NINE + 900)
    plugin.sync(NINE + DAY - 1)
    database.set_totals("gateway", NINE + DAY + 60, Call(input=735, calls=13))
    plugin.sync(NINE + DAY + 900)
    assert server.figures() == {
        ("2026-08-09T09", "gpt-5.4", ""): 700,
        ("2026-08-10T09", "gpt-5.4", ""): 30,
        ("2026-08-11T09", "gpt-5.4", ""): 5,
    }
    assert server.by_call_time[date(2026, 8, 11)]


def test_usage_over_a_long_pause_is_marked_and_a_single_call_is_not(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    database.open_session("s1", NINE)
    database.open_session("s2", NINE)
    plugin.sync(NINE + 1)
    database.call("s1", NINE + 5 * HOUR, Call(input=5))
    plugin.sync(NINE + 6 * HOUR)
    assert server.by_call_time[date(2026, 8, 10)]
    database.call("s1", NINE + 7 * HOUR, Call(input=5))
    database.call("s1", NINE + 12 * HOUR, Call(input=5))
    plugin.sync(NINE + 13 * HOUR)
    assert not server.by_call_time[date(2026, 8, 10)]
    assert server.figures() == {("2026-08-10T14", "gpt-5.4", ""): 5, ("2026-08-10T21", "gpt-5.4", ""): 10}


def test_deleted_usage_stays_and_a_row_that_returns_is_not_new(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    plugin.sync(NINE)
    database.open_session("s1", NINE + 1)
    database.call("s1", NINE + 2, Call(input=40))
    plugin.sync(NINE + 60)
    copy = database.copy()
    database.delete("s1")
    assert plugin.sync(NINE + 120).gone == 2
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 40}
    database.restore(copy)
    plugin.sync(NINE + 180)
    database.call("s1", NINE + 200, Call(input=2))
    plugin.sync(NINE + 240)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 42}


def test_another_session_under_an_old_name_is_new(database: HermesDatabase, plugin: Plugin, server: Server) -> None:
    plugin.sync(NINE)
    database.open_session("s1", NINE + 1)
    database.call("s1", NINE + 2, Call(input=40))
    plugin.sync(NINE + 60)
    database.delete("s1")
    database.open_session("s1", NINE + 70)
    database.call("s1", NINE + 80, Call(input=50))
    plugin.sync(NINE + 120)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 90}


def test_a_gateway_whose_totals_begin_again_is_counted_on(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    plugin.sync(NINE)
    _gateway(database, started=NINE + 1, total=1000)
    plugin.sync(NINE + 60)
    database.set_totals("gateway", NINE + 100, Call(input=200, calls=1))
    plugin.sync(NINE + 120)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 1200}


def test_an_estimate_that_vanishes_and_returns_is_not_counted_twice(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    plugin.sync(NINE)
    database.open_session("gateway", NINE + 1)
    for number, usd in enumerate((1.0, 0.0, 1.5), 1):
        database.set_totals("gateway", NINE + number * 60, Call(input=100 * number, calls=number, estimated_usd=usd))
        plugin.sync(NINE + number * 60 + 30)
    assert server.figures("estimated") == {("2026-08-10T09", "gpt-5.4", ""): 1.5}


def test_a_new_database_in_the_same_place_keeps_the_old_usage(
    database: HermesDatabase, plugin: Plugin, server: Server, tmp_path: Path
) -> None:
    plugin.sync(NINE)
    database.open_session("s1", NINE + 1)
    database.call("s1", NINE + 2, Call(input=40))
    plugin.sync(NINE + 60)
    database.path.rename(tmp_path / "old.db")
    other = HermesDatabase(tmp_path / "state.db")
    other.open_session("s1", NINE + 70)
    other.call("s1", NINE + 80, Call(input=3))
    assert plugin.sync(NINE + 120).database_replaced
    other.close()
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 43}


def test_a_session_without_any_time_is_counted_from_then_on_only(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    database.open_session("s1", 0)
    database.set_totals("s1", NINE, Call(input=500))
    assert plugin.sync(NINE + 60).undated == 1
    database.set_totals("s1", NINE + 90, Call(input=510, calls=2))
    plugin.sync(NINE + 120)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 10}


def test_a_call_that_was_written_late_stands_in_its_own_hour(
    database: HermesDatabase, plugin: Plugin, server: Server
) -> None:
    database.open_session("s1", NINE)
    plugin.sync(NINE + HOUR)
    database.call("s1", NINE + HOUR - 2, Call(input=4), Made())
    plugin.sync(NINE + HOUR + 60)
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 4}


def test_a_call_right_after_an_update_of_hermes_stands_in_its_own_hour(tmp_path: Path, server: Server) -> None:
    database = HermesDatabase(tmp_path / "old" / "state.db", "sessions_billing")
    with Plugin(database.path, server) as plugin:
        plugin.sync(NINE)
        database.open_session("gateway", NINE + 1)
        database.set_totals("gateway", NINE + 2, Call(input=40))
        plugin.sync(NINE + HOUR - 1)
        database.update_to("model_usage_task")
        database.set_totals("gateway", NINE + HOUR + 60, Call(input=80, calls=2))
        plugin.sync(NINE + HOUR + 90)
    database.close()
    assert server.figures() == {("2026-08-10T09", "gpt-5.4", ""): 40, ("2026-08-10T10", "gpt-5.4", ""): 40}
