"""Days are normalised from stored pages; of a newer pull, only what differs from the standing one is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import zstandard
from sqlalchemy import Engine, text

from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.pulls import NewPage, NewPull, record_complete_pull
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.normalise.provider_days import NormalisedDays, normalise_provider_days
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline_tests.ledger.registering import register

FIRST, SECOND = date(2026, 11, 18), date(2026, 11, 19)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Output by day, hour and model.
Told = dict[date, dict[int, dict[str, int]]]
STANDING: Told = {
    FIRST: {0: {"gpt-5": 1, "o4-mini": 2}, 23: {"gpt-5": 3}},
    SECOND: {0: {"gpt-5": 4}, 7: {"gpt-5": 5, "o4-mini": 6}},
}


class Store:
    """A key whose pulls of both days are stored one after the other, each day's buckets on one page."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pulls = 0
        with engine.begin() as connection:
            self.key: ProviderKey = register(connection)

    def pull(self, told: Told, *, asked: tuple[str, ...] = ("model",), pages: int = 1) -> int:
        """Store a pull with one page for both days, or one for each; returns its id."""
        self.pulls += 1
        at = NOW + timedelta(minutes=self.pulls)
        days = sorted(told)
        pull = NewPull(
            self.key.feed_id, "completions", FIRST, NOW.date(), 3600, asked, (), at, at, pages, 0.0, pages=pages
        )
        groups = [days] if pages == 1 else [[day] for day in days]
        stored = [_page(n, group, told, at) for n, group in enumerate(groups)]
        digests = {day: json.dumps([told[day], asked]).encode() for day in days}
        with self.engine.begin() as connection:
            pull_id, _ = record_complete_pull(connection, pull, digests, stored)
        return pull_id

    def normalise(self) -> NormalisedDays:
        return normalise_provider_days(
            self.engine, self.key, PROVIDER, COMPLETIONS, [FIRST, SECOND], NOW, timedelta(hours=72)
        )

    def held(self) -> dict[tuple[datetime, str], tuple[int, int]]:
        """Output and the pull that it came from, by window and model."""
        with self.engine.begin() as connection:
            rows = connection.execute(text("SELECT window_start, model, output, source_id FROM usage_events"))
            return {(row.window_start, row.model): (row.output, row.source_id) for row in rows}

    def outputs(self) -> dict[tuple[datetime, str], int]:
        return {key: output for key, (output, _) in self.held().items()}


@pytest.fixture
def store(migrated_database: str) -> Iterator[Store]:
    engine = connect_engine(migrated_database)
    yield Store(engine)
    engine.dispose()


def _page(number: int, days: list[date], told: Told, at: datetime) -> NewPage:
    data = [
        {
            "start_time": int(_start(day, hour).timestamp()),
            "results": [_result(*one) for one in told[day][hour].items()],
        }
        for day in days
        for hour in sorted(told[day])
    ]
    body = json.dumps({"data": data, "has_more": False, "next_page": None}).encode()
    return NewPage(number, days[0], days[-1], {}, at, b"", len(body), zstandard.compress(body))


def _result(model: str, output: int) -> dict[str, Any]:
    return {"input_tokens": 0, "output_tokens": output, "num_model_requests": 1, "model": model}


def _start(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def expected(told: Told) -> dict[tuple[datetime, str], int]:
    return {
        (_start(day, hour), model): output
        for day, hours in told.items()
        for hour, models in hours.items()
        for model, output in models.items()
    }


@pytest.mark.parametrize("pages", [1, 2])
def test_a_restated_row_is_written_and_every_other_row_keeps_its_source(store: Store, pages: int) -> None:
    newer: Told = {FIRST: {**STANDING[FIRST], 23: {"gpt-5": 30}}, SECOND: {0: {"gpt-5": 4}, 7: {"gpt-5": 5}}}
    first = store.pull(STANDING, pages=pages)
    assert store.normalise().changes == Changes(stored=6)
    second = store.pull(newer, pages=pages)

    done = store.normalise()

    assert done.changes == Changes(updated=1, removed=1, unchanged=4)
    assert done.days_moved == {FIRST, SECOND}
    assert store.outputs() == expected(newer)
    sources = {key: source for key, (_, source) in store.held().items()}
    assert sources.pop((_start(FIRST, 23), "gpt-5")) == second
    assert set(sources.values()) == {first}


def test_a_day_that_is_told_the_same_writes_no_event(store: Store) -> None:
    store.pull(STANDING)
    store.normalise()
    before = store.held()
    store.pull({**STANDING, SECOND: {0: {"gpt-5": 9}}})

    assert store.normalise().changes == Changes(updated=1, removed=2)
    assert {key: one for key, one in store.held().items() if key[0].date() == FIRST} == {
        key: one for key, one in before.items() if key[0].date() == FIRST
    }


def test_days_that_stand_on_different_pulls_are_each_held_against_their_own(store: Store) -> None:
    newer: Told = {**STANDING, SECOND: {7: {"gpt-5": 5, "o4-mini": 7}}}
    newest: Told = {FIRST: {0: {"gpt-5": 1, "o4-mini": 3}, 23: {"gpt-5": 3}}, SECOND: {7: {"gpt-5": 5, "o4-mini": 8}}}
    for told in (STANDING, newer):
        store.pull(told)
        store.normalise()
    store.pull(newest)

    assert store.normalise().changes == Changes(updated=2, unchanged=3)
    assert store.outputs() == expected(newest)


def test_a_day_without_any_row_empties_its_slice(store: Store) -> None:
    store.pull(STANDING)
    store.normalise()
    store.pull({**STANDING, SECOND: {}})

    assert store.normalise().changes == Changes(removed=3)
    assert store.outputs() == expected({FIRST: STANDING[FIRST]})


def test_a_slice_whose_pages_are_kept_no_more_is_written_whole(store: Store) -> None:
    pull_id = store.pull(STANDING)
    store.normalise()
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM raw_pages WHERE pull_id = :pull_id"), {"pull_id": pull_id})
    newer: Told = {**STANDING, SECOND: {7: {"gpt-5": 5, "o4-mini": 7}}}
    store.pull(newer)

    assert store.normalise().changes == Changes(updated=1, removed=1, unchanged=1)
    assert store.outputs() == expected(newer)


def test_a_slice_that_is_not_what_its_pages_say_is_written_whole(store: Store) -> None:
    store.pull(STANDING)
    store.normalise()
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE usage_events SET output = output + 100"))
    newer: Told = {**STANDING, SECOND: {0: {"gpt-5": 40}, 7: {"gpt-5": 50, "o4-mini": 6}}}
    store.pull(newer)

    assert store.normalise().changes == Changes(updated=3)
    assert {key: one for key, one in store.outputs().items() if key[0].date() == SECOND} == expected(
        {SECOND: newer[SECOND]}
    )


def test_an_answer_by_other_dimensions_replaces_every_row(store: Store) -> None:
    store.pull(STANDING)
    store.normalise()
    store.pull(STANDING, asked=("model", "project_id"))

    assert store.normalise().changes == Changes(stored=6, removed=6)
    assert store.outputs() == expected(STANDING)
