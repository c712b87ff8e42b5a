"""What Anthropic's 400s say is too much, and what is asked for instead; and the range that is never asked for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from usage_pipeline.errors import PermanentError, TransientError
from usage_pipeline.ledger.learned_limits import LearnedLimits
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES, PROVIDER
from usage_pipeline.providers.refusals import AskedTooMuchError
from usage_pipeline.pulls.asking import chosen_dimensions, learn, request_for
from usage_pipeline.pulls.fetch import fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.pulls.answers import StoredPages


def refusal(message: str, status: int = 400) -> Exception:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return PROVIDER.refusal(MESSAGES, status, json.dumps(body).encode())


def test_more_dimensions_than_are_taken_are_told_with_their_number() -> None:
    error = refusal("Cannot specify more than 5 group_by[] dimensions.")

    assert isinstance(error, AskedTooMuchError)
    assert (error.dimensions_max, error.page_limit, error.refused_dimension) == (5, None, None)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("limit: Input should be less than or equal to 31", 31),
        ("The result is too large. Reduce limit to 7 or use fewer group_by[] dimensions.", 7),
        ("limit must be at most 1440 for a bucket_width of 1m", 1440),
    ],
)
def test_smaller_pages_are_told_with_their_number(message: str, limit: int) -> None:
    error = refusal(message)

    assert isinstance(error, AskedTooMuchError)
    assert (error.page_limit, error.dimensions_max) == (limit, None)


def test_speed_is_given_up_where_it_is_refused() -> None:
    error = refusal("group_by[]: 'speed' requires the beta header fast-mode-2026-02-01")

    assert isinstance(error, AskedTooMuchError)
    assert error.refused_dimension == "speed"


@pytest.mark.parametrize(
    "message", ["Response is too large for this query.", "The number of results exceeds the maximum for one response"]
)
def test_a_size_without_a_number_is_for_a_person_to_settle(message: str) -> None:
    error = refusal(message)

    assert isinstance(error, PermanentError)
    assert not isinstance(error, AskedTooMuchError)
    assert error.code == "result_too_large"
    assert "ANTHROPIC_MESSAGES_DIMENSIONS" in error.remedy
    of_costs = PROVIDER.refusal(COST_REPORT, 400, json.dumps({"error": {"message": message}}).encode())
    assert "ANTHROPIC_COST_REPORT_DIMENSIONS" in str(of_costs)


@pytest.mark.parametrize(
    ("status", "message", "kind", "code"),
    [
        (400, "ending date must be after starting date", PermanentError, "request_refused"),
        (429, "Number of requests exceeds your rate limit. Reduce limit to 7", TransientError, "rate_limited"),
        (500, "Cannot specify more than 5 group_by[] dimensions.", TransientError, "provider_unavailable"),
    ],
)
def test_any_other_refusal_stays_what_it_is(status: int, message: str, kind: type[Exception], code: str) -> None:
    error = refusal(message, status)

    assert isinstance(error, kind)
    assert not isinstance(error, AskedTooMuchError)
    assert getattr(error, "code", None) == code


def test_all_nine_dimensions_end_as_the_first_five() -> None:
    day = date(2026, 11, 20)
    everything = chosen_dimensions(
        "anthropic", MESSAGES, {"ANTHROPIC_MESSAGES_DIMENSIONS": ",".join(MESSAGES.dimensions)}
    )
    request = request_for(MESSAGES, day, date(2026, 11, 21), "1d", everything, (), LearnedLimits())
    assert len(request.dimensions) == 9
    error = refusal("Cannot specify more than 5 group_by[] dimensions.")
    assert isinstance(error, AskedTooMuchError)

    learned = learn(LearnedLimits(), error, request)

    assert learned is not None
    narrower = request_for(MESSAGES, day, date(2026, 11, 21), "1d", everything, (), learned)
    assert narrower.dimensions == ("model", "api_key_id", "project_id", "service_tier", "context_window")


@pytest.mark.parametrize("width", ["1h", "1d"])
@pytest.mark.parametrize("first_day", [date(2026, 11, 21), date(2026, 11, 22)])
def test_a_range_without_a_closed_bucket_is_never_asked_for(width: str, first_day: date) -> None:
    """It would be refused: "ending date must be after starting date"."""
    half_past_midnight = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
    source = StoredPages()
    request = RangeRequest(first_day, date(2026, 11, 23), width, ("model",))

    fetched = fetch_range(source, PROVIDER, MESSAGES, request, half_past_midnight)

    assert fetched.is_empty
    assert source.asked == []
