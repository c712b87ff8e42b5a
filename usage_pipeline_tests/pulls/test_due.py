"""Which days are due: derived from what was pulled and how a key was set, on a real database, without a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.ledger.feed_settings import (
    DatedSetting,
    FeedSettings,
    disable_feed,
    enable_feed,
    set_projects,
)
from usage_pipeline.ledger.provider_keys import (
    NewProviderKey,
    ProviderKey,
    add_provider_key,
    get_provider_key,
    store_account,
    store_secret,
)
from usage_pipeline.ledger.pulls import NewPull, record_complete_pull, record_failed_pull
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.slices import note_attempt
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.providers.registry import providers
from usage_pipeline.pulls.due import DuePull, due_pulls, wanted_days
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import days_between

REGISTERED = datetime(2025, 3, 10, 9, tzinfo=UTC)
TODAY = date(2025, 3, 10)
EARLIEST = date(2024, 1, 1)
PROVIDERS = {provider.name: provider for provider in providers()}
ENDPOINTS = [e.name for e in PROVIDERS["openai"].endpoints if "admin" in e.modes and not e.informational]
DAY = timedelta(days=1)


@dataclass
class Ledger:
    """A key ``acme.openai.main`` without a past, registered at noon of the tenth; depth is five days."""

    engine: sa.Engine
    key: ProviderKey
    settings: Settings = field(default_factory=lambda: Settings(backfill_days_first=5))

    def due(self, now: datetime) -> list[DuePull]:
        with self.engine.connect() as connection:
            self.key = get_provider_key(connection, self.key.slug)
            return due_pulls(connection, [self.key], self.settings, PROVIDERS, now, earliest=EARLIEST, days_max=31)

    def spans(self, now: datetime) -> list[tuple[date, date]]:
        return [(one.first_day, one.end_day) for one in self.due(now)]

    def pull(self, first: date, end: date, at: datetime, *, projects: Sequence[str] = (), error: str = "") -> None:
        """A pull of every endpoint, complete or failed."""
        with self.engine.begin() as connection:
            for endpoint in ENDPOINTS:
                told = (error, error) if error else None
                pull = NewPull(self.key.feed_id, endpoint, first, end, 3600, (), projects, at, at, 1, 0.0, error=told)
                if error:
                    record_failed_pull(connection, pull)
                else:
                    record_complete_pull(connection, pull, dict.fromkeys(days_between(first, end), b"x"), [])
                note_attempt(connection, self.key.feed_id, endpoint, days_between(first, end), at, told)


@pytest.fixture
def ledger(migrated_database: str) -> Iterator[Ledger]:
    engine = connect_engine(migrated_database)
    with engine.begin() as connection:
        acme = add_workspace(connection, "acme", name=None, now=REGISTERED)
        new = NewProviderKey(
            acme, "openai", "main", "admin", None, (), "1h", "https://api.openai.com/v1", None, "env:OPENAI"
        )
        key = add_provider_key(connection, new, REGISTERED)
    yield Ledger(engine, key)
    engine.dispose()


def test_a_new_key_owes_as_many_days_as_the_depth_says_and_each_pulled_one_less(ledger: Ledger) -> None:
    assert ledger.spans(REGISTERED) == [(date(2025, 3, 6), date(2025, 3, 11))]
    ledger.pull(date(2025, 3, 6), date(2025, 3, 9), REGISTERED)
    # The two days left are younger than a missing window, and the key is being pulled: the schedules are at them.
    assert ledger.spans(REGISTERED) == []
    # By then the seventh and the eighth have settled too, and were last read before.
    assert ledger.spans(REGISTERED + 3 * DAY) == [(date(2025, 3, 7), date(2025, 3, 14))]


def test_a_deeper_setting_makes_more_of_the_past_due(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED)
    assert ledger.due(REGISTERED) == []
    ledger.settings = Settings(backfill_days_first=40)
    assert ledger.spans(REGISTERED) == [(date(2025, 1, 30), date(2025, 3, 2)), (date(2025, 3, 2), date(2025, 3, 6))]


def test_a_day_without_a_final_answer_is_due_when_it_has_settled(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED)
    later = datetime(2025, 3, 14, 1, tzinfo=UTC)
    ledger.pull(date(2025, 3, 10), date(2025, 3, 15), later)
    # The ninth ended 96 hours before that pull, but was last read on the tenth; the sixth was final then.
    assert ledger.spans(later + timedelta(hours=1)) == [(date(2025, 3, 7), date(2025, 3, 10))]


def test_what_lies_beyond_the_provider_s_reach_is_owed_by_nobody(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED, error="lookback_exceeded")
    assert ledger.due(REGISTERED) == []


def test_a_re_enabled_key_owes_what_it_missed_within_the_depth(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED)
    with ledger.engine.begin() as connection:
        disable_feed(connection, ledger.key.feed_id, ledger.key.slug, REGISTERED)
    back = datetime(2025, 3, 31, 8, tzinfo=UTC)
    with ledger.engine.begin() as connection:
        enable_feed(connection, ledger.key.feed_id, ledger.key.slug, back)
    [due] = ledger.due(back)
    # The days until the pause are not final yet; of the pause, five days; from today on it is enabled.
    assert (due.first_day, due.end_day) == (date(2025, 3, 7), date(2025, 4, 1))
    ledger.pull(date(2025, 3, 7), date(2025, 3, 11), back)
    assert ledger.spans(back + timedelta(hours=20)) == [(date(2025, 3, 26), date(2025, 3, 31))]


def test_days_that_were_pulled_under_another_scope_are_due_and_a_new_cause(ledger: Ledger) -> None:
    settled = datetime(2025, 3, 15, tzinfo=UTC)
    ledger.pull(date(2025, 3, 6), date(2025, 3, 16), settled)
    with ledger.engine.begin() as connection:
        set_projects(connection, ledger.key.feed_id, ledger.key.slug, ["proj_a"], date(2025, 3, 12), settled)
    assert ledger.spans(settled) == [(date(2025, 3, 12), date(2025, 3, 16))]
    ledger.pull(date(2025, 3, 12), date(2025, 3, 16), settled + timedelta(hours=1), projects=["proj_a"])
    assert ledger.due(settled + timedelta(hours=1)) == []


def test_days_that_were_reconciled_under_a_former_account_are_due(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED)
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("UPDATE slices SET observed_at = :at WHERE day = '2025-03-07'"), {"at": REGISTERED})
        connection.execute(
            sa.text("INSERT INTO reconciliations (workspace_id, day, now) VALUES (:workspace, '2025-03-07', :at)"),
            {"workspace": ledger.key.workspace_id, "at": REGISTERED},
        )
        told_at = REGISTERED + timedelta(minutes=1)
        store_account(connection, ledger.key, "org-acme", told_at, stated=False, told="org-acme")
    [due] = ledger.due(REGISTERED + timedelta(minutes=2))
    assert (due.first_day, due.end_day) == (date(2025, 3, 7), date(2025, 3, 8))
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("UPDATE reconciliations SET now = now + interval '1 hour'"))
    assert ledger.due(REGISTERED + timedelta(minutes=2)) == []


def test_a_cause_stays_the_same_while_a_key_is_refused_and_changes_with_its_secret(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED, error="credential_refused")
    [due] = ledger.due(REGISTERED)
    [next_day] = ledger.due(REGISTERED + DAY)
    assert (due.cause, due.worth_retrying) == (next_day.cause, False)
    with ledger.engine.begin() as connection:
        store_secret(
            connection, ledger.key, secret_sealed=None, secret_reference="env:NEW", secret_version=2, now=REGISTERED
        )
    [rotated] = ledger.due(REGISTERED + DAY)
    assert rotated.cause != due.cause
    assert (rotated.first_day, rotated.end_day) == (date(2025, 3, 6), date(2025, 3, 12))


def test_what_failed_is_worth_retrying_when_the_key_answered_since(ledger: Ledger) -> None:
    ledger.pull(date(2025, 3, 6), date(2025, 3, 11), REGISTERED, error="provider_unavailable")
    ledger.pull(date(2025, 3, 10), date(2025, 3, 11), REGISTERED + timedelta(hours=1))
    [due] = ledger.due(REGISTERED + timedelta(hours=2))
    assert (due.first_day, due.end_day, due.worth_retrying) == (date(2025, 3, 6), date(2025, 3, 9), True)


_SWITCHES = st.lists(
    st.tuples(st.dates(date(2025, 3, 1), date(2025, 5, 1)), st.booleans()), min_size=1, unique_by=lambda one: one[0]
)


@given(_SWITCHES, st.integers(1, 40), st.dates(date(2025, 3, 1), date(2025, 5, 1)))
def test_enabled_days_are_wanted_and_of_a_pause_only_its_last_days(
    switches: list[tuple[date, bool]], depth: int, today: date
) -> None:
    enabled = DatedSetting(((date(2025, 2, 20), True), *sorted(switches)))
    nothing = DatedSetting(((date(2025, 2, 20), []),))
    first = date(2025, 2, 10)
    wanted = {
        day
        for first_day, end_day, _ in wanted_days(FeedSettings(enabled, nothing, nothing), first, today, depth)
        for day in days_between(first_day, end_day)
    }
    on = [day for day in days_between(first, today + DAY) if enabled.on(day) is True]
    assert set(on) <= wanted
    assert all(first <= day <= today for day in wanted)
    for day in wanted - set(on):
        assert any(day < later <= day + depth * DAY for later in on)
