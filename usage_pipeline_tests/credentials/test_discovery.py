"""The account behind a key as the provider tells it: taken over, compared, or refused with nothing published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.credentials.discovery import account_of_proxy
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.feed_settings import set_projects
from usage_pipeline.ledger.provider_keys import ProviderKey, get_provider_key
from usage_pipeline.providers.registry import provider
from usage_pipeline_tests.scripted.scenario import TELEMETRY, RegisteredAccount, Scenario, scenario_on, utc

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPENAI_ID, ANTHROPIC_ID = "org-Truth1", "5a9db0c5-0000-4000-8000-00000a47e0c1"
ME = "/v1/organizations/me"


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


def spending(
    scenario: Scenario, source: str = "openai", told: str | None = OPENAI_ID, **more: object
) -> RegisteredAccount:
    """A key of an account that tells itself, with something used and billed on the day D."""
    key = scenario.register(source, **{"organization": None, **more})  # type: ignore[arg-type]
    key.account.organisation = told
    if not key.account.uses:
        key.account.spend(utc(D, 9), 1000, "claude-sonnet-4-5" if source == "anthropic" else "gpt-5")
    return key


def now_of(scenario: Scenario, key: RegisteredAccount) -> ProviderKey:
    with scenario.runtime.engine.begin() as connection:
        return get_provider_key(connection, key.slug)


def nothing_is_published(scenario: Scenario) -> bool:
    scenario.settle(D)
    return (scenario.count("pull_days"), scenario.count("usage_events"), scenario.count("billed_costs")) == (0, 0, 0)


@pytest.mark.parametrize(("source", "told"), [("openai", OPENAI_ID), ("anthropic", ANTHROPIC_ID)])
def test_the_account_that_the_provider_tells_is_the_keys_account(scenario: Scenario, source: str, told: str) -> None:
    key = spending(scenario, source, told)
    scenario.pull(key, D)
    found = now_of(scenario, key)
    assert (found.account, found.account_known, found.account_stated) == (told, "told", False)
    with scenario.runtime.engine.begin() as connection:
        (change,) = [entry for entry in list_changes(connection, key.slug) if entry.what == "account_changed"]
    assert change.detail == {"from": "unstated:acme", "to": told, "known": "told"}


def test_a_key_whose_account_is_not_told_keeps_the_one_that_it_has(scenario: Scenario) -> None:
    stated, assumed = spending(scenario, told=None, organization="org-acme"), spending(scenario, "anthropic", None)
    for key in (stated, assumed):
        scenario.pull(key, D)
    assert now_of(scenario, stated).account_known == "stated"
    assert (now_of(scenario, assumed).account, now_of(scenario, assumed).account_known) == ("unstated:acme", "assumed")


def test_the_account_is_asked_for_until_it_is_told_and_costs_the_pull_no_request(scenario: Scenario) -> None:
    key = spending(scenario, "anthropic", None)
    first = scenario.pull(key, D)
    key.account.organisation = ANTHROPIC_ID
    scenario.pull(key, D)
    scenario.pull(key, D)
    assert key.account.looked_up.count(ME) == 2
    reports = [path for path, _ in key.account.asked]
    assert sum(one.requests for one in first.endpoints) == len(reports) // 3


def test_a_new_secret_is_asked_for_its_account_again(scenario: Scenario) -> None:
    key = spending(scenario, "anthropic", ANTHROPIC_ID)
    scenario.pull(key, D)
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE provider_keys SET secret_version = 2")
    scenario.pull(key, D)
    assert key.account.looked_up.count(ME) == 2
    assert now_of(scenario, key).account_told_version == 2


@pytest.mark.parametrize(("source", "told"), [("openai", OPENAI_ID), ("anthropic", ANTHROPIC_ID)])
def test_a_stated_account_that_the_provider_contradicts_stops_the_pull(
    scenario: Scenario, source: str, told: str
) -> None:
    key = spending(scenario, source, told, organization="org-mistyped")
    with pytest.raises(PermanentError, match="account_contradicted") as caught:
        scenario.pull(key, D)
    assert "org-mistyped" in caught.value.what
    assert f"keys set {key.slug} --organization {told}" in caught.value.remedy
    assert now_of(scenario, key).account == "org-mistyped"
    assert nothing_is_published(scenario)
    codes = {row["last_attempt_error_code"] for row in scenario.select("SELECT * FROM slices")}
    assert codes == {"account_contradicted"}
    assert len(key.account.asked) == (1 if source == "openai" else 0)


def test_a_secret_of_another_account_is_not_mixed_into_a_keys_figures(scenario: Scenario) -> None:
    key = spending(scenario)
    scenario.pull(key, D)
    key.account.organisation = "org-Other"
    before = scenario.contents("pulls", "slices", *TELEMETRY)
    with pytest.raises(PermanentError, match="account_contradicted") as caught:
        scenario.pull(key, D)
    assert OPENAI_ID in caught.value.what
    assert scenario.contents("pulls", "slices", *TELEMETRY) == before


def test_two_keys_of_one_account_are_one_account_and_count_once(scenario: Scenario) -> None:
    keys = [spending(scenario, name=name, organization=stated) for name, stated in (("a", None), ("b", OPENAI_ID))]
    for key in keys:
        scenario.pull(key, D)
    scenario.settle(D)
    assert {now_of(scenario, key).account for key in keys} == {OPENAI_ID}
    assert scenario.row(D, family="text")["counted"]["tokens"]["output"] == 1000


def test_keys_that_were_assumed_to_share_an_account_go_with_the_one_that_is_told(scenario: Scenario) -> None:
    """A disabled key is never asked again; its history must not count beside that of its own account."""
    silent = spending(scenario, told=None, name="silent")
    scenario.pull(silent, D)
    loud = spending(scenario, name="loud")
    scenario.pull(loud, D)
    scenario.settle(D)
    taken_along = now_of(scenario, silent)
    assert (taken_along.account, taken_along.account_known) == (OPENAI_ID, "assumed")
    assert scenario.row(D, family="text")["counted"]["tokens"]["output"] == 1000


def test_a_key_that_was_taken_along_and_belongs_elsewhere_leaves_again(scenario: Scenario) -> None:
    other = spending(scenario, told="org-Other", name="other")
    scenario.pull(spending(scenario, name="first"), D)
    assert now_of(scenario, other).account == OPENAI_ID
    scenario.pull(other, D)
    assert (now_of(scenario, other).account, now_of(scenario, other).account_known) == ("org-Other", "told")
    scenario.settle(D)
    assert scenario.row(D, family="text")["counted"]["tokens"]["output"] == 2000


@pytest.mark.parametrize("stated", [None, OPENAI_ID])
def test_an_account_that_another_workspace_answers_for_stops_the_pull(scenario: Scenario, stated: str | None) -> None:
    first = spending(scenario, organization=stated)
    scenario.pull(first, D)
    second = spending(scenario, workspace="globex")
    before = scenario.contents("pulls", "slices", *TELEMETRY)
    with pytest.raises(InvalidInputError, match="scope_overlaps") as caught:
        scenario.pull(second, D)
    assert first.slug in caught.value.what
    assert second.slug in caught.value.where
    assert now_of(scenario, second).account == "unstated:globex"
    assert scenario.contents("pulls", "slices", *TELEMETRY) == before


def test_an_account_of_which_another_workspace_has_other_projects_is_taken(scenario: Scenario) -> None:
    first = spending(scenario, projects=["proj_a"])
    second = spending(scenario, workspace="globex", projects=["proj_b"])
    for key in (first, second):
        key.account.spend(utc(D, 9), 10, project="proj_a")
        key.account.spend(utc(D, 9), 10, project="proj_b")
        scenario.pull(key, D)
    assert now_of(scenario, first).account == now_of(scenario, second).account == OPENAI_ID


def test_a_demos_account_is_nobody_elses(scenario: Scenario) -> None:
    scenario.pull(spending(scenario), D)
    made_up = spending(scenario, workspace="made-up")
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workspaces SET demo = true WHERE slug = 'made-up'")
    scenario.pull(made_up, D)
    assert now_of(scenario, made_up).account == OPENAI_ID


def test_days_that_were_reconciled_under_another_account_are_told_until_they_are_again(scenario: Scenario) -> None:
    key = spending(scenario, told=None)
    days = [D, D + timedelta(days=1), D + timedelta(days=2)]
    scenario.pull(key, D, days[-1] + timedelta(days=1))
    scenario.settle(*days)
    key.account.organisation = OPENAI_ID
    key.account.spend(utc(days[2], 9), 10)
    note = scenario.at(NOW + timedelta(hours=1)).pull(key, days[2]).account_note
    assert note is not None
    assert f"backfill --from {days[0]} --to {days[1]}" in note
    scenario.at(NOW + timedelta(hours=2)).settle(*days)
    assert scenario.pull(key, days[2]).account_note is None


def test_a_first_pull_that_finds_the_account_leaves_nothing_to_do(scenario: Scenario) -> None:
    assert scenario.pull(spending(scenario), D).account_note is None


def test_an_account_that_is_told_to_a_narrowed_key_meets_its_former_scopes_too(scenario: Scenario) -> None:
    first = spending(scenario, projects=["proj_a"])
    first.account.spend(utc(D, 9), 10, project="proj_a")
    scenario.pull(first, D)
    with scenario.runtime.engine.begin() as connection:
        set_projects(connection, first.key.feed_id, first.slug, ["proj_b"], NOW.date(), NOW)
    second = spending(scenario, workspace="globex")
    with pytest.raises(InvalidInputError, match="scope_overlaps"):
        scenario.pull(second, D)


@pytest.mark.parametrize(
    ("base_url", "account"),
    [
        ("https://llm.example", "llm.example"),
        ("https://llm.example:443/team", "llm.example/team"),
        ("http://127.0.0.1:4000", "127.0.0.1:4000"),
    ],
)
def test_a_proxys_account_is_its_host_and_path(base_url: str, account: str) -> None:
    assert account_of_proxy(provider("litellm"), base_url) == account
    assert account_of_proxy(provider("openai"), base_url) is None


def test_reports_without_rows_of_another_account_do_not_empty_a_keys_figures(scenario: Scenario) -> None:
    """An empty report names no account: what it says holds only once no other report contradicts it."""
    key = spending(scenario)
    scenario.pull(key, D)
    scenario.settle(D)
    key.account.forget()
    key.account.organisation = "org-Other"
    key.account.spend(utc(D, 9), 10, "text-embedding-3-small", endpoint="embeddings")
    with pytest.raises(PermanentError, match="account_contradicted"):
        scenario.at(NOW + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert scenario.row(D, family="text")["counted"]["tokens"]["output"] == 1000
