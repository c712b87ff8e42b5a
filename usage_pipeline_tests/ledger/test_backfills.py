"""What is kept of a backfill, so that one that was stopped can go on; and that only one process does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.backfills import (
    RECONCILING,
    Backfill,
    BackfillStep,
    StepState,
    done_steps,
    finish_backfill,
    held,
    record_step,
    start_backfill,
    unfinished_backfills,
)
from usage_pipeline.ledger.migrate import current_revision, downgrade, upgrade
from usage_pipeline.ledger.server import connect_engine

NOW = datetime(2026, 3, 12, 12, tzinfo=UTC)
FIRST, MIDDLE, END = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
KEYS = ("acme.openai.main", "acme.anthropic.main")


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


def begun(engine: sa.Engine, first: date = FIRST, keys: tuple[str, ...] = KEYS) -> Backfill:
    with engine.begin() as connection:
        return start_backfill(connection, first, END, keys, NOW)


def ended(engine: sa.Engine, backfill: Backfill, step: BackfillStep, state: StepState = "done") -> None:
    with engine.begin() as connection:
        record_step(connection, backfill.backfill_id, step, state, "run", NOW)


def unfinished(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return [one.backfill_id for one in unfinished_backfills(connection)]


def done(engine: sa.Engine, backfill: Backfill) -> frozenset[BackfillStep]:
    with engine.connect() as connection:
        return done_steps(connection, backfill.backfill_id)


def pull(key: str = KEYS[0], first: date = FIRST, end: date = MIDDLE) -> BackfillStep:
    return BackfillStep(key, first, end)


def reconciling(first: date = FIRST, end: date = MIDDLE) -> BackfillStep:
    return BackfillStep(RECONCILING, first, end)


def test_an_unfinished_backfill_comes_back_as_it_was_begun(engine: sa.Engine) -> None:
    backfill = begun(engine)
    ended(engine, backfill, pull())
    ended(engine, backfill, pull(KEYS[1]), "failed")
    with engine.connect() as connection:
        [found] = unfinished_backfills(connection)
    assert (found.first_day, found.end_day, found.key_slugs) == (FIRST, END, KEYS)
    assert (found.started_at, found.steps_done) == (NOW, 1)


def test_a_backfill_of_no_keys_is_the_same_work_as_another_of_none_only(engine: sa.Engine) -> None:
    one, _ = begun(engine, keys=()), begun(engine)
    with engine.begin() as connection:
        finish_backfill(connection, begun(engine, keys=()), NOW)
        [left] = unfinished_backfills(connection)
    assert left.key_slugs == KEYS
    assert not left.same_work(one)


def test_a_step_that_went_through_at_the_second_time_is_done(engine: sa.Engine) -> None:
    backfill = begun(engine)
    ended(engine, backfill, pull(), "failed")
    assert done(engine, backfill) == frozenset()
    ended(engine, backfill, pull())
    assert done(engine, backfill) == {pull()}


@pytest.mark.parametrize("state", ["done", "failed"])
def test_after_a_pull_its_days_are_to_be_reconciled_anew_and_no_others(engine: sa.Engine, state: StepState) -> None:
    backfill, other = begun(engine), begun(engine)
    for one in (backfill, other):
        ended(engine, one, reconciling())
        ended(engine, one, reconciling(MIDDLE, END))
    ended(engine, backfill, pull(), state)
    assert reconciling() not in done(engine, backfill)
    assert reconciling(MIDDLE, END) in done(engine, backfill)
    assert done(engine, other) == {reconciling(), reconciling(MIDDLE, END)}


def test_the_newest_is_first_and_a_finished_one_is_none(engine: sa.Engine) -> None:
    one, two, three = begun(engine), begun(engine, MIDDLE), begun(engine, keys=KEYS[:1])
    assert unfinished(engine) == [three.backfill_id, two.backfill_id, one.backfill_id]
    with engine.begin() as connection:
        finish_backfill(connection, three, NOW)
    assert unfinished(engine) == [two.backfill_id, one.backfill_id]


def test_an_attempt_that_got_nowhere_does_not_hide_an_earlier_one_that_did(engine: sa.Engine) -> None:
    old, got_far, other, nowhere = begun(engine), begun(engine), begun(engine, MIDDLE), begun(engine)
    ended(engine, got_far, pull())
    ended(engine, nowhere, pull(), "failed")
    ids = [got_far.backfill_id, nowhere.backfill_id, old.backfill_id, other.backfill_id]
    assert unfinished(engine) == ids
    ended(engine, nowhere, pull())
    assert unfinished(engine) == [ids[1], ids[0], *ids[2:]]


def test_one_that_is_finished_leaves_nothing_to_do_of_others_of_the_same_days_and_keys(engine: sa.Engine) -> None:
    same, reordered = begun(engine), begun(engine, keys=KEYS[::-1])
    others = [begun(engine, MIDDLE), begun(engine, keys=KEYS[:1])]
    with engine.begin() as connection:
        finish_backfill(connection, begun(engine), NOW)
    assert same.same_work(reordered)
    assert unfinished(engine) == [one.backfill_id for one in reversed(others)]


def test_a_backfill_is_held_by_one_process_and_free_when_its_connection_goes(engine: sa.Engine) -> None:
    backfill, other = begun(engine), begun(engine)
    with held(engine, backfill.backfill_id) as mine:
        assert mine
        with held(engine, backfill.backfill_id) as again, held(engine, other.backfill_id) as another:
            assert (again, another) == (False, True)
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
                " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        with held(engine, backfill.backfill_id) as free:
            assert free


def test_the_tables_can_be_taken_away_and_brought_back(empty_database: str) -> None:
    upgrade(empty_database, "0002")
    engine = connect_engine(empty_database)
    try:
        assert {"backfills", "backfill_steps"} <= set(sa.inspect(engine).get_table_names())
        downgrade(empty_database, "0001")
        assert not {"backfills", "backfill_steps"} & set(sa.inspect(engine).get_table_names())
        assert current_revision(engine) == "0001"
        upgrade(empty_database, "0002")
    finally:
        engine.dispose()
