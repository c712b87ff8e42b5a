"""Each account's bill beside what its usage costs: stored with history, told in findings, and adding up exactly.

gpt-5 costs 1.25 dollars per million tokens of input and 10 of output.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.hermes.routes import ACCOUNT
from usage_pipeline.ledger.account_bills import StoredBill, read_bills
from usage_pipeline.ledger.reconcile_inputs import BilledSum, SliceRow
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cells import CellKey, CellSides, FamilyKey
from usage_pipeline.reconcile.coverage import Coverage, State
from usage_pipeline.reconcile.families import COSTS_FAMILY, FamilyDay
from usage_pipeline.reconcile.leaders import AccountDay, Lead
from usage_pipeline.reconcile.money import LINE_FAMILY, UNALLOCATED, bill_day, line_cells
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline_tests.scripted.account import Bill
from usage_pipeline_tests.scripted.scenario import Json, Scenario, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
CLOSED = utc(NEXT, 6)
SETTLED = utc(D + timedelta(days=6), 6)
MILLION = 1_000_000
TELEMETRY = ("ingestion_runs", "ingestion_totals")


def bill(scenario: Scenario, day: date = D) -> Json:
    [found] = scenario.report(day)["bills"]
    return dict(found)


def test_a_bill_that_agrees_says_so_with_its_figures(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    found = bill(scenario)
    assert (found["provider"], found["account"], found["route"]) == ("openai", "org-acme", "account")
    assert (found["billed_usd"], found["computed_usd"], found["difference_usd"]) == ("10.00", "10.00", "0.00")
    assert (found["tolerance_usd"], found["agrees"], found["reason"], found["final"]) == ("0.20", True, None, True)
    assert len(found["price_versions"]) == 1


def test_until_both_are_final_it_cannot_be_told(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills[0] = Bill(D, Decimal(3), "gpt-5, output", "gpt-5", "output_tokens")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    found = bill(scenario)
    assert (found["agrees"], found["final"], found["difference_usd"], found["reason"]) == (None, False, "7.00", None)
    assert "bill_differs_from_usage" not in scenario.codes(D)


def test_a_difference_names_its_reason_in_the_finding_with_what_stands_behind_it(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills.append(Bill(D, Decimal(4), "Code interpreter sessions"))
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    [found] = [one for one in scenario.report(D)["findings"] if one["code"] == "bill_differs_from_usage"]
    assert (Decimal(found["figure_provider"]), Decimal(found["difference"])) == (14, -4)
    assert "Billed 14.00 USD, computed 10.00 USD: computed is 4.00 USD less, 28.6 %" in found["explanation"]
    assert "Reason: tools." in found["explanation"]
    assert {record["endpoint"] for record in found["evidence"]} >= {"completions", "costs"}
    assert bill(scenario)["reason"] == "tools"


def test_a_line_that_is_restated_keeps_what_was_believed_before(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    before = scenario.clock.now
    key.account.bills.append(Bill(D, Decimal(-1), "credit"))
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)

    def believed(at: object = None) -> list[StoredBill]:
        with scenario.runtime.engine.begin() as connection:
            return list(read_bills(connection, D, NEXT, as_of=at))  # type: ignore[arg-type]

    assert [one.bill.billed_usd for one in believed(before)] == [Decimal(10)]
    assert [(one.bill.billed_usd, one.bill.reason) for one in believed()] == [(Decimal(9), "other_lines")]
    assert believed(before - timedelta(seconds=1)) == []


def test_two_days_that_make_up_for_each_other_are_a_day_boundary_in_any_order(scenario: Scenario) -> None:
    key = scenario.register()
    for day, billed in ((D, 7), (NEXT, 13)):
        key.account.spend(utc(day, 9), MILLION)
        key.account.bills[-1] = Bill(day, Decimal(billed), "gpt-5, output", "gpt-5", "output_tokens")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert bill(scenario)["reason"] == "unknown"  # the next day is not known yet
    scenario.pull(key, NEXT)
    scenario.settle(NEXT)
    assert [bill(scenario, day)["reason"] for day in (D, NEXT)] == ["day_boundary", "day_boundary"]
    assert [Decimal(bill(scenario, day)["reason_usd"]) for day in (D, NEXT)] == [-3, 3]
    before = scenario.contents(*TELEMETRY)
    scenario.settle(D, NEXT)
    assert scenario.contents(*TELEMETRY) == before


def test_what_has_no_price_leaves_nothing_to_compare(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99-nobody-knows")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    found = bill(scenario)
    assert (found["billed_usd"], found["computed_usd"], found["agrees"]) == ("10.00", None, None)
    assert found["reason"] == "unpriced"
    assert "gpt-99-nobody-knows" in found["unpriced"][0]


def test_the_bill_is_shown_also_where_hermes_alone_counts(scenario: Scenario) -> None:
    scenario.workspace(policy="hermes_only")
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills.append(Bill(D, Decimal(4), "Code interpreter sessions"))
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert (bill(scenario)["agrees"], bill(scenario)["reason"]) == (False, "tools")
    assert scenario.codes(D) == []


_WORDS = st.sampled_from([None, "credit", "gpt-5, output", "gpt-5, input", "web search tool calls", "gpt-4o, output"])
_MODELS = st.sampled_from([None, "gpt-5", "gpt-5-2025-08-07", "gpt-4o", "gpt-99"])
_AMOUNTS = st.decimals(min_value=-1000, max_value=1000, places=12, allow_nan=False)
_LINES = st.lists(st.builds(BilledSum, st.just(1), _WORDS, _MODELS, st.none(), _AMOUNTS), max_size=12)


@given(lines=_LINES, used=st.sets(st.sampled_from(["gpt-5", "gpt-4o", ""])), final=st.booleans())
def test_the_rows_of_a_bill_and_its_unallocated_rest_add_up_to_it_exactly(
    lines: list[BilledSum], used: set[str], final: bool
) -> None:
    sides = one_account(used, final=final)
    bills = bill_day(sides, lines, PriceBook())
    [of_account] = bills.accounts.values()
    rows = line_cells(sides, bills, bill_counts=True)
    with exact_arithmetic():
        total = sum((line.amount_usd for line in lines), Decimal(0))
        in_cells = sum((usd for key, usd in of_account.billed.items() if key in sides.cells), Decimal(0))
        beside = sum((cost.billed.usd for cost in rows.values() if cost.billed.usd is not None), Decimal(0))
        assert in_cells + beside == total
        counted = sum((cost.counted.usd for cost in rows.values() if cost.counted.usd is not None), Decimal(0))
        assert counted == (beside if final else 0)
    silent = any(line.label is None and line.model is None for line in lines)
    assert (CellKey("openai", ACCOUNT, LINE_FAMILY, UNALLOCATED) in rows) == silent


def one_account(used: set[str], *, final: bool) -> DaySides:
    """A day of one account with a bill, and cells of the models that were used."""
    cells = [CellKey("openai", ACCOUNT, "text", model) for model in sorted(used)]
    coverage = Coverage(State.FINAL if final else State.PROVISIONAL, CLOSED)
    costs = FamilyDay(
        key=FamilyKey("openai", COSTS_FAMILY),
        accounts={"org-acme": AccountDay(coverage, {1: Lead(True)}, (), {}, False)},
        coverage=coverage,
        known=True,
        feeds=(),
        slices={1: SliceRow(1, 1, "costs", D, CLOSED, 86400, frozenset(), False, True, None)},
        cut_at=CLOSED,
        hourly=False,
        scoped_only=False,
    )
    key: Any = SimpleNamespace(account="org-acme")
    return DaySides(
        workspace=Workspace(1, "acme", "acme", "provider_first", False, CLOSED),
        day=D,
        families={},
        costs={"openai": costs},
        reports={},
        cells={key: CellSides(key) for key in cells},
        shadowed={},
        counted_rows={},
        without_model=frozenset(),
        hermes_feeds={},
        hermes_slices={},
        keys={1: key},
        bills_to={},
        settling_hermes=timedelta(days=3),
    )
