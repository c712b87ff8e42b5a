"""The legacy ``/usage?date=``: rows of five minutes become hours or a day, and what is not read is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from usage_pipeline.ledger.event_copy import one_row_per_key
from usage_pipeline.providers.contract import Bucket, ContractBrokenError, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.openai import PROVIDER
from usage_pipeline.providers.openai_endpoints import ENDPOINTS, LEGACY_COMPLETIONS, LEGACY_EMBEDDINGS
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.providers.reading import FIXTURES, dimensions, measures, rows_of

DAY = datetime(2024, 11, 1, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
ASKED_FOR = tuple(LEGACY_COMPLETIONS.dimensions)
BODY = (FIXTURES / "openai" / "legacy_usage.json").read_bytes()
OLDER = (FIXTURES / "openai" / "legacy_usage_older.json").read_bytes()


def used(at: datetime = DAY, **fields: Any) -> dict[str, Any]:
    return {
        "aggregation_timestamp": int(at.timestamp()),
        "n_requests": 1,
        "operation": "completion",
        "snapshot_id": "gpt-4o-mini-2024-07-18",
        "n_context_tokens_total": 10,
        "n_generated_tokens_total": 5,
        **fields,
    }


def day(*rows: Mapping[str, Any], **lists: Any) -> bytes:
    return json.dumps({"object": "list", "data": rows, "ft_data": [], "current_usage_usd": 0.0, **lists}).encode()


def page(body: bytes = BODY, endpoint: Endpoint = LEGACY_COMPLETIONS, width: str = "1h", end: datetime = NEXT) -> Page:
    return PROVIDER.read_page(endpoint, body, PageQuery(DAY, end, width, ASKED_FOR))


def rows(body: bytes, endpoint: Endpoint = LEGACY_COMPLETIONS, drift: Drift | None = None) -> list[UsageRow]:
    drift = drift or Drift()
    return [
        row
        for bucket in page(body, endpoint, "1d").buckets
        for row in rows_of(PROVIDER, endpoint, bucket.results, drift)
    ]


def stored(bucket: Bucket) -> UsageRow:
    """The only row that the store makes of the bucket."""
    (row,) = one_row_per_key(rows_of(PROVIDER, LEGACY_COMPLETIONS, bucket.results))
    return UsageRow(*row)


class Answers:
    """A page source that gives the days' bodies."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.asked: list[list[tuple[str, str]]] = []

    def clock(self) -> datetime:
        return NEXT

    def fetch_page(self, endpoint: Endpoint, query: PageQuery) -> bytes:
        self.asked.append(list(PROVIDER.query(endpoint, query)))
        return self.bodies.pop(0)


def fetched(*bodies: bytes, endpoint: Endpoint = LEGACY_COMPLETIONS, width: str = "1h") -> FetchedRange:
    request = RangeRequest(DAY.date(), DAY.date() + timedelta(days=len(bodies)), width, ASKED_FOR)
    return fetch_range(Answers(*bodies), PROVIDER, endpoint, request, NEXT + timedelta(days=len(bodies)))


def test_only_a_standard_key_asks_it_and_a_standard_key_asks_nothing_else() -> None:
    assert [one for one in ENDPOINTS if "standard" in one.modes] == [LEGACY_COMPLETIONS, LEGACY_EMBEDDINGS]
    assert LEGACY_COMPLETIONS.modes == LEGACY_EMBEDDINGS.modes == {"standard"}
    assert (LEGACY_COMPLETIONS.family, LEGACY_EMBEDDINGS.family) == ("text", "embeddings")


def test_a_day_is_asked_for_by_its_date_alone() -> None:
    query = PageQuery(DAY, NEXT, "1h", ASKED_FOR, projects=("proj_a",))

    assert list(PROVIDER.query(LEGACY_COMPLETIONS, query)) == [("date", "2024-11-01")]


