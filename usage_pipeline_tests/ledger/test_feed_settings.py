"""Dated settings: which value holds on which UTC day, and what a change writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.feed_settings import (
    DatedSetting,
    disable_feed,
    enable_feed,
    get_settings,
    list_settings,
    set_bills_to,
    set_projects,
    utc_day,
)
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.ledger.registering import NOW, register

TODAY = date(2026, 11, 21)
TOMORROW = date(2026, 11, 22)


@pytest.fixture
def connection(migrated_database: str) -> Iterator[Connection]:
    engine = connect_engine(migrated_database)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def key(connection: Connection) -> ProviderKey:
    return register(connection, projects=("proj_b", "proj_a"))


@given(st.dictionaries(st.dates(), st.integers(), min_size=1, max_size=8), st.dates())
def test_the_newest_value_up_to_the_day_holds_and_before_all_the_first(values: dict[date, int], day: date) -> None:
    setting = DatedSetting(tuple(sorted(values.items())))
    reached = [known for known in values if known <= day]
    assert setting.on(day) == values[max(reached) if reached else min(values)]


def test_a_setting_without_a_value_or_with_a_repeated_day_cannot_be() -> None:
    with pytest.raises(InvariantError):
        DatedSetting(())
    with pytest.raises(InvariantError):
        DatedSetting(((TODAY, 1), (TODAY, 2)))


def test_registering_writes_first_values_that_hold_before_it_too(connection: Connection, key: ProviderKey) -> None:
    told = get_settings(connection, key.feed_id)
    assert told.enabled.values == ((TODAY, True),)
    assert told.projects_on(TODAY) == ("proj_a", "proj_b")
    assert told.bills_to_on(TODAY) == {}
    assert told.enabled_on(date(2020, 1, 1))
    assert told.projects_on(date(2020, 1, 1)) == ("proj_a", "proj_b")


def test_a_feed_is_disabled_from_the_next_utc_day_on(connection: Connection, key: ProviderKey) -> None:
    late_in_new_york = datetime(2026, 11, 21, 19, 30, tzinfo=UTC)
    assert disable_feed(connection, key.feed_id, key.slug, late_in_new_york) == TOMORROW
    told = get_settings(connection, key.feed_id)
    assert told.enabled_on(TODAY)
    assert not told.enabled_on(TOMORROW)
    assert not told.enabled_on(TOMORROW + timedelta(days=400))


def test_disabling_twice_writes_once(connection: Connection, key: ProviderKey) -> None:
    disable_feed(connection, key.feed_id, key.slug, NOW)
    changes = list_changes(connection)
    assert disable_feed(connection, key.feed_id, key.slug, NOW) is None
    assert disable_feed(connection, key.feed_id, key.slug, NOW + timedelta(days=3)) is None
    assert list_changes(connection) == changes


def test_enabling_leaves_the_gap_in_the_history(connection: Connection, key: ProviderKey) -> None:
    disable_feed(connection, key.feed_id, key.slug, NOW)
    assert enable_feed(connection, key.feed_id, key.slug, NOW + timedelta(days=5)) == date(2026, 11, 26)
    told = get_settings(connection, key.feed_id)
    enabled = [told.enabled_on(TODAY + timedelta(days=n)) for n in range(7)]
    assert enabled == [True, False, False, False, False, True, True]


def test_enabling_on_the_day_of_disabling_leaves_no_gap(connection: Connection, key: ProviderKey) -> None:
    disable_feed(connection, key.feed_id, key.slug, NOW)
    enable_feed(connection, key.feed_id, key.slug, NOW)
    assert get_settings(connection, key.feed_id).enabled.values == ((TODAY, True),)


def test_a_scope_changes_from_a_day_on_and_the_former_one_is_remembered(
    connection: Connection, key: ProviderKey
) -> None:
    set_projects(connection, key.feed_id, key.slug, ("proj_c",), TOMORROW, NOW)
    told = get_settings(connection, key.feed_id)
    assert told.projects_on(TODAY) == ("proj_a", "proj_b")
    assert told.projects_on(TOMORROW) == ("proj_c",)
    assert told.projects_ever() == (("proj_a", "proj_b"), ("proj_c",))


def test_a_change_before_the_first_value_replaces_it(connection: Connection, key: ProviderKey) -> None:
    earlier = TODAY - timedelta(days=10)
    set_bills_to(connection, key.feed_id, key.slug, {"openai": "off_account:azure"}, earlier, NOW)
    told = get_settings(connection, key.feed_id)
    assert told.bills_to.values == ((earlier, {"openai": "off_account:azure"}),)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=10).map(sorted))
def test_any_history_of_switching_is_told_as_it_was(
    connection: Connection, key: ProviderKey, commands: list[tuple[int, bool]]
) -> None:
    expected = [True] * 12
    with connection.begin_nested() as one_history:
        for offset, enable in commands:
            at = NOW + timedelta(days=offset)
            (enable_feed if enable else disable_feed)(connection, key.feed_id, key.slug, at)
            first = offset if enable else offset + 1
            expected[first:] = [enable] * (len(expected) - first)
        told = get_settings(connection, key.feed_id)
        one_history.rollback()
    assert [told.enabled_on(TODAY + timedelta(days=offset)) for offset in range(len(expected))] == expected


def test_settings_are_listed_by_feed(connection: Connection, key: ProviderKey) -> None:
    other = register(connection, "second")
    assert set(list_settings(connection)) == {key.feed_id, other.feed_id}
    assert set(list_settings(connection, [other.feed_id])) == {other.feed_id}
    assert list_settings(connection, []) == {}


def test_every_change_is_in_the_audit_log(connection: Connection, key: ProviderKey) -> None:
    disable_feed(connection, key.feed_id, key.slug, NOW)
    newest = list_changes(connection, key.slug)[-1]
    assert (newest.what, newest.at) == ("enabled_set", NOW)
    assert newest.detail == {"value": False, "effective_from": "2026-11-22"}


def test_a_day_is_the_utc_day() -> None:
    assert utc_day(datetime.fromisoformat("2026-11-21T23:30:00-02:00")) == TOMORROW
