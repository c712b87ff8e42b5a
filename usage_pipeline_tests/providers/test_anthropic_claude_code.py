"""The Claude Code report is one row a person, model and day, kept beside what counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline.errors import TransientError
from usage_pipeline.providers.anthropic import CLAUDE_CODE, COST_REPORT, MESSAGES, PROVIDER
from usage_pipeline.providers.contract import ContractBrokenError, Drift, PageQuery
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.providers.reading import FIXTURES, dimensions, measures, raw, rows_of, tokens
from usage_pipeline_tests.pulls.answers import StoredPages
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

NOW = datetime(2025, 9, 10, 6, 30, tzinfo=UTC)
MONDAY = date(2025, 9, 8)
TUESDAY = date(2025, 9, 9)
DOCUMENTED = (FIXTURES / "anthropic" / "claude_code.json").read_bytes()


def asked(day: date = MONDAY) -> PageQuery:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return PageQuery(start, start + timedelta(days=1), "1d", ())


def person(day: date = MONDAY, *shares: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "date": f"{day.isoformat()}T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": "anna@example.com"},
        "organization_id": "org-uuid",
        "customer_type": "api",
        "terminal_type": "vscode",
        "model_breakdown": list(shares),
        **fields,
    }


def share(model: str = "claude-opus-5-5", **tokens_of: int) -> dict[str, Any]:
    return {"model": model, "tokens": tokens_of, "estimated_cost": {"currency": "USD", "amount": 1}}


def page(*rows: dict[str, Any], cursor: str | None = None) -> bytes:
    return json.dumps({"data": rows, "has_more": cursor is not None, "next_page": cursor}).encode()


def fetch(source: StoredPages, first: date = MONDAY, end: date = TUESDAY) -> FetchedRange:
    return fetch_range(source, PROVIDER, CLAUDE_CODE, RangeRequest(first, end, "1d", ()), NOW)


def test_the_documented_row_becomes_one_row_of_its_model() -> None:
    read = PROVIDER.read_page(CLAUDE_CODE, DOCUMENTED, asked())
    drift = Drift()

    [row] = rows_of(PROVIDER, CLAUDE_CODE, read.buckets[0].results, drift)

    assert read.buckets[0].start == datetime(2025, 9, 8, tzinfo=UTC)
    assert read.next_cursor is None
    assert measures(row) == {
        "uncached_input": 100_000,
        "cache_read": 10_000,
        "cache_write_unsplit": 5_000,
        "output": 35_000,
    }
    assert set(measures(row)) == CLAUDE_CODE.always_reports
    assert tokens(row) == 150_000
    assert dimensions(row) == {
        "user_id": "developer@company.com",
        "model": "claude-opus-5-5",
        "line_detail": '{"customer_type":"api","terminal_type":"vscode"}',
    }
    assert (drift.rows, drift.unknown_fields) == (1, {})


def test_each_model_of_a_person_is_a_row() -> None:
    rows = rows_of(
        PROVIDER, CLAUDE_CODE, raw(person(MONDAY, share("claude-opus-5-5", input=5), share("claude-haiku-5", output=7)))
    )

    assert [(dimensions(row)["model"], tokens(row)) for row in rows] == [("claude-opus-5-5", 5), ("claude-haiku-5", 7)]


@pytest.mark.parametrize("breakdown", [[], None])
def test_a_person_without_tokens_is_no_usage_row(breakdown: Any) -> None:
    assert rows_of(PROVIDER, CLAUDE_CODE, raw(person(model_breakdown=breakdown))) == []


def test_a_key_is_named_in_the_detail_since_the_report_has_no_id_of_it() -> None:
    row = person(MONDAY, share(input=1), actor={"type": "api_actor", "api_key_name": "ci"}, subscription_type="max")

    [read] = rows_of(PROVIDER, CLAUDE_CODE, raw(row))

    assert dimensions(read) == {
        "model": "claude-opus-5-5",
        "line_detail": '{"api_key_name":"ci","customer_type":"api","subscription_type":"max","terminal_type":"vscode"}',
    }


def test_new_fields_are_told_on_every_level() -> None:
    drift = Drift()
    strange = {**share(input=1, cache_creation_1h=3), "fast": True}
    actor = {"type": "user_actor", "email_address": "a@b.c", "team": "x"}

    rows_of(PROVIDER, CLAUDE_CODE, raw(person(MONDAY, strange, actor=actor, seat="gold")), drift)

    assert drift.unknown_fields == {
        "seat": 1,
        "actor.team": 1,
        "model_breakdown.fast": 1,
        "model_breakdown.tokens.cache_creation_1h": 1,
    }


def test_it_is_kept_and_never_counted() -> None:
    assert CLAUDE_CODE.informational
    assert not any(endpoint.informational for endpoint in (MESSAGES, COST_REPORT))


def test_one_day_is_asked_with_the_largest_page() -> None:
    assert PROVIDER.query(CLAUDE_CODE, asked()) == [("starting_at", "2025-09-08"), ("limit", "1000")]
    cursor = PageQuery(asked().start, asked().end, "1d", (), cursor="page_2")
    assert PROVIDER.query(CLAUDE_CODE, cursor)[-1] == ("page", "page_2")


def test_the_report_names_the_organisation() -> None:
    assert PROVIDER.account_told(CLAUDE_CODE, DOCUMENTED) == "dc9f6c26-b22c-4831-8d01-0446bada88f1"
    assert PROVIDER.account_told(CLAUDE_CODE, page()) is None
    assert PROVIDER.account_told(MESSAGES, DOCUMENTED) is None


def test_a_range_is_read_day_by_day_and_page_by_page() -> None:
    source = StoredPages(
        page(person(MONDAY, share(input=1)), cursor="page_2"),
        page(person(MONDAY, share(input=2)), person(MONDAY)),
        page(),
    )

    fetched = fetch(source, MONDAY, date(2025, 9, 10))

    assert [(query.start.day, query.cursor) for query in source.asked] == [(8, None), (8, "page_2"), (9, None)]
    assert [(day.day, day.rows) for day in fetched.days] == [(MONDAY, 3), (TUESDAY, 0)]
    assert fetched.account == "org-uuid"


def test_a_day_that_is_not_over_is_not_asked_for() -> None:
    source = StoredPages()

    fetched = fetch(source, NOW.date(), date(2025, 9, 11))

    assert fetched.is_empty
    assert source.asked == []


@pytest.mark.parametrize(
    ("code", "bodies"),
    [
        ("bucket_unexpected", [page(person(TUESDAY, share(input=1)))]),
        ("cursor_missing", [b'{"data": [], "has_more": true, "next_page": null}']),
        ("cursor_repeated", [page(cursor="page_1"), page(cursor="page_1")]),
        ("page_unreadable", [b'{"data": {}}']),
        ("page_unreadable", [b'{"data": [{"actor": {}}]}']),
        ("count_negative", [page(person(MONDAY, share(input=-1)))]),
        ("row_unreadable", [page(person(MONDAY, {"tokens": {}}))]),
        ("results_unreadable", [page(person(model_breakdown={"claude": 1}))]),
    ],
)
def test_an_answer_that_cannot_be_is_refused(code: str, bodies: list[bytes]) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        fetch(StoredPages(*bodies))

    assert caught.value.code == code


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


@pytest.mark.parametrize(("status", "code"), [(403, "credential_forbidden"), (404, "endpoint_unknown")])
def test_an_organisation_without_claude_code_is_pulled_all_the_same(scenario: Scenario, status: int, code: str) -> None:
    key = scenario.register("anthropic")
    key.account.refuse("claude_code", status)

    told = {result.endpoint: result.error for result in scenario.pull(key, MONDAY).endpoints}

    assert [name for name, error in told.items() if error is not None] == ["claude_code"]
    noted = scenario.select("SELECT endpoint, last_attempt_error_code FROM slices WHERE last_attempt_error_code <> ''")
    assert noted == [{"endpoint": "claude_code", "last_attempt_error_code": code}]


def test_a_report_that_is_down_fails_the_pull_so_that_it_is_asked_again(scenario: Scenario) -> None:
    key = scenario.register("anthropic")
    key.account.refuse("claude_code", 500)

    with pytest.raises(TransientError, match="claude_code"):
        scenario.pull(key, MONDAY)
