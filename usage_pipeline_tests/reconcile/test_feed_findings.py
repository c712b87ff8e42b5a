"""What slices and feeds are worth a look for: missing, stale, overlapping, restated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import permutations

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, figure, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
SETTLED = utc(D + timedelta(days=4), 6)


def of_usage(scenario: Scenario) -> list[tuple[str, str | None]]:
    """Codes and endpoints of the open findings of the family text."""
    return [(one["code"], one["endpoint"]) for one in scenario.findings(D) if one["family"] == "text"]


@pytest.mark.parametrize(("hours", "codes"), [(23, []), (24, [("window_missing", "completions")])])
def test_a_window_is_missing_a_day_after_its_end(
    scenario: Scenario, hours: int, codes: list[tuple[str, str | None]]
) -> None:
    scenario.register()
    scenario.at(utc(NEXT) + timedelta(hours=hours)).settle(D)
    assert scenario.row(D, family="text")["decision"] == "no_data"
    assert of_usage(scenario) == codes


@pytest.mark.parametrize(("hours", "codes"), [(71, []), (72, [("provider_missing", "completions")])])
def test_a_provider_is_missing_when_it_should_have_settled(
    scenario: Scenario, hours: int, codes: list[tuple[str, str | None]]
) -> None:
    scenario.register()
    feed = scenario.hermes()
    scenario.at(utc(D, 12)).send(feed, v3_payload(utc(D, 12), [Call(utc(D, 9), output=5)], D, NEXT))
    scenario.at(utc(NEXT) + timedelta(hours=hours)).settle(D)
    assert of_usage(scenario) == codes


def test_a_missing_window_says_the_last_error_and_closes_with_the_pull(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.refuse("completions", 401)
    with pytest.raises(UsagePipelineError):
        scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    (finding,) = [one for one in scenario.findings(D) if one["family"] == "text"]
    assert "acme.openai.main" in finding["explanation"]
    assert "Last error: " in finding["explanation"]
    key.account.heal()
    scenario.pull(key, D)
    scenario.settle(D)
    assert scenario.codes(D) == []


@pytest.mark.parametrize(("hours", "codes"), [(71, []), (72, [("provider_stale", "completions")])])
def test_a_pull_that_was_never_final_is_stale_once_it_could_be(
    scenario: Scenario, hours: int, codes: list[tuple[str, str | None]]
) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), 5)
    scenario.at(utc(NEXT)).pull(key, D)
    scenario.at(utc(NEXT) + timedelta(hours=hours)).settle(D)
    assert of_usage(scenario) == codes


def test_a_shadowed_feed_that_is_behind_is_not_stale(scenario: Scenario) -> None:
    first, second = scenario.register(), scenario.register(name="second", projects=["proj_a"])
    for key in (first, second):
        key.account.spend(utc(D, 9), 5, project="proj_a")
    scenario.at(utc(NEXT)).pull(second, D)
    scenario.at(SETTLED).pull(first, D)
    scenario.settle(D)
    assert of_usage(scenario) == []


def test_a_shadowed_feed_that_reports_more_is_a_finding(scenario: Scenario) -> None:
    first, second = scenario.register(), scenario.register(name="second", projects=["proj_a"])
    first.account.spend(utc(D, 9), 300, project="proj_a")
    second.account.spend(utc(D, 9), 400, project="proj_a")
    second.account.spend(utc(D, 9), 7, "gpt-4o", project="proj_a")
    scenario.at(SETTLED).pull(first, D)
    scenario.pull(second, D)
    scenario.settle(D)
    (row,) = scenario.rows(D, family="text")  # what only a shadowed feed reports has no row
    assert (row["model"], figure(row, "counted"), row["findings"]) == ("gpt-5", 300, ["overlapping_feeds"])
    found = {one["model"]: int(one["difference"]) for one in scenario.findings(D) if one["measure"] == "output"}
    assert found == {"gpt-5": 100, "gpt-4o": 7}


def test_a_project_that_leads_is_compared_with_what_it_shadows(scenario: Scenario) -> None:
    whole, project = scenario.register(), scenario.register(name="second", projects=["proj_a"])
    whole.account.spend(utc(D, 9), 300, project="proj_a")
    whole.account.spend(utc(D, 9), 50, project="proj_b")
    project.account.spend(utc(D, 9), 290, project="proj_a")
    scenario.at(utc(D, 12)).pull(whole, D)
    scenario.at(SETTLED).pull(project, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert (figure(row, "counted"), row["provisional"]) == (340, True)
    (finding,) = [one for one in scenario.findings(D) if one["code"] == "overlapping_feeds"]
    assert (int(finding["figure_provider"]), int(finding["difference"])) == (290, 10)


def test_crossing_scopes_are_a_finding_and_count_once(scenario: Scenario) -> None:
    first = scenario.register(projects=["proj_a", "proj_b"])
    second = scenario.register(name="second", projects=["proj_b", "proj_c"])
    for key, names in ((first, ("proj_a", "proj_b")), (second, ("proj_b", "proj_c"))):
        for name in names:
            key.account.spend(utc(D, 9), 100, project=name)
        scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert figure(scenario.row(D, family="text"), "counted") == 300
    assert of_usage(scenario) == [("overlapping_feeds", None)]


def test_a_scope_that_crosses_two_others_names_both(scenario: Scenario) -> None:
    scopes = {"main": ["a", "b"], "second": ["b", "c"], "third": ["a", "c"]}
    for name, projects in scopes.items():
        key = scenario.register(name=name, projects=[f"proj_{project}" for project in projects])
        for project in projects:
            key.account.spend(utc(D, 9), 100, project=f"proj_{project}")
        scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert figure(scenario.row(D, family="text"), "counted") == 300
    explained = [one["explanation"] for one in scenario.findings(D) if one["family"] == "text"]
    assert [
        sorted(name for name in scopes if f"acme.openai.{name}" in words)
        for words in sorted(explained, key=lambda words: "third" in words)
    ] == [["main", "second"], ["main", "second", "third"]]


def test_two_labels_on_one_feed_are_a_finding(scenario: Scenario) -> None:
    feed = scenario.hermes()
    for hour, label in ((10, "one"), (11, "two")):
        at = utc(D, hour)
        payload = v3_payload(at, [Call(utc(D, 9), output=5)], D, NEXT, revision=hour)
        scenario.at(at).send(feed, {**payload, "sourceLabel": label})
    scenario.settle(D)
    assert scenario.codes(D) == ["overlapping_feeds"]


def say(scenario: Scenario, key: RegisteredAccount, at: datetime, output: int, *, requests: int = 1) -> None:
    """Let the provider say this much of D to a pull that starts at an instant."""
    key.account.forget()
    key.account.spend(utc(D, 9), output, requests=requests)
    scenario.at(at).pull(key, D)


def restated(scenario: Scenario) -> list[tuple[str, int, int]]:
    found = [one for one in scenario.findings(D) if one["code"] == "restated_after_final"]
    return [(one["measure"], int(one["figure_provider"]), int(one["difference"])) for one in found]


def test_a_restatement_before_the_first_final_pull_is_none(scenario: Scenario) -> None:
    key = scenario.register()
    for hour, output in ((-1, 1000), (0, 950), (1, 950)):
        say(scenario, key, utc(NEXT) + timedelta(hours=72 + hour), output)
    scenario.settle(D)
    assert restated(scenario) == []


def test_a_restatement_that_was_taken_back_is_a_finding_all_the_same(scenario: Scenario) -> None:
    key = scenario.register()
    for hour, output in enumerate((1000, 950, 1000)):
        say(scenario, key, SETTLED + timedelta(hours=hour), output)
        scenario.settle(D)
    assert figure(scenario.row(D, family="text"), "counted") == 1000
    assert restated(scenario) == [("output", 950, -50)]


def test_requests_alone_are_restated_too(scenario: Scenario) -> None:
    key = scenario.register()
    for hour in (0, 1):
        say(scenario, key, SETTLED + timedelta(hours=hour), 1000, requests=1 + hour)
    scenario.settle(D)
    assert restated(scenario) == [("requests", 2, 1)]


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_a_final_pull_that_arrives_late_is_compared_as_if_it_had_come_in_time(
    scenario: Scenario, order: Sequence[int]
) -> None:
    key = scenario.register()
    outputs = (1000, 950, 950)
    for n in order:
        say(scenario, key, SETTLED + timedelta(hours=n), outputs[n])
        scenario.settle(D)
    scenario.at(SETTLED + timedelta(hours=3)).settle(D)
    assert figure(scenario.row(D, family="text"), "counted") == 950
    assert restated(scenario) == [("output", 950, -50)]
