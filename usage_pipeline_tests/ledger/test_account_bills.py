"""Compared bills as stored: written when something differs, read as they stood; and the migration that brings them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, text

from usage_pipeline.ledger.account_bills import ComparedBill, read_bills, replace_bills
from usage_pipeline.ledger.migrate import downgrade, upgrade
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace, get_workspace
from usage_pipeline_tests.ledger.older_schema import workspace_of_before

D = date(2026, 3, 10)
NOW = datetime(2026, 3, 14, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ODD = Decimal("9.000000000000000000000000000000000000001")
BILL = ComparedBill(
    provider="openai",
    account="org-acme",
    route="account",
    final=True,
    billed_usd=ODD,
    computed_usd=None,
    compared_billed_usd=ODD,
    compared_computed_usd=Decimal(10),
    unpriced=("gpt-99 standard: unpriced",),
    difference_usd=Decimal(1),
    tolerance_usd=Decimal("0.18"),
    agrees=False,
    reason="unknown",
    reason_usd=Decimal(0),
    reason_words="nobody knows",
    price_versions=("1", "2"),
)


@pytest.fixture
def connection(migrated_database: str) -> Iterator[Connection]:
    engine = connect_engine(migrated_database)
    with engine.begin() as made:
        add_workspace(made, "acme", name=None, now=NOW)
        yield made
    engine.dispose()


def stored(connection: Connection, *bills: ComparedBill, now: datetime = NOW) -> Changes:
    return replace_bills(connection, get_workspace(connection, "acme").workspace_id, D, bills, now)


def read(connection: Connection, as_of: datetime | None = None) -> list[ComparedBill]:
    return [one.bill for one in read_bills(connection, D, D + timedelta(days=1), "acme", as_of=as_of)]


def test_a_bill_is_read_as_it_was_stored_and_as_it_stood(connection: Connection) -> None:
    other = replace(BILL, agrees=None, reason=None, reason_usd=None, reason_words=None, billed_usd=None, unpriced=())
    assert stored(connection, BILL) == Changes(stored=1)
    assert stored(connection, BILL, now=LATER) == Changes(unchanged=1)
    assert read(connection) == [BILL]
    assert stored(connection, other, now=LATER) == Changes(updated=1)
    assert (read(connection), read(connection, NOW), read(connection, LATER)) == ([other], [BILL], [other])
    assert stored(connection, now=LATER + timedelta(hours=1)) == Changes(removed=1)
    assert (read(connection), read(connection, LATER)) == ([], [other])
    assert stored(connection, now=LATER) == Changes()


def test_the_migration_keeps_the_findings_of_before_and_goes_back(empty_database: str) -> None:
    upgrade(empty_database, "0009")
    engine = connect_engine(empty_database)
    try:
        with engine.begin() as connection:
            workspace_of_before(connection, NOW)
            connection.execute(
                text(
                    "INSERT INTO findings (identity, code, workspace_id, day, explanation, first_seen, changed_at)"
                    " SELECT 'x', 'totals_off', workspace_id, :day, 'off', :now, :later FROM workspaces"
                ),
                {"day": D, "now": NOW, "later": LATER},
            )
        before = {table: sa.inspect(engine).get_columns(table) for table in ("findings", "reconciliations")}
        upgrade(empty_database, "0010")
        with engine.begin() as connection:
            row = connection.execute(text("SELECT evidence, stated_at, explanation FROM findings")).one()
        assert tuple(row) == ([], NOW, "off")
        downgrade(empty_database, "0009")
        tables = set(sa.inspect(engine).get_table_names())
        assert not {"account_bills", "account_bill_history", "finding_history"} & tables
        after = {table: sa.inspect(engine).get_columns(table) for table in before}
        assert str(after) == str(before)
        with engine.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM findings")).scalar_one() == 1
    finally:
        engine.dispose()
