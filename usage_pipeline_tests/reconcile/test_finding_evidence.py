"""Every finding names what stands behind it: raw pages, batches, and attempts that failed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.payloads import Call, v2_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)


def told(scenario: Scenario, code: str) -> Json:
    return next(one for one in scenario.report(D)["findings"] if one["code"] == code)


def test_an_excess_names_the_page_and_the_batch_and_keeps_them_while_nothing_changes(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    scenario.at(SETTLED).pull(key, D)
    scenario.send(feed, v2_payload(SETTLED, [Call(utc(D, 9), output=1200)]))
    scenario.settle(D)
    found = told(scenario, "hermes_exceeds_provider")
    pull, batch = found["evidence"]
    assert found["explanation"].startswith("output: Hermes reports 1,200, the provider 1,000: 200 more, 20.0 %.")
    assert (pull["kind"], pull["key"], pull["endpoint"], pull["pages"]) == ("pull", key.slug, "completions", 1)
    assert pull["raw_pages"] == [f"{pull['pull_id']}/0"]
    assert pull["started_at"] == "2026-03-14T06:00:00Z"
    assert (batch["kind"], batch["feed"], batch["generated_at"]) == ("batch", feed.slug, "2026-03-14T06:00:00Z")
    # Pulled again with the same answer: the pages are still those of the first pull.
    scenario.at(SETTLED + timedelta(hours=2)).pull(key, D)
    scenario.settle(D)
    assert told(scenario, "hermes_exceeds_provider")["evidence"] == found["evidence"]
    # Another hour of the same tokens: the finding says the same by a newer page, and nothing joins its history.
    key.account.forget()
    key.account.spend(utc(D, 10), 1000)
    scenario.at(SETTLED + timedelta(hours=3)).pull(key, D)
    scenario.settle(D)
    newer = told(scenario, "hermes_exceeds_provider")
    assert newer["evidence"][0]["pull_id"] > pull["pull_id"]
    assert (newer["id"], newer["stated_at"]) == (found["id"], found["stated_at"])
    assert scenario.count("finding_history") == 0


def test_a_missing_day_names_the_attempt_that_failed(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.refuse("completions")
    with pytest.raises(UsagePipelineError):
        scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    by_endpoint = {one["endpoint"]: one for one in scenario.report(D)["findings"] if one["code"] == "window_missing"}
    [attempt] = by_endpoint["completions"]["evidence"]
    assert (attempt["kind"], attempt["key"], attempt["endpoint"]) == ("attempt", key.slug, "completions")
    assert attempt["attempted_at"] == "2026-03-14T06:00:00Z"
    assert attempt["error_code"]


def test_a_day_that_nobody_tried_says_so(scenario: Scenario) -> None:
    scenario.register()
    scenario.at(SETTLED).settle(D)
    [attempt] = told(scenario, "window_missing")["evidence"]
    assert (attempt["kind"], attempt["attempted_at"], attempt["error"]) == ("attempt", None, None)


def test_a_restatement_names_the_first_final_page_and_the_later_one(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), 1000)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    key.account.forget()
    key.account.spend(utc(D, 9), 950)
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    found = told(scenario, "restated_after_final")
    assert "the first final pull said 1,000, a later one 950: 50 less, 5.0 %" in found["explanation"]
    started = [(one["endpoint"], one["started_at"]) for one in found["evidence"]]
    assert started == [("completions", "2026-03-14T06:00:00Z"), ("completions", "2026-03-14T07:00:00Z")]
