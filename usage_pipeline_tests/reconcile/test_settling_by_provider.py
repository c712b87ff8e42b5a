"""A provider settles in its own time: its days become final, stale and restated after it, the others' after theirs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from usage_pipeline.settings import Settings
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, utc

D = date(2026, 3, 10)
END = utc(D + timedelta(days=1))
MODELS = {"openai": "gpt-5", "anthropic": "claude-sonnet-4-5"}


def use_settings(scenario: Scenario, **variables: str) -> None:
    read = Settings.from_environment(variables)
    scenario.runtime = replace(scenario.runtime, settings=replace(read, http_attempts=1))


def both(scenario: Scenario) -> list[RegisteredAccount]:
    return [scenario.register(provider) for provider in MODELS]


def say(scenario: Scenario, keys: list[RegisteredAccount], at: datetime, output: int) -> None:
    for key in keys:
        key.account.forget()
        key.account.spend(utc(D, 9), output, MODELS[key.key.provider])
        scenario.at(at).pull(key, D)
    scenario.settle(D)


def provisional(scenario: Scenario) -> dict[str, bool]:
    return {provider: scenario.row(D, family="text", provider=provider)["provisional"] for provider in MODELS}


def found(scenario: Scenario, code: str) -> list[str]:
    return sorted({one["provider"] for one in scenario.findings(D) if one["code"] == code and one["family"] == "text"})


def test_a_pull_is_final_after_its_own_providers_settling_time(scenario: Scenario) -> None:
    use_settings(scenario, OPENAI_SETTLING_HOURS="24")
    say(scenario, both(scenario), END + timedelta(hours=30), 5)
    assert provisional(scenario) == {"openai": False, "anthropic": True}


def test_without_a_time_of_its_own_a_provider_has_that_of_all(scenario: Scenario) -> None:
    use_settings(scenario, USAGE_SETTLING_PROVIDER_HOURS="24", ANTHROPIC_SETTLING_HOURS="72")
    say(scenario, both(scenario), END + timedelta(hours=30), 5)
    assert provisional(scenario) == {"openai": False, "anthropic": True}


def test_a_day_that_was_never_final_is_stale_once_its_own_provider_has_settled(scenario: Scenario) -> None:
    use_settings(scenario, OPENAI_SETTLING_HOURS="24")
    say(scenario, both(scenario), END, 5)
    scenario.at(END + timedelta(hours=30)).settle(D)
    assert found(scenario, "provider_stale") == ["openai"]
    scenario.at(END + timedelta(hours=72)).settle(D)
    assert found(scenario, "provider_stale") == ["anthropic", "openai"]


def test_a_change_is_a_restatement_after_its_own_providers_settling_time_only(scenario: Scenario) -> None:
    use_settings(scenario, OPENAI_SETTLING_HOURS="24")
    keys = both(scenario)
    for hour, output in ((30, 1000), (31, 950)):
        say(scenario, keys, END + timedelta(hours=hour), output)
    assert found(scenario, "restated_after_final") == ["openai"]
