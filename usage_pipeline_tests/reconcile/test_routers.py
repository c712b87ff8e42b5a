"""Resellers and proxies: a call through somebody else counts once, whoever reports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger.reconciled_checks import unconserved_totals
from usage_pipeline.reconcile.stored_totals import loaded_days, scopes_counted_twice, totals_unlike_sources
from usage_pipeline_tests.reconcile.routers import register_router, routed_scenario
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import TELEMETRY, Json, RegisteredAccount, Scenario, figure, figures, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
NOON = utc(D, 12)
EVENING = utc(D, 20)
SETTLED = utc(D + timedelta(days=4), 6)
ROUTER = {"route": "off_account:openrouter", "family": "text"}
PROXY = {"route": "off_account:litellm", "family": "text"}
OPENAI = {"provider": "openai", "route": "account", "family": "text"}


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with routed_scenario(migrated_database, tmp_path, utc(D)) as made:
        yield made


def through(biller: str, output: int, hour: int = 9, model: str = "gpt-5") -> Call:
    return Call(utc(D, hour), model, output=output, requests=1, billing=biller, billing_mode="")


def says(scenario: Scenario, feed: object, at: datetime, *calls: Call) -> None:
    payload = v3_payload(at, calls, D - timedelta(days=1), min(NEXT, at.date()) + timedelta(days=1))
    scenario.at(at).send(feed, payload)  # type: ignore[arg-type]


def total(scenario: Scenario, name: str = "counted", measure: str = "output") -> int | None:
    return figure(scenario.report(D)["totals"], name, measure)


def decided(row: Json) -> tuple[str, bool, list[str]]:
    return row["decision"], row["provisional"], row["findings"]


def no_offences(scenario: Scenario) -> None:
    """The asset checks over the stored day: everything adds up, nothing counts twice."""
    with scenario.runtime.engine.begin() as connection:
        loaded = list(loaded_days(connection, [D], scenario.runtime.providers, scenario.runtime.settings))
        assert list(unconserved_totals(connection, [D])) == []
        assert list(totals_unlike_sources(connection, loaded)) == []
        assert list(scopes_counted_twice(loaded)) == []


# --- a reseller ------------------------------------------------------------------------------------------------------


def test_a_call_through_a_reseller_counts_once_and_hermes_explains_it(scenario: Scenario) -> None:
    key, feed = register_router(scenario, "openrouter"), scenario.hermes()
    says(scenario, feed, SETTLED, through("openrouter", 800))
    scenario.settle(D)
    before = scenario.row(D, **ROUTER)
    assert (before["decision"], figure(before, "counted")) == ("hermes_only", 800)
    assert before["findings"] == ["provider_missing"]
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["model"]) == ("openai", "off_account:openrouter", "gpt-5")
    assert decided(row) == ("provider", False, [])
    assert figures(row) == {
        "reported_by_provider": 1000,
        "reported_by_hermes": 800,
        "counted": 1000,
        "explained": 800,
        "unattributed": 200,
        "excess": 0,
        "stand_in": 0,
    }
    assert total(scenario) == 1000
    no_offences(scenario)


def test_a_resellers_rows_fall_into_the_cells_of_the_models_vendors(scenario: Scenario) -> None:
    key = register_router(scenario, "openrouter")
    for model in ("openai/gpt-5", "anthropic/claude-sonnet-4-5-20250929", "somebodys-model"):
        key.account.spend(utc(D, 9), 100, model)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    cells = sorted((row["provider"], row["model"]) for row in scenario.rows(D, **ROUTER))
    assert cells == [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"), ("unknown", "somebodys-model")]
    assert total(scenario) == 300
    assert {one["model"] for one in scenario.findings(D) if one["code"] == "unpriced_model"} == {"somebodys-model"}


def test_a_resellers_bill_goes_to_its_cells_and_its_rows_are_computed_at_the_vendors_price(scenario: Scenario) -> None:
    key = register_router(scenario, "openrouter")
    key.account.spend(utc(D, 9), 1_000_000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D, **ROUTER)
    assert row["cost"]["computed"]["usd"] == "10.00"
    assert (row["cost"]["billed"]["basis"], row["cost"]["counted"]["basis"]) == ("final", "billed")
    assert row["cost"]["counted"]["usd"] == "10.00"
    assert len(scenario.rows(D)) == 1


def test_a_reseller_beside_the_vendors_own_account_is_another_cell(scenario: Scenario) -> None:
    key, vendor, feed = register_router(scenario, "openrouter"), scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    vendor.account.spend(utc(D, 9), 500)
    for one in (key, vendor):
        scenario.at(SETTLED).pull(one, D)
    says(scenario, feed, SETTLED, through("openrouter", 1100), through("openai", 400))
    scenario.settle(D)
    assert figure(scenario.row(D, **OPENAI), "counted") == 500
    assert decided(scenario.row(D, **ROUTER)) == ("provider", False, ["hermes_exceeds_provider"])
    assert total(scenario) == 1500
    no_offences(scenario)


def test_a_resellers_day_that_nothing_is_known_of_is_a_row_and_a_finding_of_its_own(scenario: Scenario) -> None:
    register_router(scenario, "openrouter")
    scenario.at(SETTLED).settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["model"]) == ("openrouter", "off_account:openrouter", "")
    assert decided(row) == ("no_data", True, ["window_missing"])


@pytest.mark.parametrize(
    ("policy", "counted", "decision"),
    [
        ("provider_first", 1000, "provider"),
        ("hermes_first", 1200, "hermes"),
        ("provider_only", 1000, "provider"),
        ("hermes_only", 1200, "hermes"),
    ],
)
def test_policies_take_a_known_reseller_as_an_account(
    scenario: Scenario, policy: str, counted: int, decision: str
) -> None:
    key, feed = register_router(scenario, "openrouter"), scenario.hermes()
    scenario.workspace(policy=policy)
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    says(scenario, feed, SETTLED, through("openrouter", 1200))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["decision"], figure(row, "counted")) == (decision, counted)
    no_offences(scenario)


def test_a_restated_figure_of_a_reseller_is_a_finding_of_its_cell(scenario: Scenario) -> None:
    key = register_router(scenario, "openrouter")
    for n, output in enumerate((1000, 900)):
        key.account.forget()
        key.account.spend(utc(D, 9), output, "openai/gpt-5")
        scenario.at(SETTLED + timedelta(hours=n)).pull(key, D)
        scenario.settle(D)
    assert scenario.row(D, **ROUTER)["findings"] == ["restated_after_final"]


# --- a proxy ---------------------------------------------------------------------------------------------------------


def test_a_proxy_alone_counts(scenario: Scenario) -> None:
    key, feed = register_router(scenario, "litellm"), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    says(scenario, feed, SETTLED, through("litellm", 800))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["decision"]) == ("openai", "off_account:litellm", "provider")
    assert (figure(row, "counted"), figure(row, "explained")) == (1000, 800)
    no_offences(scenario)


def test_what_a_proxy_passed_on_to_a_known_account_is_shadowed(scenario: Scenario) -> None:
    proxy, openai = register_router(scenario, "litellm"), scenario.register()
    proxy.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    openai.account.spend(utc(D, 9), 1500)
    for key in (proxy, openai):
        scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert [(row["route"], figure(row, "counted")) for row in scenario.rows(D)] == [("account", 1500)]
    assert total(scenario) == 1500
    assert scenario.codes(D) == []
    kept = scenario.select("SELECT sum(output)::int AS output FROM usage_events WHERE upstream_provider = 'openai'")
    assert kept[0]["output"] == 2000  # of both of the proxy's endpoints
    no_offences(scenario)


@pytest.mark.parametrize("pulled_at", [NOON, utc(NEXT, 1), SETTLED])
def test_hermes_rows_through_a_proxy_are_counted_in_the_account_and_raise_no_alarm(
    scenario: Scenario, pulled_at: datetime
) -> None:
    proxy, openai, feed = register_router(scenario, "litellm"), scenario.register(), scenario.hermes()
    proxy.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    openai.account.spend(utc(D, 9), 1000)
    for key in (proxy, openai):
        scenario.at(pulled_at).pull(key, D)
    says(scenario, feed, pulled_at, through("litellm", 900))
    scenario.settle(D)
    row = scenario.row(D, **PROXY)
    assert decided(row) == ("provider", pulled_at < SETTLED, [])
    assert figures(row) == {
        "reported_by_provider": None,
        "reported_by_hermes": 900,
        "counted": 0,
        "explained": 0,
        "unattributed": 0,
        "excess": 900,
        "stand_in": 0,
    }
    assert row["cost"]["counted"] == {"nano_usd": 0, "usd": "0.00", "basis": "counted upstream"}
    assert total(scenario) == 1000
    no_offences(scenario)


@pytest.mark.parametrize(
    ("policy", "counted"), [("provider_first", 0), ("hermes_first", 0), ("provider_only", 0), ("hermes_only", 900)]
)
def test_only_where_hermes_alone_counts_its_rows_through_a_proxy_do(
    scenario: Scenario, policy: str, counted: int
) -> None:
    proxy, openai, feed = register_router(scenario, "litellm"), scenario.register(), scenario.hermes()
    scenario.workspace(policy=policy)
    openai.account.spend(utc(D, 9), 1000)
    for key in (proxy, openai):
        scenario.at(SETTLED).pull(key, D)
    says(scenario, feed, SETTLED, through("litellm", 900))
    scenario.settle(D)
    assert figure(scenario.row(D, **PROXY), "counted") == counted
    assert total(scenario) == (900 if policy == "hermes_only" else 1000)
    no_offences(scenario)


def test_a_proxys_rows_count_for_the_upstream_that_is_not_known(scenario: Scenario) -> None:
    proxy, openai, feed = register_router(scenario, "litellm"), scenario.register(), scenario.hermes()
    scenario.register("anthropic", organization="other")
    proxy.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    proxy.account.spend(utc(D, 9), 300, "anthropic/claude-sonnet-4-5")
    openai.account.spend(utc(D, 9), 1000)
    for key in (proxy, openai):
        scenario.at(SETTLED).pull(key, D)
    says(scenario, feed, SETTLED, through("litellm", 900), through("litellm", 200, model="claude-sonnet-4-5"))
    scenario.settle(D)
    counted = {(row["provider"], row["route"]): figure(row, "counted") for row in scenario.rows(D, family="text")}
    assert counted == {
        ("openai", "account"): 1000,
        ("openai", "off_account:litellm"): 0,
        ("anthropic", "off_account:litellm"): 300,
        ("anthropic", "account"): None,
    }
    assert total(scenario) == 1300
    no_offences(scenario)


@pytest.mark.parametrize("pulled_at", [NOON, SETTLED])
def test_a_model_that_a_proxy_has_from_a_cloud_too_is_one_cell_and_nothing_counts_twice(
    scenario: Scenario, pulled_at: datetime
) -> None:
    proxy, openai, feed = register_router(scenario, "litellm"), scenario.register(), scenario.hermes()
    proxy.account.spend(utc(D, 9), 1000, "gpt-5")
    proxy.account.spend(utc(D, 9), 200, "gpt-5", project="azure")
    openai.account.spend(utc(D, 9), 1000)
    for key in (proxy, openai):
        scenario.at(pulled_at).pull(key, D)
    says(scenario, feed, pulled_at, through("litellm", 1150))
    scenario.settle(D)
    row = scenario.row(D, **PROXY)
    assert (row["provider"], decided(row)) == ("openai", ("provider", pulled_at < SETTLED, []))
    assert figures(row) == {
        "reported_by_provider": 200,
        "reported_by_hermes": 1150,
        "counted": 200,
        "explained": 200,
        "unattributed": 0,
        "excess": 950,
        "stand_in": 0,
    }
    assert total(scenario) == 1200
    no_offences(scenario)


def test_a_proxy_in_front_of_a_reseller_is_shadowed_by_the_resellers_report(scenario: Scenario) -> None:
    proxy, reseller, feed = register_router(scenario, "litellm"), register_router(scenario, "openrouter"), None
    proxy.account.spend(utc(D, 9), 1000, "openai/gpt-5", project="openrouter")
    reseller.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    for key in (proxy, reseller):
        scenario.at(SETTLED).pull(key, D)
    feed = scenario.hermes()
    says(scenario, feed, SETTLED, through("litellm", 900))
    scenario.settle(D)
    counted = {row["route"]: figure(row, "counted") for row in scenario.rows(D)}
    assert counted == {"off_account:openrouter": 1000, "off_account:litellm": 0}
    assert scenario.codes(D) == []
    no_offences(scenario)


def test_what_an_informational_endpoint_tells_is_kept_and_never_counted(scenario: Scenario) -> None:
    key = register_router(scenario, "litellm")
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    kept = scenario.select(
        "SELECT endpoint, sum(output)::int AS output FROM usage_events JOIN slices USING (slice_id)"
        " GROUP BY 1 ORDER BY 1"
    )
    assert [(one["endpoint"], one["output"]) for one in kept] == [("completions", 1000), ("daily_activity", 1000)]
    assert total(scenario) == 1000
    assert scenario.codes(D) == []


def test_a_silent_informational_endpoint_is_not_missed(scenario: Scenario) -> None:
    key = register_router(scenario, "litellm")
    key.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    scenario.at(SETTLED).pull(key, D)
    scenario.select("DELETE FROM pull_days WHERE endpoint = 'daily_activity' RETURNING 1")
    scenario.settle(D)
    assert decided(scenario.row(D)) == ("provider", False, [])


# --- both ------------------------------------------------------------------------------------------------------------


def _arrivals(scenario: Scenario) -> tuple[list[Callable[[], object]], list[RegisteredAccount]]:
    router, proxy, openai = register_router(scenario, "openrouter"), register_router(scenario, "litellm"), None
    openai = scenario.register()
    feed = scenario.hermes()
    router.account.spend(utc(D, 9), 700, "openai/gpt-5")
    proxy.account.spend(utc(D, 9), 1000, "openai/gpt-5")
    proxy.account.spend(utc(D, 9), 300, "anthropic/claude-sonnet-4-5")
    openai.account.spend(utc(D, 9), 1500)
    calls = [through("openrouter", 333), through("litellm", 900), through("openai", 77), through("bedrock", 11)]
    return [
        lambda: scenario.at(SETTLED).pull(router, D),
        lambda: scenario.at(SETTLED).pull(proxy, D),
        lambda: scenario.at(SETTLED).pull(openai, D),
        lambda: says(scenario, feed, SETTLED, *calls),
    ], [router, proxy, openai]


def _table(scenario: Scenario) -> list[str]:
    report = scenario.report(D)
    rows = [str({name: value for name, value in row.items() if name != "now"}) for row in report["rows"]]
    return [*rows, str(report["totals"]), *(finding["code"] for finding in report["findings"])]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1)])
def test_the_order_of_arrival_changes_nothing_and_cuts_add_up(scenario: Scenario, order: tuple[int, ...]) -> None:
    arrivals, _ = _arrivals(scenario)
    for n in order:
        arrivals[n]()
        scenario.settle(D)
    counted = {(row["provider"], row["route"]): figure(row, "counted") for row in scenario.rows(D, family="text")}
    assert counted == {
        ("openai", "account"): 1500,
        ("openai", "off_account:openrouter"): 700,
        ("openai", "off_account:litellm"): 0,
        ("anthropic", "off_account:litellm"): 300,
        ("openai", "off_account:bedrock"): 11,
    }
    assert total(scenario) == 1500 + 700 + 300 + 11
    shares = scenario.select(
        "SELECT route, sum(s.output)::int AS output FROM reconciled_shares AS s JOIN reconciled_usage AS r"
        " USING (reconciliation_id, cell_id) WHERE r.family = 'text' GROUP BY 1 ORDER BY 1"
    )
    assert [(one["route"], one["output"]) for one in shares if one["output"]] == [
        ("account", 77),
        ("off_account:bedrock", 11),
        ("off_account:openrouter", 333),
    ]
    no_offences(scenario)
    before = scenario.contents(*TELEMETRY)
    scenario.settle(D)
    assert scenario.contents(*TELEMETRY) == before
