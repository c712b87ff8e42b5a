"""Overrides as stored: kept for good, never two for one day, and every change on record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import sqlalchemy as sa

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.price_overrides import add_override, end_override, list_overrides, load_overrides
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.pricing.overrides import EVERY_MODEL, PriceOverride
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIRST, JULY = date(2026, 1, 1), date(2026, 7, 1)
RATES = Rates(uncached_input=Decimal("1.10"), output=Decimal("0.000000001"))


@pytest.fixture
def connection(migrated_database: str) -> Iterator[sa.Connection]:
    engine = connect_engine(migrated_database)
    with engine.begin() as opened:
        for slug in ("acme", "beta"):
            add_workspace(opened, slug, name=None, now=NOW)
        yield opened
    engine.dispose()


def test_an_override_comes_back_as_it_was_given(connection: sa.Connection) -> None:
    batch = PriceVariant(batch="true")
    given = [
        PriceOverride(0, "openai", "gpt-5", RATES, FIRST, JULY, batch, workspace="acme"),
        PriceOverride(0, "anthropic", EVERY_MODEL, None, FIRST, None, None, Decimal("0.875")),
    ]
    stored = [add_override(connection, one, "contract 7", NOW) for one in given]
    acme = int(connection.execute(sa.text("SELECT workspace_id FROM workspaces WHERE slug = 'acme'")).scalar_one())
    assert load_overrides(connection, acme) == tuple(stored)
    assert load_overrides(connection, acme + 1) == load_overrides(connection, None) == (stored[1],)
    assert [one.override_id for one in list_overrides(connection, "beta")] == [stored[1].override_id]
    assert {one.note for one in list_overrides(connection)} == {"contract 7"}


def test_two_for_the_same_days_are_refused_and_nothing_is_written(connection: sa.Connection) -> None:
    add_override(connection, PriceOverride(0, "openai", "gpt-5", RATES, FIRST, JULY), "", NOW)
    with pytest.raises(InvalidInputError, match=r"price_overrides_overlap.*override 1 holds for standard"):
        add_override(connection, PriceOverride(0, "openai", "GPT-5", RATES, date(2026, 6, 30)), "", NOW)
    assert len(list_overrides(connection)) == 1
    # Another workspace, another variant, or the day after is no overlap.
    for other in (
        PriceOverride(0, "openai", "gpt-5", RATES, FIRST, workspace="acme"),
        PriceOverride(0, "openai", "gpt-5", RATES, FIRST, None, PriceVariant(service_tier="flex")),
        PriceOverride(0, "openai", "gpt-5", RATES, JULY),
    ):
        add_override(connection, other, "", NOW)
    assert len(list_overrides(connection)) == 4


def test_an_end_leaves_the_days_before_it(connection: sa.Connection) -> None:
    stored = add_override(connection, PriceOverride(0, "openai", "gpt-5", RATES, FIRST), "", NOW)
    ended = end_override(connection, stored.override_id, JULY, LATER)
    assert ended.override is not None
    assert (ended.override.effective_to, ended.ended_at, ended.override.rates) == (JULY, LATER, RATES)
    add_override(connection, PriceOverride(0, "openai", "gpt-5", RATES, JULY), "", LATER)


def test_an_end_on_the_first_day_takes_it_back_and_it_stays_on_record(connection: sa.Connection) -> None:
    stored = add_override(connection, PriceOverride(0, "openai", "gpt-5", RATES, FIRST, JULY), "", NOW)
    assert end_override(connection, stored.override_id, FIRST, LATER).override is None
    assert load_overrides(connection, None) == ()
    (kept,) = list_overrides(connection)
    assert (kept.override, kept.described.rates) == (None, RATES)
    with pytest.raises(InvalidInputError, match=r"price_override_ended.*taken back"):
        end_override(connection, stored.override_id, FIRST, LATER)


@pytest.mark.parametrize("on", [date(2025, 12, 31), JULY, date(2027, 1, 1)])
def test_it_can_end_on_its_own_days_only(connection: sa.Connection, on: date) -> None:
    stored = add_override(connection, PriceOverride(0, "openai", "gpt-5", RATES, FIRST, JULY), "", NOW)
    with pytest.raises(InvalidInputError, match="price_override_ended"):
        end_override(connection, stored.override_id, on, LATER)
    with pytest.raises(InvalidInputError, match="price_override_unknown"):
        end_override(connection, 99, FIRST, LATER)


def test_every_change_is_on_record(connection: sa.Connection) -> None:
    given = PriceOverride(0, "openai", EVERY_MODEL, None, FIRST, None, None, Decimal("0.85"), "acme")
    stored = add_override(connection, given, "contract 7", NOW)
    end_override(connection, stored.override_id, JULY, LATER)
    added, ended = list_changes(connection, stored.name)
    assert (added.what, added.at, added.detail["factor"]) == ("price_override_added", NOW, "0.85")
    assert (added.detail["workspace"], added.detail["note"]) == ("acme", "contract 7")
    assert (ended.what, ended.at) == ("price_override_ended", LATER)
    assert (ended.detail["effective_to"], ended.detail["before"]) == ("2026-07-01", None)
