"""Endpoints that answer one UTC day a request, in pages that cut rows: a day is whole, or nothing is."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from usage_pipeline.errors import TransientError
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES
from usage_pipeline.normalise.stored_answers import whole_buckets
from usage_pipeline.providers.contract import Bucket, ContractBrokenError, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.openai import OpenAI
from usage_pipeline.pulls.fetch import EMPTY_PAGES_MAX, FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
MONDAY = date(2026, 11, 16)
CALLS = Endpoint(
    name="calls",
    path="/calls",
    kind="usage",
    family="text",
    dimensions={},
    dimensions_max=0,
    page_limits={"1h": 24, "1d": 1},
    always_reports=frozenset({"output"}),
    one_day_per_request=True,
)

Row = dict[str, int]  # hour, output


class ByCall(OpenAI):
    """A provider whose answers list calls; ``read_page`` puts them into the hours that were asked for."""

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        answer = json.loads(body)
        width = 3600 if asked.width == "1h" else 86400
        rows: dict[datetime, list[Row]] = defaultdict(list)
        for row in answer["calls"]:
            rows[asked.start + timedelta(seconds=row["hour"] * 3600 // width * width)].append(row)
        buckets = [Bucket(start, msgspec.Raw(json.dumps(held).encode())) for start, held in sorted(rows.items())]
        return Page(buckets, answer.get("next"), answer.get("total"))

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        return json.loads(body).get("organization")

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        for row in msgspec.json.decode(results):
            drift.rows += 1
            if "surprise" in row:
                drift.unknown_fields["surprise"] = drift.unknown_fields.get("surprise", 0) + 1
            measures = tuple(row["output"] if name == "output" else None for name in EVENT_MEASURES)
            yield UsageRow((None,) * len(EVENT_DIMENSIONS), measures)


@dataclass
class Pages:
    """Answers by day and cursor; remembers what was asked."""

    by_day: Mapping[date, Sequence[dict[str, Any]]]
    asked: list[PageQuery] = field(default_factory=list)

    def clock(self) -> datetime:
        return NOW

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        self.asked.append(page)
        return json.dumps(self.by_day[page.start.date()][int(page.cursor or 0)]).encode()


def fetch(pages: Pages, days: int = 2, width: str = "1h", first: date = MONDAY) -> FetchedRange:
    request = RangeRequest(first, first + timedelta(days=days), width, ())
    return fetch_range(pages, ByCall(), CALLS, request, NOW)


def call(hour: int, output: int = 1, **more: int) -> dict[str, int]:
    return {"hour": hour, "output": output, **more}


TUESDAY = MONDAY + timedelta(days=1)


def test_each_day_is_asked_for_by_itself_and_its_pages_to_the_end() -> None:
    pages = Pages(
        {MONDAY: [{"calls": [call(1)], "next": "1"}, {"calls": [call(1), call(9)]}], TUESDAY: [{"calls": []}]}
    )
    fetched = fetch(pages)
    assert [(query.start.date(), query.cursor) for query in pages.asked] == [
        (MONDAY, None),
        (MONDAY, "1"),
        (TUESDAY, None),
    ]
    assert [(day.day, day.rows) for day in fetched.days] == [(MONDAY, 3), (TUESDAY, 0)]
    assert [(page.number, page.first_day, page.last_day) for page in fetched.pages] == [
        (0, MONDAY, MONDAY),
        (1, MONDAY, MONDAY),
        (2, TUESDAY, TUESDAY),  # without rows too: it is the day's answer
    ]


def test_the_open_day_is_asked_for_until_now() -> None:
    pages = Pages({NOW.date(): [{"calls": [call(11)]}]})
    fetch(pages, days=1, first=NOW.date())
    assert (pages.asked[0].start, pages.asked[0].end) == (datetime(2026, 11, 21, tzinfo=UTC), NOW)


def test_a_bucket_that_comes_in_parts_is_put_together() -> None:
    parts = [
        Bucket(datetime(2026, 11, 16, hour, tzinfo=UTC), msgspec.Raw(json.dumps(rows).encode()))
        for hour, rows in [(9, [1]), (3, [2]), (9, []), (9, [3, 4])]
    ]
    whole = [(bucket.start.hour, json.loads(bytes(bucket.results))) for bucket in whole_buckets(iter(parts))]
    assert whole == [(3, [2]), (9, [1, 3, 4])]


def test_rows_that_moved_between_pages_fail_the_range_and_may_be_read_again() -> None:
    told = [{"calls": [call(1)], "next": "1", "total": 2}, {"calls": [call(1), call(2)], "total": 2}]
    with pytest.raises(TransientError, match=r"rows_moved.*3 rows came of 2"):
        fetch(Pages({MONDAY: told}), days=1)


def test_a_row_of_another_day_is_refused() -> None:
    with pytest.raises(ContractBrokenError, match="bucket_unexpected"):
        fetch(Pages({MONDAY: [{"calls": [call(25)]}]}), days=1)


def test_pages_without_rows_that_promise_more_end() -> None:
    def pages(*with_rows: int) -> list[dict[str, Any]]:
        return [{"calls": [call(1)] if n in with_rows else [], "next": str(n + 1)} for n in range(250)]

    endless = Pages({MONDAY: pages()})
    with pytest.raises(ContractBrokenError, match=r"too_many_empty_pages.*100 pages on end had no rows"):
        fetch(endless, days=1)
    assert len(endless.asked) == EMPTY_PAGES_MAX
    with_gaps = pages(99, 199)
    with_gaps[249]["next"] = None
    assert fetch(Pages({MONDAY: with_gaps}), days=1).days[0].rows == 2


def test_a_cursor_that_leads_back_is_refused() -> None:
    with pytest.raises(ContractBrokenError, match="cursor_repeated"):
        fetch(Pages({MONDAY: [{"calls": [call(1)], "next": "0"}]}), days=1)


def test_drift_names_the_first_page_on_which_it_was_seen() -> None:
    told = [
        {"calls": [call(1)], "next": "1"},
        {"calls": [call(2, surprise=1)], "next": "2"},
        {"calls": [call(3, surprise=1)]},
    ]
    fetched = fetch(Pages({MONDAY: told}), days=1)
    assert fetched.drift.unknown_fields == {"surprise": 2}
    assert fetched.drift_pages["unknown_fields.surprise"] == 1


def test_the_account_that_an_answer_names_is_told() -> None:
    pages = Pages({MONDAY: [{"calls": []}], TUESDAY: [{"calls": [], "organization": "org-acme"}]})
    assert fetch(pages).account == "org-acme"
    assert fetch(Pages({MONDAY: [{"calls": []}]}), days=1).account is None


def test_a_days_digest_does_not_hang_on_the_size_of_its_pages() -> None:
    large = [{"calls": [call(1, 5), call(1, 6), call(9, 7)]}]
    small = [{"calls": [call(1, 5)], "next": "1"}, {"calls": [call(1, 6), call(9, 7)]}]
    assert fetch(Pages({MONDAY: large}), days=1).days[0] == replace(
        fetch(Pages({MONDAY: small}), days=1).days[0], buckets=2
    )
    other = [{"calls": [call(1, 5)], "next": "1"}, {"calls": [call(9, 6), call(9, 7)]}]
    assert fetch(Pages({MONDAY: large}), days=1).days[0].digest != fetch(Pages({MONDAY: other}), days=1).days[0].digest