def test_each_endpoint_reads_its_own_rows_of_the_list() -> None:
    text = [measures(row) for row in rows(BODY)]
    embeddings = [measures(row) for row in rows(BODY, LEGACY_EMBEDDINGS)]

    # 1,000 tokens of context with 400 cached inside; then 200; then 300, of which 250 audio, and 90 out, 80 of it audio
    audio = {"input_audio": 0, "output_audio": 0}
    assert text == [
        {"uncached_input": 600, "cache_read": 400, "output": 500, "requests": 4, "output_audio": 0, "input_audio": 0},
        {"uncached_input": 200, "cache_read": 0, "output": 50, "requests": 1, **audio},
        {"uncached_input": 300, "cache_read": 0, "output": 90, "requests": 1, "input_audio": 250, "output_audio": 80},
    ]
    assert embeddings == [{"uncached_input": 16, "requests": 2}]


def test_an_older_row_does_not_report_what_it_lacks() -> None:
    assert [measures(row) for row in rows(OLDER)] == [{"uncached_input": 120, "output": 30, "requests": 2}]
    assert [measures(row) for row in rows(OLDER, LEGACY_EMBEDDINGS)] == [{"uncached_input": 40, "requests": 1}]


def test_the_dimensions_are_those_that_were_answered() -> None:
    drift = Drift()

    first, *_ = rows(BODY, drift=drift)

    assert dimensions(first) == {
        "project_id": "proj_abc",
        "user_id": "user-abc",
        "api_key_id": "key_abc",
        "model": "gpt-4o-mini-2024-07-18",
        "line_detail": '{"operation":"completion"}',
    }
    assert drift.answered_dimensions == set(ASKED_FOR) - {"request_type"}
    assert drift.unknown_fields == {}


def test_operation_and_request_type_stand_in_the_lines_detail() -> None:
    (row,) = rows(day(used(request_type="batch")))

    assert dimensions(row)["line_detail"] == '{"operation":"completion","request_type":"batch"}'


def test_a_dimension_that_is_not_wanted_is_left_out() -> None:
    (bucket,) = page(day(used(user_id="user-abc"))).buckets

    (row,) = PROVIDER.usage_rows(LEGACY_COMPLETIONS, bucket.results, ("model",), Drift())

    assert dimensions(row) == {"model": "gpt-4o-mini-2024-07-18"}


def test_rows_of_five_minutes_fall_into_the_hour_or_the_day_that_was_asked_for() -> None:
    assert [bucket.start for bucket in page().buckets] == [DAY + timedelta(hours=9), DAY + timedelta(hours=15)]
    assert [bucket.start for bucket in page(width="1d").buckets] == [DAY]


def test_rows_that_nothing_tells_apart_are_added_up() -> None:
    nine = page().buckets[0]
    later = day(used(DAY), used(DAY + timedelta(minutes=5)), used(DAY + timedelta(minutes=5)))
    (bucket,) = page(later).buckets

    summed, of_nine = (stored(one) for one in (bucket, nine))

    assert measures(summed) == {"uncached_input": 30, "output": 15, "requests": 3}
    assert measures(of_nine)["uncached_input"] == 800
    assert measures(of_nine)["requests"] == 5


def test_of_cached_input_it_is_not_told_how_much_is_audio() -> None:
    (row,) = rows(day(used(n_cached_context_tokens_total=4, n_context_audio_tokens_total=6)))

    assert measures(row)["uncached_input"] == 6
    assert "input_audio" not in measures(row)


def test_a_part_above_its_whole_is_counted_and_the_total_is_kept() -> None:
    drift = Drift()

    (row,) = rows(day(used(n_context_audio_tokens_total=11, n_generated_audio_tokens_total=6)), drift=drift)

    assert drift.totals_off == {"n_context_tokens_total": 1, "n_generated_tokens_total": 1}
    assert measures(row) == {"uncached_input": 10, "output": 5, "requests": 1}


def test_more_cached_than_context_is_refused() -> None:
    with pytest.raises(ContractBrokenError, match="cached_over_input"):
        rows(day(used(n_cached_context_tokens_total=11)))


