"""What is spent of a budget is what the report counts for the same thing, and follows what changes."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection

from usage_pipeline.budgets import spending as spending_module
from usage_pipeline.budgets.budget import Budget, Scope
from usage_pipeline.budgets.spending import Amount, spending
from usage_pipeline.budgets.status import budget_statuses
from usage_pipeline.ledger.budgets import end_budget, list_budgets, set_budget
from usage_pipeline.ledger.showback_rules import add_rule, end_rule
from usage_pipeline.reconcile.cuts import cut
from usage_pipeline.showback.rules import UNASSIGNED, new_rule
from usage_pipeline_tests.budgets.conftest import FIRST, NOW, TODAY, change

NEXT = TODAY + timedelta(days=1)
SCOPES = [
    Scope("workspace", None),
    Scope("model", "gpt-5"),
    Scope("project", "proj_web"),
    Scope("api_key", "key_2"),
    Scope("cost_center", UNASSIGNED),
    Scope("team", "Lab"),
    Scope("project", "proj_unknown"),
]


def total(connection: Connection, scope: Scope, workspace: str | None = "acme") -> Amount:
    amounts = spending(connection, FIRST, NEXT, workspace, SCOPES)[scope].values()
    return Amount(
        sum((one.usd for one in amounts), Decimal(0)), sum((one.provisional_usd for one in amounts), Decimal(0))
    )


def budget(scope: Scope, amount: int = 400, **more: object) -> Budget:
    given = {"workspace": "acme", "period": "month", "effective_from": FIRST, **more}
    return Budget(0, scope=scope, amount_usd=Decimal(amount), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("workspace", ["acme", None])
def test_it_is_what_a_cut_of_the_report_counts(connection: Connection, workspace: str | None) -> None:
    for scope in SCOPES:
        by = "workspace" if scope.value is None else scope.kind
        made = cut(connection, FIRST, NEXT, workspace, (by,))
        counted = [row.cost.usd for row in made.rows if row.values[0] in {scope.value, "acme"} and row.cost.usd]
        assert total(connection, scope, workspace).usd == sum(counted, Decimal(0)), scope


def test_the_days_and_what_is_provisional(connection: Connection) -> None:
    web = spending(connection, FIRST, NEXT, "acme", SCOPES)[Scope("project", "proj_web")]
    assert [web[date(2026, 11, day)] for day in (16, 18, 19, 20)] == [
        Amount(Decimal(15), Decimal(0)),
        Amount(Decimal(15), Decimal(15)),
        Amount(Decimal(45), Decimal(45)),
        Amount(Decimal("3.75"), Decimal("3.75")),
    ]


def test_rows_are_read_once_until_something_changes(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[date] = []

    def counting(*given: object) -> object:
        read.append(given[1])  # type: ignore[arg-type]
        return cut(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(spending_module, "cut", counting)
    monkeypatch.setattr(spending_module, "_amounts", type(spending_module._amounts)())
    team = Scope("team", "Lab")
    assert total(connection, team).usd == 0
    assert total(connection, team).usd == 0
    assert len(read) == len(set(read)) == 20
    rule = add_rule(connection, new_rule({"project": ["proj_lab"]}, None, "Lab", FIRST, None), "", NOW)
    assert total(connection, team).usd == Decimal("106.25")
    assert len(read) == 40
    end_rule(connection, rule.rule.rule_id, TODAY, NOW)
    assert total(connection, team).usd == Decimal(105)
    change(connection, "provisional = true")
    assert total(connection, team).provisional_usd == Decimal(105)
    assert len(read) == 80


def test_statuses_are_of_the_budgets_of_the_day(connection: Connection) -> None:
    set_budget(connection, budget(SCOPES[0]), "", NOW)
    set_budget(connection, budget(SCOPES[2], period="week", workspace=None), "", NOW)
    of_all = budget_statuses(connection, TODAY)
    assert [(one.budget.place, one.period.name, one.spent.usd, one.state) for one in of_all] == [
        ("project proj_web of all workspaces, by week", "2026-W47", Decimal("93.75"), "within"),
        ("acme, by month", "2026-11", Decimal(425), "exceeded"),
    ]
    (month,) = budget_statuses(connection, TODAY, workspace="acme")
    assert (month.warning_on, month.exceeded_on) == (date(2026, 11, 16), date(2026, 11, 19))
    assert month.spent.provisional_usd == Decimal(105)
    # Of the last seven days six cost 20 dollars and one 60; ten days are to come.
    assert month.forecast_usd == (Decimal(420) + Decimal(11) * Decimal(180) / 7).quantize(Decimal("1e-9"))
    assert budget_statuses(connection, TODAY, on=FIRST - timedelta(days=1)) == []


def test_a_budget_ends_what_was_set_of_the_same_thing_and_period(connection: Connection) -> None:
    first, _ = set_budget(connection, budget(SCOPES[0]), "board", NOW)
    later, _ = set_budget(connection, budget(SCOPES[0], 300, effective_from=NEXT), "", NOW)
    other, ended = set_budget(connection, budget(SCOPES[0], 30, period="day", effective_from=TODAY), "", NOW)
    assert ended == ()
    third, ended = set_budget(connection, budget(SCOPES[0], 500, effective_from=TODAY), "", NOW)
    assert [(one.budget.budget_id, one.taken_back) for one in ended] == [
        (first.budget.budget_id, False),
        (later.budget.budget_id, True),
    ]
    assert ended[0].budget.effective_to == TODAY
    assert {one.budget.amount_usd for one in budget_statuses(connection, TODAY)} == {Decimal(30), Decimal(500)}
    assert end_budget(connection, third.budget.budget_id, TODAY, NOW).taken_back
    assert {one.budget.budget_id for one in list_budgets(connection) if one.taken_back} == {
        later.budget.budget_id,
        third.budget.budget_id,
    }
    assert other.budget.budget_id > later.budget.budget_id
