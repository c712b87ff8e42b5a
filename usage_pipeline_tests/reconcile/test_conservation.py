"""A rule that loses a token publishes nothing: the day's former rows stand, and the error says what does not add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from usage_pipeline.errors import InvariantError
from usage_pipeline.reconcile import day as reconciling
from usage_pipeline.reconcile.decision import Cell, Decided, decide
from usage_pipeline_tests.scripted.scenario import Scenario, figure, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)
MILLION = 1_000_000


def _losing(cell: Cell, *policy: object) -> Decided:
    """The decision, with one token of output less than was decided."""
    decided = decide(cell, *policy)  # type: ignore[arg-type]
    return replace(decided, counted={**decided.counted, "output": (decided.counted.get("output") or 0) - 1})


def test_a_rule_that_loses_a_token_changes_nothing(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), MILLION)
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    key.account.spend(utc(D, 10), MILLION)
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    published = ("reconciled_usage", "reconciled_shares", "account_bills", "findings", "reconciliations")
    before = {table: scenario.contents()[table] for table in published}
    monkeypatch.setattr(reconciling, "decide", _losing)
    with pytest.raises(InvariantError, match=r"\[conservation_broken\] output: the day's counted total 1999999 is not"):
        scenario.settle(D)
    assert {table: scenario.contents()[table] for table in published} == before
    assert figure(scenario.row(D, family="text"), "counted") == MILLION
    monkeypatch.undo()
    scenario.settle(D)
    assert figure(scenario.row(D, family="text"), "counted") == 2 * MILLION
