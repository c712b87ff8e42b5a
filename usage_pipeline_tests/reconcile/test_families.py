"""Families besides text, with OpenAI's real endpoints: levels, measures of their own, and families that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.providers.openai import OpenAI
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, figure, scenario_on, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, SETTLED, speaks=[OpenAI()]) as made:
        yield made


def stores(key: RegisteredAccount, hour: int, project: str, size: int) -> None:
    key.account.uses.append(Use(utc(D, hour), project=project, amount=size, endpoint="vector_stores"))


def test_a_level_is_the_days_maximum_of_the_sums_over_projects_and_accounts_add_up(scenario: Scenario) -> None:
    acme = scenario.register(grain="1h")
    other = scenario.register(name="other", organization="org-other", grain="1h")
    for hour, one, two in ((1, 100, 0), (5, 60, 70), (9, 20, 90)):
        stores(acme, hour, "proj-one", one)
        stores(acme, hour, "proj-two", two)
    stores(other, 20, "proj-three", 1000)
    for key in (acme, other):
        scenario.pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["family"], row["model"], row["decision"], row["findings"]) == ("vector_stores", "", "provider", [])
    assert figure(row, "counted", "usage_bytes") == 130 + 1000
    assert figure(row, "reported_by_provider", "usage_bytes") == 1130
    assert figure(scenario.report(D)["totals"], "counted", "usage_bytes") == 1130


def test_a_billed_line_that_names_a_model_is_not_the_price_of_storage(scenario: Scenario) -> None:
    key = scenario.register(grain="1d")
    stores(key, 0, "proj-one", 60)
    key.account.bills.append(Bill(D, Decimal(3), "gpt-4o, output", "gpt-4o", "output_tokens"))
    scenario.pull(key, D)
    scenario.settle(D)
    billed = {(row["family"], row["model"]): row["cost"]["billed"]["usd"] for row in scenario.rows(D)}
    assert billed == {("vector_stores", ""): None, ("billed_line", "gpt-4o"): "3.00"}


def test_a_level_in_days_is_the_sum_over_projects(scenario: Scenario) -> None:
    key = scenario.register(grain="1d")
    stores(key, 0, "proj-one", 60)
    stores(key, 0, "proj-two", 70)
    scenario.pull(key, D)
    scenario.settle(D)
    assert figure(scenario.row(D), "counted", "usage_bytes") == 130


def test_a_days_level_of_several_days_is_the_highest(scenario: Scenario) -> None:
    key = scenario.register(grain="1h")
    later = D + timedelta(days=1)
    stores(key, 3, "proj-one", 60)
    key.account.uses.append(Use(utc(later, 3), project="proj-one", amount=50, endpoint="vector_stores"))
    scenario.at(SETTLED + timedelta(days=1)).pull(key, D, later + timedelta(days=1))
    scenario.settle(D, later)
    totals = scenario.report(D, later + timedelta(days=1))["totals"]
    assert figure(totals, "counted", "usage_bytes") == 60


def test_each_family_is_counted_in_its_own_unit_and_web_search_reports_no_requests(scenario: Scenario) -> None:
    key = scenario.register()
    used = {
        "images": ("gpt-image-1", "images"),
        "audio_speeches": ("tts-1", "characters"),
        "audio_transcriptions": ("whisper-1", "seconds"),
        "code_interpreter_sessions": ("", "sessions"),
        "web_search_calls": ("gpt-5", "searches"),
        "file_search_calls": ("", "searches"),
    }
    for endpoint, (model, _) in used.items():
        key.account.uses.append(Use(utc(D, 9), model, amount=5, requests=3, project="p", endpoint=endpoint))
    scenario.pull(key, D)
    scenario.settle(D)
    rows = {row["family"]: row for row in scenario.rows(D)}
    told = {family: (row["model"], row["counted"]["other"], row["counted"]["requests"]) for family, row in rows.items()}
    assert told == {
        "images": ("gpt-image-1", {"images": 5}, 3),
        "audio_speeches": ("tts-1", {"characters": 5}, 3),
        "audio_transcriptions": ("whisper-1", {"seconds": 5}, 3),
        "code_interpreter": ("", {"sessions": 5}, None),
        "web_search": ("gpt-5", {"searches": 5}, None),
        "file_search": ("", {"searches": 5}, None),
    }


def test_families_that_nobody_uses_make_no_rows_and_no_findings(scenario: Scenario) -> None:
    key = scenario.register()
    scenario.pull(key, D)
    scenario.settle(D)
    assert scenario.rows(D) == []
    assert scenario.codes(D) == []
