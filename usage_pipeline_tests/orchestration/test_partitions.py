from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.orchestration.partitions import (
    DAYS,
    PROVIDER_DAYS,
    START_DAY,
    DaySpan,
    KeyDay,
    check_key_slug,
    check_span,
    key_day,
    key_range_tags,
    partition_key,
    spans,
    spans_by_key,
)

_DAY_SETS = st.sets(st.dates(START_DAY, START_DAY + timedelta(days=60)), min_size=1)


def test_the_open_day_is_a_partition() -> None:
    assert DAYS.get_last_partition_key() == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    "slug", ["a|b", "acme.openai", "acme.openai...main", "acme.openai.a,b", "", "acme.openai.a[1]"]
)
def test_a_slug_that_dagster_could_not_address_again_is_refused(slug: str) -> None:
    with pytest.raises(InvalidInputError, match="slug_malformed"):
        check_key_slug(slug)


def test_a_good_slug_is_a_partition() -> None:
    assert check_key_slug("acme.openai.main_2-x") == "acme.openai.main_2-x"


def test_a_cell_is_found_again_in_its_partition_key() -> None:
    cell = KeyDay(date(2025, 3, 1), "acme.openai.main")
    assert partition_key(cell) == "2025-03-01|acme.openai.main"
    assert key_day(str(partition_key(cell))) == cell


def test_the_dimensions_are_day_and_provider_key() -> None:
    assert [dimension.name for dimension in PROVIDER_DAYS.partitions_defs] == ["day", "provider_key"]


@given(_DAY_SETS)
def test_spans_hold_exactly_the_days_and_never_touch(days: set[date]) -> None:
    found = spans(days)
    assert [day for span in found for day in span.days] == sorted(days)
    assert all(one.end_day < other.first_day for one, other in pairwise(found))


@given(_DAY_SETS, st.integers(1, 40))
def test_chunks_hold_exactly_the_days_of_the_span(days: set[date], days_max: int) -> None:
    span = DaySpan(min(days), max(days) + timedelta(days=1))
    chunks = list(span.chunks(days_max))
    assert [day for chunk in chunks for day in chunk.days] == span.days
    assert all(len(chunk.days) == days_max for chunk in chunks[:-1])


def test_cells_of_several_keys_are_pulled_key_by_key() -> None:
    days = [date(2025, 3, 1), date(2025, 3, 2)]
    cells = [KeyDay(day, key) for day in days for key in ("acme.openai.a", "acme.openai.b")]
    whole = [DaySpan(days[0], date(2025, 3, 3))]
    assert spans_by_key(cells) == {"acme.openai.a": whole, "acme.openai.b": whole}


def test_a_range_names_its_first_and_its_last_day() -> None:
    tags = key_range_tags("acme.openai.main", DaySpan(date(2025, 3, 1), date(2025, 4, 1)))
    assert tags["dagster/asset_partition_range_start"] == "2025-03-01|acme.openai.main"
    assert tags["dagster/asset_partition_range_end"] == "2025-03-31|acme.openai.main"


@pytest.mark.parametrize(
    ("first", "end"), [(date(2023, 12, 31), date(2024, 2, 1)), (date(2025, 1, 1), date(2999, 1, 1))]
)
def test_days_that_are_no_partitions_are_refused(first: date, end: date) -> None:
    with pytest.raises(InvalidInputError, match="day_without_partition"):
        check_span(DaySpan(first, end))
