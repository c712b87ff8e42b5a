"""Budgets and unusual days become alerts, with figures in words, for as long as they hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

from usage_pipeline.alerts.budget_facts import money_conditions
from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.alerts.facts import store_conditions
from usage_pipeline.budgets.budget import Budget, Scope
from usage_pipeline.ledger.budgets import set_budget
from usage_pipeline.settings import Settings
from usage_pipeline_tests.budgets.conftest import FIRST, NOW, TODAY, change
from usage_pipeline_tests.scripted.scenario import utc

SETTINGS = Settings()
WEB = Scope("project", "proj_web")


def held(
    connection: Connection, *causes: str, at: datetime = NOW, settings: Settings = SETTINGS
) -> dict[tuple[str, str], Condition]:
    found = money_conditions(connection, settings, at)
    return {(one.cause.code, one.place): one for one in found if not causes or one.cause.code in causes}


def limited(connection: Connection, amount: int, scope: Scope = WEB, every: str = "month", **more: object) -> None:
    given = {"workspace": "acme", "effective_from": FIRST, **more}
    budget = Budget(0, scope=scope, period=every, amount_usd=Decimal(amount), **given)  # type: ignore[arg-type]
    set_budget(connection, budget, "", NOW)


def test_a_budget_warns_is_exceeded_and_recovers_when_the_figure_falls(connection: Connection) -> None:
    place = "project proj_web of acme, by month"  # which has 318.75
    limited(connection, 399)
    assert held(connection, "budget_warning", "budget_exceeded") == {}
    limited(connection, 380)
    ((_, warning),) = held(connection, "budget_warning", "budget_exceeded").items()
    assert (warning.cause.code, warning.place, warning.occurrences) == ("budget_warning", place, ("2026-11",))
    assert warning.what == (
        "2026-11: 318.75 of 380.00 USD (83.88 %) are spent on project Website (proj_web) of acme, 78.75 of it"
        " provisional; 80 % was reached on 2026-11-19. By 2026-11-30 it may be 527.14 USD."
    )
    assert warning.since == utc(TODAY - timedelta(days=1))
    assert warning.remedy == (
        "usage-pipeline report --from 2026-11-01 --to 2026-11-30 --workspace acme --by project,model"
    )
    limited(connection, 300)
    both = held(connection, "budget_warning", "budget_exceeded")
    assert set(both) == {("budget_warning", place), ("budget_exceeded", place)}
    assert both["budget_warning", place].fingerprint == warning.fingerprint
    change(connection, "cost_counted_usd = cost_counted_usd / 2")
    assert held(connection, "budget_warning", "budget_exceeded") == {}


def test_a_period_is_watched_until_its_last_day_is_expected_and_is_then_over(connection: Connection) -> None:
    limited(connection, 40, every="day")
    at = {hour: held(connection, "budget_exceeded", at=utc(TODAY) + timedelta(hours=hour)) for hour in (-1, 5, 23, 24)}
    assert [len(found) for found in at.values()] == [1, 1, 1, 0]
    (condition,) = at[5].values()
    assert condition.occurrences == ("2026-11-19",)


def test_two_periods_that_are_exceeded_are_one_alert(connection: Connection) -> None:
    limited(connection, 3, every="day")
    ((_, condition),) = held(connection, "budget_exceeded").items()
    assert condition.occurrences == ("2026-11-19", "2026-11-20")
    assert condition.what.startswith("2026-11-20: 3.75 of 3.00 USD (125.00 %) are spent")
    assert "2026-11-19: 45.00 of 3.00 USD (1500.00 %)" in condition.what


def test_an_unusual_day_is_told_with_its_figures(connection: Connection) -> None:
    ((_, condition),) = held(connection, "spend_unusual").items()
    assert (condition.place, condition.occurrences, condition.since) == (
        "acme",
        ("2026-11-19",),
        utc(TODAY - timedelta(days=1)),
    )
    assert condition.what == (
        "2026-11-19: 60.00 USD (provisional). Usual are 20.00 USD, the median of 16 final days before, give or take"
        " 0.00; unusual is more than 30.00. Most of it: gpt-5 60.00 (usually 20.00)."
    )
    assert held(connection, "spend_unusual", at=NOW + timedelta(days=5)) == {}
    for quiet in ({"unusual_floor_usd": Decimal(40)}, {"unusual_fraction": Decimal(2)}, {"unusual_factor": Decimal(0)}):
        assert held(connection, "spend_unusual", settings=replace(SETTINGS, **quiet)) == {}  # type: ignore[arg-type]


def test_without_seven_final_days_before_nothing_is_unusual(connection: Connection) -> None:
    connection.execute(
        text(
            "UPDATE reconciled_usage SET provisional = true FROM reconciliations AS c"
            " WHERE c.reconciliation_id = reconciled_usage.reconciliation_id AND c.day > '2026-11-06'"
        )
    )
    assert held(connection, "spend_unusual") == {}


def test_a_demo_raises_nothing(connection: Connection) -> None:
    limited(connection, 1)
    assert held(connection, "budget_exceeded")
    connection.execute(text("UPDATE workspaces SET demo = true"))
    assert held(connection) == {}


def test_they_are_among_what_holds_in_the_store(connection: Connection) -> None:
    assert "spend_unusual" in {one.cause.code for one in store_conditions(connection, SETTINGS, NOW)}
