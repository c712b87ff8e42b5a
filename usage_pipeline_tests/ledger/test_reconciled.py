"""A workspace's reconciled day is replaced as a whole; what was believed before is history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.reconciled import (
    COSTS,
    GROUPS,
    CostFigure,
    ReconciledRow,
    ShareRow,
    read_reconciled,
    replace_reconciled,
)
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.measures import RECONCILED_MEASURES
from usage_pipeline_tests.ledger.registering import NOW, register

D = date(2026, 3, 10)
LATER = NOW + timedelta(hours=1)
NO_COST = dict.fromkeys(COSTS, CostFigure(None, None))


@pytest.fixture
def connection(migrated_database: str) -> Iterator[Connection]:
    engine = connect_engine(migrated_database)
    with engine.connect() as connection:
        register(connection)
        yield connection
    engine.dispose()


def cell(model: str = "gpt-5", output: int | None = 1000, usd: str | None = None) -> ReconciledRow:
    figures = {group: {**dict.fromkeys(RECONCILED_MEASURES), "output": output} for group in GROUPS}
    return ReconciledRow(
        provider="openai",
        route="account",
        family="text",
        model=model,
        decision="provider",
        provisional=False,
        covered_until=NOW,
        policy="provider_first",
        rules_version="1",
        alias_version="1",
        lower_bound=("reasoning",),
        figures=figures,
        costs=NO_COST if usd is None else {**NO_COST, "billed": CostFigure(Decimal(usd), "final")},
    )


def replaced(connection: Connection, *rows: ReconciledRow, shares: tuple[ShareRow, ...] = (), now=NOW) -> Changes:  # type: ignore[no-untyped-def]
    of = connection.execute(text("SELECT workspace_id FROM workspaces")).scalar_one()
    return replace_reconciled(connection, of, D, rows, shares, now)


def rows(connection: Connection) -> list[ReconciledRow]:
    return [stored.row for stored in read_reconciled(connection, D, D + timedelta(days=1))]


def history(connection: Connection) -> list[tuple[object, ...]]:
    found = connection.execute(
        text("SELECT model, counted_output, superseded_at FROM reconciled_usage_history ORDER BY superseded_at, model")
    )
    return [tuple(row) for row in found]


def test_what_was_stored_is_read_back_null_as_null_and_zero_as_zero(connection: Connection) -> None:
    wanted = [cell("a", None), cell("b", 0, usd="-0.000000000000000000000000000000000000001")]
    assert replaced(connection, *wanted) == Changes(stored=2)
    assert rows(connection) == wanted


def test_the_same_rows_again_write_nothing_but_the_instant(connection: Connection) -> None:
    replaced(connection, cell("a"), cell("b"))
    before = connection.execute(text("SELECT xmin::text, ctid::text, cell_id FROM reconciled_usage")).all()
    assert replaced(connection, cell("b"), cell("a"), now=LATER) == Changes(unchanged=2)
    assert connection.execute(text("SELECT xmin::text, ctid::text, cell_id FROM reconciled_usage")).all() == before
    assert history(connection) == []
    assert [stored.now for stored in read_reconciled(connection, D, D + timedelta(days=1))] == [LATER, LATER]


def test_a_changed_row_replaces_up_or_down_and_the_old_one_is_history(connection: Connection) -> None:
    replaced(connection, cell(output=1000))
    assert replaced(connection, cell(output=950), now=LATER) == Changes(updated=1)
    assert rows(connection) == [cell(output=950)]
    assert history(connection) == [("gpt-5", 1000, LATER)]


def test_null_is_another_figure_than_zero(connection: Connection) -> None:
    replaced(connection, cell(output=0))
    assert replaced(connection, cell(output=None), now=LATER) == Changes(updated=1)


def test_a_row_that_vanished_is_gone_and_in_the_history(connection: Connection) -> None:
    replaced(connection, cell("a"), cell("b"))
    assert replaced(connection, cell("b"), now=LATER) == Changes(removed=1, unchanged=1)
    assert [row.model for row in rows(connection)] == ["b"]
    assert history(connection) == [("a", 1000, LATER)]
    assert replaced(connection, now=LATER + timedelta(hours=1)) == Changes(removed=1)
    assert rows(connection) == []


def test_another_policy_alone_is_a_change(connection: Connection) -> None:
    replaced(connection, cell())
    assert replaced(connection, replace(cell(), policy="hermes_first")) == Changes(updated=1)


def test_shares_go_with_their_cells(connection: Connection) -> None:
    share = ShareRow(("openai", "account", "text", "gpt-5"), UUID(int=1), "explained", {"output": 800})
    replaced(connection, cell(), shares=(share,))
    assert replaced(connection, cell()) == Changes(unchanged=1)
    assert connection.execute(text("SELECT count(*) FROM reconciled_shares")).scalar_one() == 0
    kept = connection.execute(text("SELECT share, output FROM reconciled_shares_history")).all()
    assert [tuple(row) for row in kept] == [("explained", 800)]


def test_one_cell_twice_is_a_defect(connection: Connection) -> None:
    with pytest.raises(InvariantError, match="duplicate_rows"):
        replaced(connection, cell(), cell())
