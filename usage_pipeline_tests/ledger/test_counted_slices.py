"""The decision about each slice, stored with the reconciliation; and the migration that brings its tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from usage_pipeline.ledger.counted_slices import CountedSlice, replace_counted_slices
from usage_pipeline.ledger.migrate import downgrade, upgrade
from usage_pipeline.ledger.reconciled import lock_reconciliation
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.ledger.older_schema import workspace_of_before

D = date(2026, 3, 10)
NOW = datetime(2026, 3, 14, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WHOLE = CountedSlice(1, True, "text", "account", "org-acme")
PARTLY = CountedSlice(1, True, "text", "account", "org-acme", frozenset({"proj_b", "proj_a"}), frozenset({"openai"}))
SHADOWED = CountedSlice(2, False, "text", "account", "org-acme")


@pytest.fixture
def connection(migrated_database: str) -> Iterator[Connection]:
    engine = connect_engine(migrated_database)
    with engine.begin() as made:
        yield made
    engine.dispose()


def reconciliation(connection: Connection) -> int:
    return lock_reconciliation(connection, workspace_of_before(connection, NOW), D)[0]


def test_a_decision_is_replaced_whole_and_keeps_what_it_was(connection: Connection) -> None:
    id_ = reconciliation(connection)
    assert replace_counted_slices(connection, id_, [WHOLE, SHADOWED], NOW) == Changes(stored=2)
    assert replace_counted_slices(connection, id_, [PARTLY], LATER) == Changes(updated=1, removed=1)
    (row,) = connection.execute(text("SELECT counts, excluded_projects, excluded_upstreams FROM counted_slices"))
    assert tuple(row) == (True, ["proj_a", "proj_b"], ["openai"])
    kept = connection.execute(
        text("SELECT slice_id, counts, recorded_at, superseded_at FROM counted_slices_history ORDER BY slice_id")
    )
    assert [tuple(one) for one in kept] == [(1, True, NOW, LATER), (2, False, NOW, LATER)]


def test_the_same_decision_again_writes_nothing(connection: Connection) -> None:
    id_ = reconciliation(connection)
    assert replace_counted_slices(connection, id_, [], NOW) == Changes()
    replace_counted_slices(connection, id_, [PARTLY, SHADOWED], NOW)
    again = [
        SHADOWED,
        CountedSlice(1, True, "text", "account", "org-acme", PARTLY.excluded_projects, frozenset({"openai"})),
    ]
    assert replace_counted_slices(connection, id_, again, LATER) == Changes(unchanged=2)
    assert connection.execute(text("SELECT count(*) FROM counted_slices_history")).scalar_one() == 0


def test_downgrading_takes_lower_bounds_out_and_keeps_all_other_shares(empty_database: str) -> None:
    upgrade(empty_database, "0009")
    engine = connect_engine(empty_database)
    with engine.begin() as made:
        id_ = reconciliation(made)
        made.execute(
            text(
                "INSERT INTO reconciled_shares"
                " (reconciliation_id, share_id, recorded_at, cell_id, event_id, share, output)"
                " SELECT :id, gen_random_uuid(), :now, gen_random_uuid(), gen_random_uuid(), share, 7"
                " FROM unnest(ARRAY['explained', 'lower_bound']) AS share"
            ),
            {"id": id_, "now": NOW},
        )
    downgrade(empty_database, "0008")
    with engine.begin() as made:
        shares = made.execute(
            text("SELECT share, share_count FROM reconciled_shares JOIN reconciliations USING (reconciliation_id)")
        )
        assert [tuple(row) for row in shares] == [("explained", 1)]
        assert made.execute(text("SELECT to_regclass('counted_slices')")).scalar_one() is None
    engine.dispose()
    upgrade(empty_database, "0009")
