"""Billed, computed and what Hermes says: kept apart, exact, and never counted twice.

gpt-5 costs 1.25 dollars per million tokens of input and 10 of output, claude-sonnet-4-5 costs 3 and 15.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.account import Bill
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, RegisteredAccount, Scenario, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
NOON, CLOSED = utc(D, 12), utc(NEXT, 6)
SETTLED = utc(D + timedelta(days=4), 6)
MILLION = 1_000_000


def cost(row: Json, name: str = "counted") -> tuple[str | None, str | None]:
    return row["cost"][name]["usd"], row["cost"][name]["basis"]


def lines(scenario: Scenario) -> dict[str, tuple[str | None, str | None]]:
    """Counted cost of the rows that are only a line of the bill, by the line's words."""
    return {row["model"]: cost(row) for row in scenario.rows(D, family="billed_line")}


def test_a_final_bill_counts_and_its_rows_add_up_to_it_exactly(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    odd = Decimal("0.000000000000000000000000000000000000001")
    key.account.bills += [
        Bill(D, odd, "gpt-5-2025-08-07, input", "gpt-5-2025-08-07", "input_tokens"),
        Bill(D, Decimal("0.25"), "web search tool calls"),
        Bill(D, Decimal("-0.05"), "gpt-4o, output", "gpt-4o", "output_tokens"),
    ]
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == ("10.000000000000000000000000000000000000001", "billed")
    assert cost(row, "computed")[0] == "10.00"
    # A line of a model that was not used, and one that names none, are rows of their own.
    assert lines(scenario) == {"web search tool calls": ("0.25", "billed"), "gpt-4o": ("-0.05", "billed")}
    assert scenario.report(D)["totals"]["cost"]["counted"]["usd"] == "10.200000000000000000000000000000000000001"


def test_a_credit_keeps_its_sign(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.bills.append(Bill(D, Decimal("-3.5"), "credit"))
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert lines(scenario) == {"credit": ("-3.50", "billed")}


def test_until_the_bill_is_final_the_computed_cost_counts_as_an_estimate(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills.append(Bill(D, Decimal("0.25"), "web search tool calls"))
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == ("10.00", "estimate")
    assert cost(row, "billed") == ("10.00", "provisional")
    assert lines(scenario) == {"web search tool calls": (None, None)}


def test_what_stands_in_is_estimated_at_the_price_of_the_model_that_hermes_names(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), MILLION)
    scenario.at(NOON).pull(key, D)
    scenario.send(feed, v2_payload(NOON, [Call(utc(D, 9), output=3 * MILLION)]))
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == ("30.00", "estimate")
    assert cost(row, "computed") == ("30.00", "base tier; stand-in at base tier")


def test_what_stands_in_is_priced_by_the_name_that_each_row_reports(scenario: Scenario) -> None:
    feed = scenario.hermes()
    calls = [Call(utc(D, 9), "gpt-5", output=MILLION), Call(utc(D, 9), "gpt-5-2025-08-07", output=MILLION)]
    calls.append(Call(utc(D, 9), "claude-sonnet-4-5", output=MILLION))
    scenario.at(NOON).send(feed, v2_payload(NOON, calls))
    scenario.settle(D)
    assert cost(scenario.row(D, model="gpt-5")) == ("20.00", "estimate")
    assert cost(scenario.row(D, model="claude-sonnet-4-5")) == ("15.00", "estimate")


def test_a_final_bill_is_not_topped_up_by_what_stands_in(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), MILLION)
    key.account.refuse("completions")
    pull_what_answers(scenario.at(SETTLED), key)
    scenario.send(feed, v2_payload(SETTLED, [Call(utc(D, 9), output=MILLION)]))
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert row["decision"] == "hermes_standin"
    assert cost(row) == ("10.00", "billed")  # not 20: the bill has what Hermes stands in for


def test_of_two_accounts_one_bill_may_be_final_before_the_other(scenario: Scenario) -> None:
    first = scenario.register(name="first", organization="org-a")
    second = scenario.register(name="second", organization="org-b")
    for key, bill in ((first, "9"), (second, "8")):
        key.account.spend(utc(D, 9), MILLION)
        key.account.bills[0] = Bill(D, Decimal(bill), "gpt-5, output", "gpt-5", "output_tokens")
    scenario.at(CLOSED).pull(second, D)
    scenario.at(SETTLED).pull(first, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == ("19.00", "billed and estimate")  # 9 billed, 10 computed
    assert cost(row, "billed") == ("17.00", "provisional")
    scenario.pull(second, D)
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("17.00", "billed")


def test_an_unknown_model_has_no_price_and_a_finding(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99-nobody-knows")
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == (None, "unpriced")
    assert cost(row, "computed") == (None, None)
    assert "unpriced_model" in row["findings"]


def test_a_final_bill_counts_also_where_nobody_knows_a_price(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION, "gpt-99-nobody-knows")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("10.00", "billed")


def test_an_accounts_final_bill_counts_also_where_anothers_part_has_no_price(scenario: Scenario) -> None:
    billed = scenario.register(name="first", organization="org-a")
    unpriced = scenario.register(name="second", organization="org-b")
    for key in (billed, unpriced):
        key.account.spend(utc(D, 9), MILLION, "gpt-99-nobody-knows")
    scenario.at(CLOSED).pull(unpriced, D)
    scenario.at(SETTLED).pull(billed, D)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert cost(row) == ("10.00", "billed and unpriced")
    assert "unpriced_model" in row["findings"]


def test_a_subscription_includes_its_calls_and_a_missing_cost_is_null(scenario: Scenario) -> None:
    feed = scenario.hermes()
    included = Call(utc(D, 9), output=5, billing="openai-codex", billing_mode="subscription_included")
    unsaid = Call(utc(D, 9), "claude-sonnet-4-5", output=5, billing="openrouter")
    scenario.at(NOON).send(feed, v3_payload(NOON, [included, unsaid], D, NEXT))
    scenario.settle(D)
    assert cost(scenario.row(D, route="off_account:openai-codex")) == ("0.00", "included")
    assert cost(scenario.row(D, route="off_account:openrouter")) == (None, None)


def test_actual_costs_count_where_every_row_has_one_else_the_estimates(scenario: Scenario) -> None:
    feed = scenario.hermes()
    payload = v3_payload(NOON, [Call(utc(D, 9), output=5, billing="openrouter")], D, NEXT)
    (row,) = payload["days"][0]["usage"]
    row |= {"estimatedCostUsd": 0.3, "actualCostUsd": 0.0}
    payload["days"][0]["usage"].append({**row, "task": "compression", "actualCostUsd": 0.2})
    scenario.at(NOON).send(feed, payload)
    scenario.settle(D)
    assert cost(scenario.row(D)) == ("0.20", "actual")
    payload["days"][0]["usage"][0]["actualCostUsd"] = None
    scenario.send(feed, {**payload, "generatedAt": "2026-03-10T12:00:01Z", "revision": 2})
    scenario.settle(D)
    assert cost(scenario.row(D)) == ("0.60", "estimated")


def test_a_row_that_used_nothing_is_asked_for_its_actual_cost_only_where_it_names_an_estimate(
    scenario: Scenario,
) -> None:
    feed = scenario.hermes()
    payload = v3_payload(NOON, [Call(utc(D, 9), output=5, billing="openrouter")], D, NEXT)
    (row,) = payload["days"][0]["usage"]
    row |= {"estimatedCostUsd": None, "actualCostUsd": 0.5}
    idle = {**row, "task": "compression", "outputTokens": 0, "actualCostUsd": None, "estimatedCostUsd": 0.0}
    payload["days"][0]["usage"].append(idle)
    scenario.at(NOON).send(feed, payload)
    scenario.settle(D)
    assert cost(scenario.row(D)) == ("0.50", "actual")
    idle["estimatedCostUsd"] = 0.75
    scenario.send(feed, {**payload, "generatedAt": "2026-03-10T12:00:01Z", "revision": 2})
    scenario.settle(D)
    assert cost(scenario.row(D)) == (None, None)


def test_where_hermes_alone_counts_the_bill_is_only_shown(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.workspace(policy="hermes_only")
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills.append(Bill(D, Decimal("0.25"), "web search tool calls"))
    scenario.at(SETTLED).pull(key, D)
    payload = v3_payload(SETTLED, [Call(utc(D, 9), output=MILLION)], D, NEXT)
    payload["days"][0]["usage"][0]["estimatedCostUsd"] = 7.5
    scenario.send(feed, payload)
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert (cost(row), cost(row, "billed")) == (("7.50", "estimated"), ("10.00", "final"))
    assert lines(scenario) == {"web search tool calls": (None, None)}
    assert scenario.row(D, family="billed_line")["decision"] == "no_data"


def test_under_hermes_first_the_bill_counts_and_what_is_beyond_it_is_estimated(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.workspace(policy="hermes_first")
    key.account.spend(utc(D, 9), MILLION)
    scenario.at(CLOSED).pull(key, D)
    scenario.send(feed, v3_payload(CLOSED, [Call(utc(D, 9), output=3 * MILLION)], D, NEXT))
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("30.00", "estimate")
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    assert cost(scenario.row(D, family="text")) == ("10.00", "billed")


def test_a_bill_that_the_tokens_do_not_explain_is_a_finding_until_it_agrees(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    key.account.bills.append(Bill(D, Decimal("0.21"), "priority capacity"))
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    (finding,) = scenario.findings(D)
    assert (finding["code"], finding["figure_provider"], finding["difference"]) == (
        "bill_differs_from_usage",
        Decimal("10.21"),
        Decimal("-0.21"),
    )
    key.account.bills[-1] = Bill(D, Decimal("0.2"), "priority capacity")  # 2 % of 10.20 are 0.204
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert scenario.codes(D) == []


def pull_what_answers(scenario: Scenario, key: RegisteredAccount) -> None:
    """Pull; one endpoint fails, and the others' answers are kept."""
    with pytest.raises(UsagePipelineError):
        scenario.pull(key, D)
