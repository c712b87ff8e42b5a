"""Prices in force as stored, and what the migration makes of days that were reconciled before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.migrate import downgrade, upgrade
from usage_pipeline.ledger.prices_in_force import (
    asked_without_price,
    drop_from_force,
    keep_in_force,
    load_in_force,
    load_in_force_of_days,
)
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline_tests.ledger.older_schema import workspace_of_before

DAY = date(2026, 3, 10)
NEXT = DAY + timedelta(days=1)
NOW = datetime(2026, 3, 11, tzinfo=UTC)


def quote(model: str = "gpt-5", usd: str | None = "10", version: str = "list 1", day: date = DAY) -> PriceQuote:
    rates = None if usd is None else Rates(output=Decimal(usd))
    return PriceQuote("openai", model, PriceVariant(batch="true"), day, rates, version, "base tier")


@pytest.fixture
def connection(migrated_database: str) -> Iterator[sa.Connection]:
    engine = connect_engine(migrated_database)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


@pytest.fixture
def acme(connection: sa.Connection) -> int:
    return add_workspace(connection, "acme", name=None, now=NOW).workspace_id


def test_what_has_rates_is_in_force_for_its_workspace_and_day_alone(connection: sa.Connection, acme: int) -> None:
    priced, unpriced = quote(), quote("gpt-99", None)
    beta = add_workspace(connection, "beta", name=None, now=NOW).workspace_id
    keep_in_force(connection, acme, DAY, [priced, unpriced], {})
    assert load_in_force(connection, acme, DAY) == {priced.key: priced}
    assert load_in_force_of_days(connection, acme, DAY, NEXT) == {DAY: {priced.key: priced}}
    assert load_in_force(connection, acme, NEXT) == load_in_force(connection, beta, DAY) == {}


def test_what_stands_is_not_written_again_and_what_is_new_takes_its_place(connection: sa.Connection, acme: int) -> None:
    keep_in_force(connection, acme, DAY, [quote()], {})
    standing = load_in_force(connection, acme, DAY)
    versions = sa.text("SELECT xmin::text, ctid::text FROM prices_in_force")
    before = connection.execute(versions).all()
    keep_in_force(connection, acme, DAY, [quote()], standing)
    assert connection.execute(versions).all() == before
    newer = quote(usd="9", version="list 2")
    keep_in_force(connection, acme, DAY, [newer], standing)
    assert load_in_force(connection, acme, DAY) == {newer.key: newer}


def test_dropping_takes_out_of_force_and_forgets_no_quote(connection: sa.Connection, acme: int) -> None:
    other = quote("gpt-4o")
    keep_in_force(connection, acme, DAY, [quote(), other], {})
    drop_from_force(connection, acme, DAY, [quote().key])
    assert load_in_force(connection, acme, DAY) == {other.key: other}
    assert connection.execute(sa.text("SELECT count(*) FROM prices")).scalar() == 2


def test_what_had_no_price_is_told_for_reconciled_days_while_none_is_in_force(
    connection: sa.Connection, acme: int
) -> None:
    missing = quote("gpt-99", None)
    keep_in_force(connection, acme, DAY, [missing, quote()], {})
    assert asked_without_price(connection, acme, DAY, NEXT) == {}
    connection.execute(
        sa.text("INSERT INTO reconciliations (workspace_id, day) VALUES (:acme, :day)"), {"acme": acme, "day": DAY}
    )
    assert asked_without_price(connection, acme, DAY, NEXT) == {DAY: [missing.key]}
    keep_in_force(connection, acme, DAY, [quote("gpt-99", "1", "list 2")], {})
    assert asked_without_price(connection, acme, DAY, NEXT) == {}


def test_days_reconciled_before_keep_the_newest_price_and_the_way_back_is_clean(empty_database: str) -> None:
    upgrade(empty_database, "0006")
    engine = connect_engine(empty_database)
    with engine.begin() as connection:
        before = set(sa.inspect(connection).get_table_names())
        _reconciled_before(connection)
    upgrade(empty_database, "0007")
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT f.day, p.model, p.version FROM prices_in_force AS f JOIN prices AS p USING (price_id)")
        )
        # Of two versions the newest; nothing without rates, of a day that is not reconciled, or of another vendor.
        assert sorted(map(tuple, rows)) == [(DAY, "gpt-4o", "list 2"), (DAY, "gpt-5", "list 2")]
        versions = connection.execute(sa.text("SELECT model, cost_computed_version FROM reconciled_usage"))
        assert {tuple(row) for row in versions} == {("gpt-5", "list 2"), ("gpt-99", None)}
    downgrade(empty_database, "0006")
    with engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == before
        assert connection.execute(sa.text("SELECT count(*) FROM prices")).scalar() == 6
        names = {column["name"] for column in sa.inspect(connection).get_columns("reconciled_usage")}
        assert "cost_computed_version" not in names
    engine.dispose()


def _reconciled_before(connection: sa.Connection) -> None:
    workspace_of_before(connection, NOW)
    for provider, model, day, version, rates in (
        ("openai", "gpt-5", DAY, "list 1", '{"output":"10"}'),
        ("openai", "gpt-5", DAY, "list 2", '{"output":"9"}'),
        ("openai", "gpt-4o", DAY, "list 2", '{"output":"9"}'),
        ("openai", "gpt-99", DAY, "list 2", None),
        ("openai", "gpt-5", NEXT, "list 2", '{"output":"9"}'),
        ("xai", "grok-4", DAY, "list 2", '{"output":"9"}'),
    ):
        connection.execute(
            sa.text(
                "INSERT INTO prices (provider, model, variant, day, rates, version, basis) VALUES"
                " (:provider, :model, 'standard', :day, CAST(:rates AS jsonb), :version, 'base tier')"
            ),
            {"provider": provider, "model": model, "day": day, "version": version, "rates": rates},
        )
    reconciliation = connection.execute(
        sa.text("INSERT INTO reconciliations (workspace_id, day) VALUES (1, :day) RETURNING reconciliation_id"),
        {"day": DAY},
    ).scalar_one()
    for model, usd in (("gpt-5", Decimal(9)), ("gpt-99", None)):
        connection.execute(
            sa.text(
                "INSERT INTO reconciled_usage (reconciliation_id, cell_id, recorded_at, provider, route, family, model,"
                " decision, provisional, policy, rules_version, alias_version, lower_bound, cost_computed_usd,"
                " cost_computed_basis) VALUES (:id, gen_random_uuid(), now(), 'openai', 'account', 'text', :model,"
                " 'provider', false, 'provider_first', '1', '1', '{}', :usd, 'base tier')"
            ),
            {"id": reconciliation, "model": model, "usd": usd},
        )
