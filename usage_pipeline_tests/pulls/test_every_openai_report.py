"""Every report of an admin key from pull to report: each family in its own unit, none of them another's.

Over real HTTP and the real database, through the stages that everything else calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.openai_reports import ADMIN_ENDPOINTS
from usage_pipeline_tests.scripted.scenario import Scenario, figure, scenario_on, utc

DAY = date(2026, 3, 10)
SETTLED = datetime(2026, 3, 14, 6, tzinfo=UTC)
IMAGE = {"size": "1024x1024", "source": "image.generation"}


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


def settled(scenario: Scenario, *uses: Use) -> None:
    key = scenario.register()
    key.account.uses += uses
    scenario.pull(key, DAY)
    scenario.settle(DAY)


@pytest.mark.parametrize(
    ("family", "measure", "use"),
    [
        ("embeddings", "uncached_input", Use(utc(DAY, 9), uncached_input=70, endpoint="embeddings")),
        ("moderations", "uncached_input", Use(utc(DAY, 9), uncached_input=70, endpoint="moderations")),
        ("images", "images", Use(utc(DAY, 9), amount=70, endpoint="images", details=IMAGE)),
        ("audio_speeches", "characters", Use(utc(DAY, 9), amount=70, endpoint="audio_speeches")),
        ("audio_transcriptions", "seconds", Use(utc(DAY, 9), amount=70, endpoint="audio_transcriptions")),
        ("vector_stores", "usage_bytes", Use(utc(DAY, 9), amount=70, endpoint="vector_stores")),
        ("code_interpreter", "sessions", Use(utc(DAY, 9), amount=70, endpoint="code_interpreter_sessions")),
        ("web_search", "searches", Use(utc(DAY, 9), amount=70, endpoint="web_search_calls")),
        ("file_search", "searches", Use(utc(DAY, 9), amount=70, endpoint="file_search_calls")),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_family_is_counted_in_its_own_unit_and_alone(scenario: Scenario, family: str, measure: str, use: Use) -> None:
    settled(scenario, use)

    (row,) = scenario.report(DAY)["rows"]

    assert (row["family"], row["decision"], row["provisional"]) == (family, "provider", False)
    assert figure(row, "counted", measure) == 70
    assert figure(row, "counted", "output") is None


def test_a_web_searchs_requests_are_counted_once_by_completions(scenario: Scenario) -> None:
    settled(
        scenario,
        Use(utc(DAY, 9), output=5, requests=3),
        Use(utc(DAY, 9), amount=8, requests=3, endpoint="web_search_calls"),
    )

    assert figure(scenario.row(DAY, family="text"), "counted", "requests") == 3
    assert figure(scenario.row(DAY, family="web_search"), "counted", "requests") is None


def test_storage_is_added_over_projects_at_one_instant_and_never_over_time(scenario: Scenario) -> None:
    settled(
        scenario,
        *(
            Use(utc(DAY, hour), amount=stored, project=project, endpoint="vector_stores")
            for hour, project, stored in (
                (9, "proj_a", 100),
                (9, "proj_b", 50),
                (10, "proj_a", 120),
                (11, "proj_b", 50),
            )
        ),
    )

    assert figure(scenario.row(DAY, family="vector_stores"), "counted", "usage_bytes") == 150


def test_images_of_two_sizes_are_two_lines(scenario: Scenario) -> None:
    settled(
        scenario,
        *(
            Use(utc(DAY, 9), amount=1, endpoint="images", details={**IMAGE, "size": size})
            for size in ("256x256", "512x512", "512x512")
        ),
    )

    lines = scenario.select("SELECT line_detail, images FROM usage_events ORDER BY 1")
    assert [(line["line_detail"], line["images"]) for line in lines] == [
        ('{"size":"256x256","source":"image.generation"}', 1),
        ('{"size":"512x512","source":"image.generation"}', 2),
    ]


def test_nobody_uses_a_family_and_nothing_is_said_of_it(scenario: Scenario) -> None:
    settled(scenario)

    assert scenario.report(DAY)["rows"] == []
    assert scenario.codes(DAY) == []
    covered = scenario.select("SELECT endpoint FROM slices WHERE observed_at IS NOT NULL ORDER BY 1")
    assert [slice_["endpoint"] for slice_ in covered] == sorted(ADMIN_ENDPOINTS)


def test_a_bill_is_told_by_key(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.bills += [Bill(DAY, Decimal(1), "gpt-5, output", api_key=api_key) for api_key in ("key_a", "key_b")]
    scenario.pull(key, DAY)
    scenario.settle(DAY)

    lines = scenario.select("SELECT api_key_id, amount_usd FROM billed_costs ORDER BY 1")
    assert [(line["api_key_id"], line["amount_usd"]) for line in lines] == [("key_a", 1), ("key_b", 1)]


def test_costs_that_refuse_the_key_are_asked_without_it(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.costs_refuse_keys = True

    for _ in range(2):
        scenario.pull(key, DAY)

    grouped = [
        [value for name, value in query if name == "group_by"]
        for path, query in key.account.asked
        if path.endswith("/costs")
    ]
    assert grouped == [
        ["project_id", "line_item", "api_key_id"],
        ["project_id", "line_item"],
        ["project_id", "line_item"],
    ]
