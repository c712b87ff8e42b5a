"""What may be asked for at a given time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.providers.anthropic import MESSAGES
from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.openai import COMPLETIONS, COSTS
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline.pulls.ranges import RangeRequest, floor_to_grid, query_range

NOW = datetime(2026, 11, 21, 12, 34, 56, 789000, tzinfo=UTC)


def request(first: str, end: str, width: str = "1d", dimensions: tuple[str, ...] = ("model",)) -> RangeRequest:
    return RangeRequest(date.fromisoformat(first), date.fromisoformat(end), width, dimensions)


@pytest.mark.parametrize(
    ("endpoint", "width", "end", "buckets"),
    [
        (COMPLETIONS, "1d", datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC), 2),
        (COMPLETIONS, "1h", datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC), 24 + 13),
        (MESSAGES, "1d", datetime(2026, 11, 21, tzinfo=UTC), 1),
        (MESSAGES, "1h", datetime(2026, 11, 21, 12, tzinfo=UTC), 24 + 12),
    ],
)
def test_a_range_ends_now_or_at_the_last_closed_bucket(
    endpoint: Endpoint, width: str, end: datetime, buckets: int
) -> None:
    asked = query_range(endpoint, request("2026-11-20", "2026-12-01", width), NOW)

    assert asked.start == datetime(2026, 11, 20, tzinfo=UTC)
    assert asked.end == end
    assert asked.bucket_count == buckets


def test_a_past_range_is_asked_for_as_it_is() -> None:
    asked = query_range(COMPLETIONS, request("2026-11-01", "2026-11-11"), NOW)

    assert (asked.end, asked.bucket_count) == (datetime(2026, 11, 11, tzinfo=UTC), 10)
    assert asked.days == tuple(date(2026, 11, n) for n in range(1, 11))


@pytest.mark.parametrize("endpoint", [COMPLETIONS, MESSAGES])
def test_a_range_in_the_future_is_empty(endpoint: Endpoint) -> None:
    asked = query_range(endpoint, request("2026-11-22", "2026-11-23"), NOW)

    assert asked.start == asked.end
    assert (asked.bucket_count, asked.days) == (0, ())


def test_now_may_come_in_any_zone() -> None:
    vienna = NOW.astimezone(timezone(timedelta(hours=1)))

    wanted = request("2026-11-21", "2026-11-22", "1h")
    assert query_range(MESSAGES, wanted, vienna) == query_range(MESSAGES, wanted, NOW)


@pytest.mark.parametrize(
    ("code", "endpoint", "wanted"),
    [
        ("range_empty", COMPLETIONS, request("2026-11-02", "2026-11-02")),
        ("width_unknown", COSTS, request("2026-11-01", "2026-11-02", "1h", ("label",))),
        ("dimension_unknown", COMPLETIONS, request("2026-11-01", "2026-11-02", dimensions=("shoe_size",))),
    ],
)
def test_what_the_endpoint_cannot_answer_is_refused_before_it_is_asked(
    code: str, endpoint: Endpoint, wanted: RangeRequest
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        query_range(endpoint, wanted, NOW)

    assert caught.value.code == code


def test_api_source_is_not_asked_for_unless_named() -> None:
    assert "api_source" not in default_dimensions(COMPLETIONS)
    query_range(COMPLETIONS, request("2026-11-01", "2026-11-02", dimensions=("model", "api_source")), NOW)


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([timedelta(hours=1), timedelta(days=1)]))
def test_every_moment_lies_in_the_bucket_that_it_is_floored_to(moment: datetime, step: timedelta) -> None:
    start = floor_to_grid(moment, step)

    assert timedelta(0) <= moment - start < step
    assert floor_to_grid(start, step) == start
