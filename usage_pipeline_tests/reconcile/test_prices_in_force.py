"""Prices in force: what was computed stays as it was until somebody reprices, and then it moves once, with history.

gpt-5 costs 10 dollars per million tokens of output in the installed list. A newer list is a price book of another
version, given to the runtime in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_pipeline import stages
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.price_overrides import add_override
from usage_pipeline.ledger.prices_in_force import load_in_force
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.pricing.list_quotes import ListQuotes
from usage_pipeline.pricing.overrides import PriceOverride
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import Rates, exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.price_effects import Effect
from usage_pipeline.reconcile.repricing import RepricedDay, reprice
from usage_pipeline_tests.scripted.payloads import Call, v2_payload
from usage_pipeline_tests.scripted.scenario import Json, RegisteredAccount, Scenario, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
CLOSED = utc(NEXT, 6)
SETTLED = utc(D + timedelta(days=4), 6)
MILLION = 1_000_000
TELEMETRY = ("ingestion_runs", "ingestion_totals")
ORDINARY = PriceVariant()


class NewerList(ListQuotes):
    """A later version of the list, in which some models cost other factors of what they do, or nothing is known."""

    def __init__(self, factors: Mapping[str, str | None], version: str = "list 2") -> None:
        super().__init__()
        self._factors = factors
        self._version = version

    @property
    def version(self) -> str:
        return self._version

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        factor = self._factors.get(model, "1")
        if model == "gpt-99" and model in self._factors and factor is not None:
            rates = Rates(output=Decimal(factor))
            return PriceQuote(provider, model, variant, day, rates, self._version, "base tier")
        listed = super().quote(provider, model, variant, day)
        if factor is None:
            return replace(listed, rates=None, basis="unpriced: unknown model")
        return replace(listed, rates=listed.rates and listed.rates.times(Decimal(factor)))


def install(scenario: Scenario, factors: Mapping[str, str | None], version: str = "list 2") -> None:
    scenario.runtime = replace(scenario.runtime, prices=PriceBook(lists=NewerList(factors, version)))


def repriced(scenario: Scenario, *, write: bool = True) -> list[RepricedDay]:
    runtime = scenario.runtime
    with runtime.engine.begin() as connection:
        workspaces = list_workspaces(connection)
    return reprice(
        runtime.engine,
        workspaces,
        (D - timedelta(days=5), D + timedelta(days=5)),
        scenario.clock.now,
        runtime.providers,
        runtime.prices,
        runtime.settings,
        write=write,
    )


def cost(row: Json, name: str = "computed") -> tuple[str | None, str | None]:
    return row["cost"][name]["usd"], row["cost"][name]["basis"]


def two_models(scenario: Scenario) -> RegisteredAccount:
    """A day of a million tokens of output each of gpt-5 (10 USD) and gpt-4o (10 USD), before the bill is final."""
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.spend(utc(D, 9), MILLION, "gpt-4o")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    return key


def test_a_newer_list_moves_nothing_of_what_is_computed(scenario: Scenario) -> None:
    two_models(scenario)
    before = scenario.contents("reconciliations", *TELEMETRY)
    install(scenario, {"gpt-5": "0.5", "gpt-4o": None})
    scenario.at(CLOSED + timedelta(hours=1)).settle(D)
    assert scenario.contents("reconciliations", *TELEMETRY) == before
    assert cost(scenario.row(D, model="gpt-5")) == ("10.00", "base tier")


def test_every_computed_cost_names_the_versions_behind_it(scenario: Scenario) -> None:
    key = two_models(scenario)
    listed = PriceBook().quote("openai", "gpt-5", ORDINARY, D).version
    assert scenario.row(D, model="gpt-5")["cost"]["computed"]["version"] == listed
    # The alias is asked for first now: it gets the newer price, beside the snapshot's in force.
    install(scenario, {"gpt-5-2025-08-07": "0.5"})
    key.account.spend(utc(D, 10), MILLION, "gpt-5-2025-08-07")
    scenario.at(CLOSED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D, model="gpt-5")
    assert cost(row) == ("15.00", "base tier")
    assert row["cost"]["computed"]["version"] == f"{listed}; list 2"
    assert scenario.report(D)["totals"]["cost"]["computed"]["version"] == f"{listed}; list 2"


def test_a_cost_that_is_not_computed_has_no_version(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    assert scenario.row(D, family="text")["cost"]["computed"]["version"] is None
    assert {row["cost_computed_version"] for row in scenario.select("SELECT * FROM reconciled_usage")} == {None}


def test_a_price_that_becomes_known_is_taken_at_the_next_reconciling(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    assert scenario.count("prices_in_force") == 0
    install(scenario, {"gpt-99": "7"})
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("7.00", "base tier")
    install(scenario, {"gpt-99": "8"}, "list 3")
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("7.00", "base tier")


def test_what_stands_in_has_prices_in_force_too(scenario: Scenario) -> None:
    feed = scenario.hermes()
    scenario.register()
    scenario.at(utc(D, 12)).send(feed, v2_payload(utc(D, 12), [Call(utc(D, 9), output=MILLION)]))
    scenario.settle(D)
    install(scenario, {"gpt-5": "0.5"})
    scenario.settle(D)
    row = scenario.row(D, model="gpt-5")
    assert cost(row) == ("10.00", "stand-in at base tier")
    assert row["cost"]["computed"]["version"] == ListQuotes().version
    repriced(scenario)
    assert cost(scenario.row(D, model="gpt-5"), "counted") == ("5.00", "estimate")


def test_a_workspace_s_own_price_is_its_own(scenario: Scenario) -> None:
    for workspace in ("acme", "beta"):
        key = scenario.register(workspace=workspace, organization=f"org-{workspace}")
        key.account.spend(utc(D, 9), MILLION)
        scenario.at(CLOSED).pull(key, D)
    with scenario.runtime.engine.begin() as connection:
        own = PriceOverride(0, "openai", "gpt-5", Rates(output=Decimal("8.5")), D, workspace="acme")
        add_override(connection, own, "", CLOSED)
    scenario.settle(D)
    assert cost(scenario.row(D, workspace="acme", family="text")) == ("8.50", "override 1")
    assert cost(scenario.row(D, workspace="beta", family="text")) == ("10.00", "base tier")


def test_looking_writes_nothing_and_tells_before_and_after(scenario: Scenario) -> None:
    two_models(scenario)
    install(scenario, {"gpt-5": "0.5"})
    before = scenario.contents()
    (day,) = repriced(scenario, write=False)
    assert scenario.contents() == before
    (change,) = day.prices
    assert (change.key.model, change.new.version) == ("gpt-5", "list 2")
    assert change.old == PriceBook().quote("openai", "gpt-5", ORDINARY, D)
    (cell,) = day.cells
    assert (cell.cell.model, cell.before.computed.usd, cell.after.computed.usd) == ("gpt-5", 10, 5)
    assert (cell.before.counted.usd, cell.after.counted.usd) == (10, 5)
    assert (day.effect.computed, day.effect.counted, day.behind) == (-5, -5, False)
    assert change.effect == day.effect


def test_repricing_moves_what_it_said_once_and_keeps_the_former_rows(scenario: Scenario) -> None:
    two_models(scenario)
    install(scenario, {"gpt-5": "0.5"})
    said = repriced(scenario, write=False)
    others = "SELECT r::text FROM reconciled_usage AS r WHERE model <> 'gpt-5' ORDER BY 1"
    unconcerned = scenario.select(others)
    scenario.at(CLOSED + timedelta(hours=1))
    assert repriced(scenario) == said
    row = scenario.row(D, model="gpt-5")
    assert (cost(row), row["cost"]["computed"]["version"]) == (("5.00", "base tier"), "list 2")
    assert cost(row, "counted") == ("5.00", "estimate")
    assert scenario.select(others) == unconcerned
    (former,) = scenario.select("SELECT * FROM reconciled_usage_history")
    assert (former["model"], former["cost_computed_usd"]) == ("gpt-5", 10)
    assert (former["cost_computed_version"], former["superseded_at"]) == (ListQuotes().version, scenario.clock.now)
    written = scenario.contents()
    assert repriced(scenario) == []
    assert scenario.contents() == written
    with scenario.runtime.engine.begin() as connection:
        entry = list_changes(connection, "acme")[-1]
    assert (entry.what, entry.detail["days"], entry.detail["versions"]) == ("repriced", ["2026-03-10"], ["list 2"])
    scenario.settle(D)
    assert cost(scenario.row(D, model="gpt-5")) == ("5.00", "base tier")


def test_a_newer_version_that_charges_the_same_is_no_change(scenario: Scenario) -> None:
    two_models(scenario)
    install(scenario, {})
    before = scenario.contents()
    assert repriced(scenario) == []
    assert scenario.contents() == before


def test_a_final_bill_counts_whatever_the_prices_are(scenario: Scenario) -> None:
    key = two_models(scenario)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    install(scenario, {"gpt-5": "0.5"})
    (day,) = repriced(scenario)
    assert (day.effect.computed, day.effect.counted) == (-5, 0)
    row = scenario.row(D, model="gpt-5")
    assert (cost(row), cost(row, "counted"), cost(row, "billed")) == (
        ("5.00", "base tier"),
        ("10.00", "billed"),
        ("10.00", "final"),
    )
    assert "bill_differs_from_usage" in scenario.codes(D)


def test_a_price_that_nobody_knows_any_more_leaves_the_cost_unknown(scenario: Scenario) -> None:
    two_models(scenario)
    install(scenario, {"gpt-5": None})
    (day,) = repriced(scenario)
    assert (day.effect.became_unknown, day.effect.computed) == (1, -10)
    assert cost(scenario.row(D, model="gpt-5")) == (None, None)
    assert repriced(scenario) == []


def test_repricing_finds_days_on_which_something_had_no_price(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    install(scenario, {"gpt-99": "7"})
    (day,) = repriced(scenario)
    assert [(change.key.model, change.old) for change in day.prices] == [("gpt-99", None)]
    assert (day.effect.became_known, day.effect.computed, day.effect.counted) == (1, 7, 7)
    assert cost(scenario.row(D, family="text")) == ("7.00", "base tier")


def test_other_news_of_a_day_is_told_and_is_no_part_of_the_effect(scenario: Scenario) -> None:
    key = two_models(scenario)
    key.account.spend(utc(D, 11), MILLION)
    scenario.at(CLOSED + timedelta(hours=1)).pull(key, D)
    stages.normalise_usage(scenario.runtime, [D])
    install(scenario, {"gpt-5": "0.5"})
    (day,) = repriced(scenario)
    assert (day.behind, day.effect.computed_before, day.effect.computed_after) == (True, 20, 10)
    assert cost(scenario.row(D, model="gpt-5")) == ("10.00", "base tier")


def test_a_price_in_force_that_a_day_no_longer_uses_goes_without_a_word(scenario: Scenario) -> None:
    key = two_models(scenario)
    key.account.forget()
    key.account.spend(utc(D, 9), MILLION, "gpt-4o")
    scenario.at(CLOSED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert scenario.count("prices_in_force") == 2
    install(scenario, {"gpt-5": "0.5"})
    assert repriced(scenario) == []
    with scenario.runtime.engine.begin() as connection:
        assert [key.model for key in load_in_force(connection, 1, D)] == ["gpt-4o"]
        assert [entry.what for entry in list_changes(connection, "acme")] == ["workspace_added"]


FACTORS = st.sampled_from(["1", "0.5", "1.000000000000000001", "3", "0"])
MODELS = ("gpt-5", "gpt-5-2025-08-07", "gpt-4o", "gpt-5-mini")


@pytest.fixture
def four_models(scenario: Scenario) -> Scenario:
    """A day of four reported models in three cells, one of them with two prices and a stand-in beside them."""
    key, feed = scenario.register(), scenario.hermes()
    for number, model in enumerate(MODELS, 1):
        key.account.spend(utc(D, 9), MILLION * number + number, model)
    scenario.at(utc(D, 12)).pull(key, D)
    scenario.send(feed, v2_payload(utc(D, 12), [Call(utc(D, 9), output=9 * MILLION)]))
    scenario.settle(D)
    return scenario


def test_repricing_twice_is_once_and_the_effects_add_up_whatever_the_prices(four_models: Scenario) -> None:
    """In one database: each example reprices what the one before left."""
    numbers = iter(range(2, 1000))

    @given(st.fixed_dictionaries(dict.fromkeys(MODELS, FACTORS)))
    @settings(max_examples=8, deadline=None)
    def holds(factors: dict[str, str]) -> None:
        install(four_models, factors, f"list {next(numbers)}")
        before = four_models.report(D)
        days = repriced(four_models)
        after = four_models.report(D)
        total = sum((day.effect for day in days), Effect())
        with exact_arithmetic():
            for name in ("computed", "counted"):
                moved = Decimal(total_of(after, name)) - Decimal(total_of(before, name))
                assert moved == getattr(total, name)
                assert moved == sum(getattr(change.effect, name) for day in days for change in day.prices)
        changed = {cell.cell.model for day in days for cell in day.cells}
        assert [row for row in before["rows"] if row["model"] not in changed] == [
            row for row in after["rows"] if row["model"] not in changed
        ]
        written = four_models.contents()
        assert repriced(four_models) == []
        assert four_models.contents() == written

    holds()


def total_of(report: Json, name: str) -> str:
    found = report["totals"]["cost"][name]["usd"]
    assert isinstance(found, str)
    return found
