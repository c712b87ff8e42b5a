"""The shape that ``report --json`` promises, and amounts that are exact until they are shown."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from usage_pipeline.ledger.reconciled import COSTS, GROUPS, CostFigure, ReconciledRow, replace_reconciled
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.reconcile.decision import RULES_VERSION
from usage_pipeline.reconcile.report import measures, money, nano_usd, plain
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, utc

D = date(2026, 3, 10)
NOTHING = CostFigure(None, None)


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.0000000005", 0),  # half goes to the even neighbour
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("-0.0000000015", -2),
        ("0.000000000500000000000000000000000000001", 1),  # 39 decimals: more than half
        ("0.000000000499999999999999999999999999999", 0),
        ("1234567890123456.789", 1234567890123456789000000),
        ("0E-6176", 0),
    ],
)
def test_nano_dollars_are_rounded_once_half_even(usd: str, nano: int) -> None:
    assert nano_usd(Decimal(usd)) == nano


@pytest.mark.parametrize(
    ("usd", "written"),
    [
        ("0", "0.00"),
        ("0E-6176", "0.00"),
        ("-0.000", "0.00"),
        ("1", "1.00"),
        ("1E+2", "100.00"),
        ("1.50", "1.50"),
        ("0.005", "0.005"),
        ("-0.10000", "-0.10"),
        ("1E-12", "0.000000000001"),
        ("0.123456789012345678901234567890123456789", "0.123456789012345678901234567890123456789"),
    ],
)
def test_dollars_are_written_plainly_and_exactly(usd: str, written: str) -> None:
    assert plain(Decimal(usd)) == written


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**9), max_value=10**9))
def test_a_written_amount_is_the_amount(usd: Decimal) -> None:
    assert Decimal(plain(usd)) == usd


def test_what_is_not_known_is_null_and_keeps_its_basis() -> None:
    assert money(CostFigure(None, "unpriced")) == {"nano_usd": None, "usd": None, "basis": "unpriced"}


def test_a_measure_that_nobody_reports_is_null_and_other_measures_show_where_known() -> None:
    shown = measures({"output": 0, "images": 0})
    assert shown == {
        "tokens": {**dict.fromkeys(TOKEN_CLASSES), "output": 0},
        "reasoning": None,
        "requests": None,
        "other": {"images": 0},
    }


def test_the_report_has_the_promised_shape(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    settled = utc(D + timedelta(days=4), 6)
    scenario.at(settled).pull(key, D)
    scenario.send(feed, v3_payload(settled, [Call(utc(D, 9), output=1100)], D, D + timedelta(days=1)))
    scenario.settle(D)
    report = scenario.report(D)
    assert list(report) == ["from", "to", "now", "rows", "totals", "findings", "bills"]
    assert (report["from"], report["to"], report["now"]) == ("2026-03-10", "2026-03-10", "2026-03-14T06:00:00Z")
    (row,) = report["rows"]
    said = {name: row[name] for name in ("date", "workspace", "provider", "route", "family", "model")}
    assert said == {
        "date": "2026-03-10",
        "workspace": "acme",
        "provider": "openai",
        "route": "account",
        "family": "text",
        "model": "gpt-5",
    }
    assert (row["decision"], row["provisional"], row["policy"]) == ("provider", False, "provider_first")
    assert (row["rules_version"], row["findings"]) == (RULES_VERSION, ["hermes_exceeds_provider"])
    for name in GROUPS:
        for shown in (row[name], report["totals"][name]):
            assert list(shown) == ["tokens", "reasoning", "requests", "other"]
            assert tuple(shown["tokens"]) == TOKEN_CLASSES
    for name in COSTS:
        for cost in (row["cost"][name], report["totals"]["cost"][name]):
            assert list(cost) == ["nano_usd", "usd", "basis", *(["version"] if name == "computed" else [])]
    assert row["cost"]["counted"] == {"nano_usd": 10_000_000, "usd": "0.01", "basis": "billed"}
    assert row["reported_by_provider"]["tokens"]["cache_write_5m"] is None
    assert row["reported_by_provider"]["tokens"]["cache_read"] == 0
    assert row["reported_by_provider"]["reasoning"] is None
    (finding,) = [one for one in report["findings"] if one["code"] == "hermes_exceeds_provider"]
    assert (finding["figure_provider"], finding["figure_hermes"], finding["difference"]) == ("1000", "1100", "100")


def test_totals_are_the_sums_of_the_rows_and_levels_the_highest_day(scenario: Scenario) -> None:
    scenario.workspace()
    days = [D, D + timedelta(days=1)]
    with scenario.runtime.engine.begin() as connection:
        workspace_id = connection.execute(text("SELECT workspace_id FROM workspaces")).scalar_one()
        for day, tokens, levels in zip(days, (1, 2), ((30, 40), (50, None)), strict=True):
            rows = [stored(model, tokens, level) for model, level in zip(("a", "b"), levels, strict=True)]
            replace_reconciled(connection, workspace_id, day, rows, [], scenario.clock.now)
    totals = scenario.report(D, D + timedelta(days=2))["totals"]
    assert totals["counted"]["tokens"]["output"] == 6
    assert totals["counted"]["tokens"]["cache_read"] is None
    assert totals["counted"]["other"] == {"usage_bytes": 70}  # 30 + 40 on the first day, 50 on the second
    assert totals["cost"]["counted"] == {"nano_usd": -400_000_000, "usd": "-0.40", "basis": "billed"}


def stored(model: str, tokens: int, level: int | None) -> ReconciledRow:
    return ReconciledRow(
        provider="openai",
        route="account",
        family="text",
        model=model,
        decision="provider",
        provisional=False,
        covered_until=None,
        policy="provider_first",
        rules_version="1",
        alias_version="1",
        lower_bound=(),
        figures={group: {"output": tokens, "usage_bytes": level} for group in GROUPS},
        costs=dict.fromkeys(COSTS, NOTHING) | {"counted": CostFigure(Decimal("-0.1"), "billed")},
    )


def test_a_demo_never_stands_among_real_figures(scenario: Scenario) -> None:
    feed = scenario.hermes(workspace="demo")
    with scenario.runtime.engine.begin() as connection:
        connection.execute(text("UPDATE workspaces SET demo = true"))
    scenario.at(utc(D, 12)).send(feed, v3_payload(utc(D, 12), [Call(utc(D, 9), output=80)], D, D + timedelta(days=1)))
    scenario.settle(D)
    assert {row["workspace"] for row in scenario.report(D)["rows"]} == {"demo"}
    scenario.workspace("acme")
    assert scenario.report(D)["rows"] == []
    assert {row["workspace"] for row in scenario.report(D, workspace="demo")["rows"]} == {"demo"}