@pytest.mark.parametrize("at", [DAY - timedelta(seconds=1), NEXT, datetime(1970, 1, 1, tzinfo=UTC)])
def test_a_row_of_another_day_is_refused(at: datetime) -> None:
    for endpoint in (LEGACY_COMPLETIONS, LEGACY_EMBEDDINGS):
        with pytest.raises(ContractBrokenError, match="row_outside_day"):
            page(day(used(), used(at)), endpoint)


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("page_unreadable", b"<html>"),
        ("page_unreadable", b"[]"),
        ("page_unreadable", b'{"object": "list"}'),
        ("page_unreadable", b'{"data": null}'),
        ("page_unreadable", b'{"data": {}}'),
        ("row_unreadable", b'{"data": [3]}'),
        ("row_unreadable", b'{"data": [{}]}'),
        ("row_unreadable", b'{"data": [{"aggregation_timestamp": "soon"}]}'),
    ],
)
def test_an_answer_that_is_no_day_of_usage_is_refused(code: str, body: bytes) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        page(body)

    assert caught.value.code == code
    assert caught.value.where == "openai /usage"


def test_rows_later_than_what_was_asked_for_are_left_to_the_next_pull() -> None:
    half_past_nine = DAY + timedelta(hours=9, minutes=30)
    body = day(used(half_past_nine - timedelta(minutes=5)), used(half_past_nine), used(DAY + timedelta(hours=10)))

    (bucket,) = page(body, end=half_past_nine).buckets

    assert bucket.start == DAY + timedelta(hours=9)
    assert len(rows_of(PROVIDER, LEGACY_COMPLETIONS, bucket.results)) == 1


def test_lists_that_are_not_read_are_told_once_with_their_rows() -> None:
    body = day(used(), dalle_api_data=[{"num_images": 1}, {"num_images": 2}], tts_api_data=[{"num_characters": 9}])

    text, embeddings = fetched(body), fetched(body, endpoint=LEGACY_EMBEDDINGS)

    assert text.drift.not_counted == {"legacy dalle_api_data": 2, "legacy tts_api_data": 1}
    assert text.drift_pages["not_counted.legacy dalle_api_data"] == 0
    assert (text.drift.rows, text.days[0].rows) == (1, 1)
    assert embeddings.drift.not_counted == {}


def test_a_list_that_nobody_knows_yet_is_told_too() -> None:
    assert fetched(day(video_api_data=[{}])).drift.not_counted == {"legacy video_api_data": 1}


def test_moderations_are_free_and_told_as_not_counted() -> None:
    answer = fetched(day(used(), used(operation="moderation", snapshot_id="omni-moderation-2024-09-26")))

    assert answer.drift.not_counted == {"legacy moderations": 1}
    assert answer.drift.rows == 1


def test_what_is_not_read_does_not_change_what_the_day_says() -> None:
    (plain,), (noted,) = fetched(day(used())).days, fetched(day(used(), whisper_api_data=[{}])).days

    assert plain.digest == noted.digest


def test_a_day_without_rows_is_an_answer_of_nothing() -> None:
    answer = fetched(day(), day(used(NEXT)))

    assert [(one.day, one.rows) for one in answer.days] == [(date(2024, 11, 1), 0), (date(2024, 11, 2), 1)]
    assert answer.unanswered_dimensions == ("project_id", "user_id", "api_key_id", "request_type")


def test_the_account_is_told_by_the_rows() -> None:
    assert fetched(BODY).account == "org-acme"
    assert fetched(day(used())).account is None


def test_an_unknown_field_is_counted_and_the_row_is_read() -> None:
    drift = Drift()

    assert len(rows(day(used(shoe_size=42)), drift=drift)) == 1
    assert drift.unknown_fields == {"shoe_size": 1}


@pytest.mark.parametrize(("code", "field"), [("count_negative", -1), ("row_unreadable", None), ("row_unreadable", 1.5)])
def test_a_row_that_cannot_be_is_refused(code: str, field: object) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        rows(day(used(n_context_tokens_total=field)))

    assert caught.value.code == code
