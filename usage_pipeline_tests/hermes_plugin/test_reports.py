"""What a report covers, when a day is sent again, and the digits of its numbers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_pipeline_hermes.counts import nano_usd_from
from usage_pipeline_hermes.ledger import open_ledger
from usage_pipeline_hermes.payload import encode_json, payload_of
from usage_pipeline_tests.hermes_plugin.hermes_database import Call, HermesDatabase, Made
from usage_pipeline_tests.hermes_plugin.replica import Plugin, Server, moment

NINE = moment("2026-08-10T09:00:00")
DAY = 86_400


@pytest.fixture
def database(tmp_path: Path) -> Iterator[HermesDatabase]:
    database = HermesDatabase(tmp_path / "state.db")
    yield database
    database.close()


def _used(database: HermesDatabase, at: float, session: str) -> None:
    database.open_session(session, at)
    database.call(session, at + 1, Call())


def test_days_before_anything_is_known_are_not_covered(database: HermesDatabase) -> None:
    server = Server()
    _used(database, NINE - 2 * DAY, "s1")
    with Plugin(database.path, server) as plugin:
        plugin.sync(NINE)
    assert sorted(server.days) == [date(2026, 8, 8), date(2026, 8, 9), date(2026, 8, 10)]


def test_no_day_beyond_days_back_is_covered(database: HermesDatabase) -> None:
    server = Server()
    _used(database, NINE - 50 * DAY, "s1")
    with Plugin(database.path, server, USAGE_PIPELINE_DAYS_BACK="7") as plugin:
        plugin.sync(NINE)
    assert (min(server.days), len(server.days)) == (date(2026, 8, 4), 7)


def test_a_long_window_is_cut_into_reports_of_a_month(database: HermesDatabase) -> None:
    server = Server()
    _used(database, NINE - 300 * DAY, "s1")
    with Plugin(database.path, server, USAGE_PIPELINE_DAYS_BACK="365") as plugin:
        plugin.sync(NINE)
    assert len(server.days) == 301
    assert len(server.batches) == 10


def test_an_empty_hermes_reports_an_idle_today(database: HermesDatabase) -> None:
    server = Server()
    with Plugin(database.path, server) as plugin:
        plugin.sync(NINE)
    (batch,) = server.batches
    assert (batch.covered_days, batch.rows) == ((date(2026, 8, 10), date(2026, 8, 11)), ())


def test_an_unchanged_day_is_sent_again_once_a_day_and_today_always(database: HermesDatabase) -> None:
    server = Server()
    _used(database, NINE - 2 * DAY, "s1")
    with Plugin(database.path, server) as plugin:
        plugin.sync(NINE)
        plugin.sync(NINE + 900)
        assert server.batches[-1].covered_days == (date(2026, 8, 10), date(2026, 8, 11))
        plugin.sync(NINE + 1800, full=True)
        assert server.batches[-1].covered_days == (date(2026, 8, 8), date(2026, 8, 11))
        plugin.sync(NINE + DAY)
        assert server.batches[-1].covered_days == (date(2026, 8, 8), date(2026, 8, 12))


def test_the_revision_grows_even_when_the_ledger_was_lost(database: HermesDatabase, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "a.db") as ledger:
        given_out = [ledger.next_revision(NINE) for _ in range(3)]
    with open_ledger(tmp_path / "a.db") as ledger:
        given_out.append(ledger.next_revision(NINE))
    with open_ledger(tmp_path / "b.db") as ledger:
        given_out.append(ledger.next_revision(NINE + 900))
    assert given_out == sorted(set(given_out))


def test_a_heartbeat_is_accepted_and_covers_nothing(database: HermesDatabase) -> None:
    with Plugin(database.path, Server()) as plugin:
        body = encode_json(payload_of(None, plugin.config, 5, NINE))
        batch = Server().take(body, NINE)
    assert (batch.heartbeat, batch.rows) == (True, ())


def test_costs_have_no_artefacts_of_floats(database: HermesDatabase) -> None:
    server = Server()
    with Plugin(database.path, server) as plugin:
        plugin.sync(NINE)
        database.open_session("s1", NINE)
        for number in range(10):
            database.call("s1", NINE + number, Call(estimated_usd=0.1))
        plugin.sync(NINE + 60)
    assert server.figures("estimated") == {("2026-08-10T09", "gpt-5.4", ""): Decimal("1")}


@given(st.integers(0, 10**15))
def test_a_cost_keeps_every_nano_dollar(nano: int) -> None:
    assert nano_usd_from(nano / 10**9) == nano
    assert json.loads(encode_json(Decimal(nano) / 10**9), parse_float=Decimal, parse_int=Decimal) * 10**9 == nano


@pytest.mark.parametrize("value", [None, "free", b"1", float("nan"), float("inf"), True])
def test_what_is_no_cost_is_none(value: object) -> None:
    assert nano_usd_from(value) is None


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_model_is_called_the_payload_is_accepted(model: str, task: str) -> None:
    def storable(text: str) -> str:
        return text.encode("utf-8", "replace").decode().replace("\0", "")

    with tempfile.TemporaryDirectory() as folder:
        database = HermesDatabase(Path(folder) / "state.db")
        server = Server()
        try:
            with Plugin(database.path, server) as plugin:
                plugin.sync(NINE)
                database.open_session("s1", NINE)
                made = Made(storable(model), storable(task), storable(model), storable(task))
                database.auxiliary("s1", NINE + 1, Call(input=7), made, storable(task))
                plugin.sync(NINE + 2)
        finally:
            database.close()
        assert sum(server.figures().values()) == 7
