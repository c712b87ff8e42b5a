"""A range is fetched whole and valid, or not at all."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError
from usage_pipeline.providers import anthropic
from usage_pipeline.providers.contract import ContractBrokenError
from usage_pipeline.providers.http import ProviderClient
from usage_pipeline.providers.openai import COMPLETIONS, COSTS, PROVIDER
from usage_pipeline.pulls.fetch import EMPTY_PAGES_MAX, FetchedRange, PageSource, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.providers.loopback import Answer, Loopback, serving
from usage_pipeline_tests.pulls.answers import Bucket, StoredPages, completion, page, paged

NOW = datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOTHING = hashlib.sha256().digest()


def request(days: int = 3, width: str = "1d", dimensions: tuple[str, ...] = ("model",)) -> RangeRequest:
    return RangeRequest(MONDAY.date(), (MONDAY + days * DAY).date(), width, dimensions)


def fetch(source: PageSource, wanted: RangeRequest | None = None, now: datetime = NOW) -> FetchedRange:
    return fetch_range(source, PROVIDER, COMPLETIONS, wanted or request(), now)


def days(*rows: list[dict[str, Any]]) -> list[Bucket]:
    return [(MONDAY + n * DAY, results) for n, results in enumerate(rows)]


def broken_by(source: PageSource, wanted: RangeRequest | None = None) -> ContractBrokenError:
    with pytest.raises(ContractBrokenError) as caught:
        fetch(source, wanted)
    return caught.value


# A whole range


def test_a_range_is_its_pages_and_its_days() -> None:
    bodies = page(days([completion(1), completion(2)], []), "page_2"), page([(MONDAY + 2 * DAY, [completion(4)])])
    source = StoredPages(*bodies)

    fetched = fetch(source)

    assert [query.cursor for query in source.asked] == [None, "page_2"]
    assert [(p.number, p.asked.cursor, p.first_day, p.last_day) for p in fetched.pages] == [
        (0, None, date(2026, 11, 16), date(2026, 11, 17)),
        (1, "page_2", date(2026, 11, 18), date(2026, 11, 18)),
    ]
    assert [zstandard.ZstdDecompressor().decompress(p.body_zstd) for p in fetched.pages] == list(bodies)
    assert [p.body_sha256 for p in fetched.pages] == [hashlib.sha256(body).digest() for body in bodies]
    assert [(d.day.day, d.rows, d.buckets, d.is_closed) for d in fetched.days] == [
        (16, 2, 1, True),
        (17, 0, 1, True),
        (18, 1, 1, True),
    ]
    assert fetched.drift.rows == 3
    assert (fetched.start, fetched.end) == (MONDAY, MONDAY + 3 * DAY)


def test_every_page_is_asked_with_the_same_query() -> None:
    source = paged(days([], [], []), [1, 2])

    fetch(source)

    assert len(source.asked) == 3
    assert len({(query.start, query.end, query.width, query.dimensions, query.projects) for query in source.asked}) == 1


def test_an_empty_page_with_a_cursor_goes_on() -> None:
    fetched = fetch(paged(days([], [completion()], []), [1, 1, 1]))

    assert [p.first_day is None for p in fetched.pages] == [False, True, True, False]
    assert fetched.drift.rows == 1


def test_the_open_day_ends_now_and_is_not_closed() -> None:
    source = paged(days([], [completion()]), [])

    fetched = fetch(source, request(days=5), now=MONDAY + DAY + 3 * HOUR)

    assert source.asked[0].end == MONDAY + DAY + 3 * HOUR
    assert [day.is_closed for day in fetched.days] == [True, False]


def test_a_range_with_nothing_to_ask_for_sends_no_request_and_says_so() -> None:
    source = StoredPages()

    fetched = fetch(source, now=MONDAY - DAY)

    assert fetched.is_empty
    assert (fetched.pages, fetched.days, source.asked) == ((), (), [])


def test_a_range_without_a_closed_bucket_is_not_asked_for_where_open_ones_are_not_answered() -> None:
    source = StoredPages()
    today = RangeRequest(MONDAY.date(), (MONDAY + DAY).date(), "1d", ("model",))

    fetched = fetch_range(source, anthropic.PROVIDER, anthropic.MESSAGES, today, MONDAY + 5 * HOUR)

    assert fetched.is_empty
    assert source.asked == []


def test_costs_are_fetched_and_validated_the_same_way() -> None:
    good = {"amount": {"value": "1.5", "currency": "usd"}}
    wanted = request(days=1, dimensions=("label",))

    assert fetch_range(StoredPages(page(days([good]))), PROVIDER, COSTS, wanted, NOW).drift.rows == 1
    with pytest.raises(ContractBrokenError, match="currency_unknown"):
        fetch_range(
            StoredPages(page(days([{"amount": {"value": 1, "currency": "eur"}}]))), PROVIDER, COSTS, wanted, NOW
        )


# Digests


def test_a_digest_is_that_of_start_length_and_results() -> None:
    results = json.dumps([completion(7)]).encode()

    [monday, tuesday] = fetch(paged(days([completion(7)], []), []), request(days=2)).days

    framed = f"{int(MONDAY.timestamp())} {len(results)}\n".encode() + results
    assert monday.digest == hashlib.sha256(framed).digest()
    assert tuesday.digest == NOTHING


def test_a_restated_row_changes_its_own_day_only() -> None:
    before = fetch(paged(days([completion(1)], [completion(2)], []), [])).days
    after = fetch(paged(days([completion(1)], [completion(3)], []), [])).days

    assert [a.digest == b.digest for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_the_hour_of_a_row_is_part_of_its_days_digest() -> None:
    def hours(at: int) -> list[Bucket]:
        return [(MONDAY + n * HOUR, [completion()] if n == at else []) for n in range(24)]

    wanted = request(days=1, width="1h")
    [early], [late] = fetch(paged(hours(3), []), wanted).days, fetch(paged(hours(4), []), wanted).days

    assert early.digest != late.digest


@given(st.data())
def test_any_split_into_pages_says_the_same(data: st.DataObject) -> None:
    count = data.draw(st.integers(min_value=1, max_value=4), label="days")
    rows = st.lists(st.builds(completion, st.integers(min_value=0, max_value=9)), max_size=2)
    buckets = [(MONDAY + n * HOUR, data.draw(rows)) for n in range(24 * count)]
    cuts = data.draw(st.lists(st.integers(min_value=0, max_value=len(buckets)), max_size=30), label="cuts")
    wanted = request(days=count, width="1h")

    whole, cut = fetch(paged(buckets, []), wanted), fetch(paged(buckets, cuts), wanted)

    assert cut.days == whole.days
    assert cut.drift == whole.drift
    assert sum(day.rows for day in cut.days) == cut.drift.rows == sum(len(results) for _, results in buckets)


# Answers that must not be believed


def test_a_repeated_cursor_ends_the_pull() -> None:
    first, second, third = days([], [], [])

    error = broken_by(StoredPages(page([first], "a"), page([second], "b"), page([third], "a")))

    assert error.code == "cursor_repeated"


def test_a_promise_of_more_without_a_cursor_ends_the_pull() -> None:
    body = json.loads(page(days([], [], [])))
    body["has_more"] = True

    assert broken_by(StoredPages(json.dumps(body).encode())).code == "cursor_missing"


def test_pages_without_end_end() -> None:
    source = StoredPages(*(page([], f"page_{n}") for n in range(3 + EMPTY_PAGES_MAX + 1)))

    assert broken_by(source).code == "too_many_pages"
    assert len(source.asked) == 3 + EMPTY_PAGES_MAX


@pytest.mark.parametrize(
    ("code", "starts"),
    [
        ("buckets_missing", [0, 1]),
        ("buckets_missing", [0, 2]),
        ("buckets_missing", [1, 2]),
        ("buckets_missing", []),
        ("buckets_missing", [1, 0, 2]),
        ("bucket_repeated", [0, 0, 1, 2]),
        ("bucket_repeated", [0, 1, 0, 2]),
        ("bucket_unexpected", [-1, 0, 1, 2]),
        ("bucket_unexpected", [0, 1, 2, 3]),
        ("bucket_unexpected", [0, 0.5, 1, 2]),
        ("bucket_unexpected", [0.25, 1, 2]),
    ],
)
def test_buckets_that_are_not_those_asked_for_end_the_pull(code: str, starts: list[float]) -> None:
    error = broken_by(StoredPages(page([(MONDAY + n * DAY, []) for n in starts])))

    assert error.code == code
    assert "2026-11-1" in str(error)


def test_a_cut_says_how_much_is_missing_and_from_when() -> None:
    error = broken_by(StoredPages(page(days([completion()]))))

    assert "2 of the 3 buckets did not come, the first of them that of 2026-11-17T00:00Z" in error.what


def test_one_broken_row_on_the_last_page_publishes_nothing_and_names_its_bucket() -> None:
    error = broken_by(paged(days([completion()], [], [completion(), completion(-1)]), [1, 2]))

    assert error.code == "count_negative"
    assert error.where == "openai /organization/usage/completions bucket 2026-11-18T00:00:00Z"
    assert "row 2" in error.what
    assert error.__context__ is None


# Drift


def test_a_dimension_that_no_row_answers_is_reported_and_not_fatal() -> None:
    wanted = request(dimensions=("model", "project_id", "batch"))
    rows = [completion(), completion(project_id="proj_a", batch=None)]

    assert fetch(paged(days(rows, [], []), []), wanted).unanswered_dimensions == ("batch",)


def test_nothing_is_said_about_dimensions_of_a_range_without_rows() -> None:
    assert fetch(paged(days([], [], []), [])).unanswered_dimensions == ()


def test_drift_is_collected_over_all_pages() -> None:
    rows = [completion(news=1)], [completion(news=2)], []

    assert fetch(paged(days(*rows), [1, 2])).drift.unknown_fields == {"news": 2}


# Over HTTP


def test_a_range_is_fetched_over_http_page_by_page() -> None:
    hours = [(MONDAY + n * HOUR, [completion(n)]) for n in range(24 * 10)]

    def answer(path: str) -> Answer:
        query = parse_qs(urlsplit(path).query)
        begin, limit = int(query.get("page", ["0"])[0]), int(query["limit"][0])
        end = begin + limit
        return Answer.gzipped(page(hours[begin:end], str(end) if end < len(hours) else None))

    with (
        serving(Loopback(by_path=answer)) as loopback,
        ProviderClient(PROVIDER, Secret("sk-admin-x"), base_url=loopback.url) as client,
    ):
        now = MONDAY + 11 * DAY
        fetched = fetch_range(client, PROVIDER, COMPLETIONS, request(days=10, width="1h"), now)

    # 240 buckets of an hour in pages of 168
    assert len(fetched.pages) == client.counters.requests == 2
    assert fetched.drift.rows == 240
    assert [day.rows for day in fetched.days] == [24] * 10


def test_a_refusal_in_the_middle_publishes_nothing() -> None:
    answers = [
        Answer(body=page(days([completion()]), "page_2")),
        Answer(status=401, body=b'{"error": {"message": "revoked"}}'),
    ]
    with (
        serving(Loopback(*answers)) as loopback,
        ProviderClient(PROVIDER, Secret("sk-admin-x"), base_url=loopback.url) as client,
        pytest.raises(PermanentError, match="credential_refused"),
    ):
        fetch_range(client, PROVIDER, COMPLETIONS, request(), NOW)
