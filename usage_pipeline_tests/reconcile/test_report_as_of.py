"""A report as of an instant is the report that was printed at that instant, whatever came later; and history holds
changes alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.ledger.workspaces import POLICIES
from usage_pipeline.reconcile.cut_report import build_cut, shadowed_rows
from usage_pipeline.reconcile.report import build_report
from usage_pipeline.reconcile.row_report import bill_rows, event_rows
from usage_pipeline_tests.reconcile.comparing import emptied
from usage_pipeline_tests.reconcile.test_cuts import labelled, with_repositories
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
SETTLED = utc(D + timedelta(days=4), 6)
CUTS = (("project", "source"), ("hermes_feed", "profile", "repository"), ("feed",))

STEP = st.one_of(
    st.tuples(st.just("spend"), st.integers(1, 900), st.sampled_from(["proj_a", "proj_b", None])),
    st.tuples(st.just("hermes"), st.integers(0, 900)),
    st.just(("forget",)),
    st.just(("again",)),
    st.just(("repositories",)),
    st.tuples(st.just("narrow"), st.integers(1, 90)),
    st.tuples(st.just("policy"), st.sampled_from(POLICIES)),
)


class _Play:
    """A day of which something new is heard every hour."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.wide = scenario.register(name="wide")
        self.narrow = scenario.register(name="narrow", projects=["proj_b"])
        self.laptop, self.old = scenario.hermes("laptop"), scenario.hermes("old", days_back=9)
        scenario.at(SETTLED - timedelta(days=2))
        for key in (self.wide, self.narrow):
            key.account.forget()

    def step(self, name: str, *of: Any) -> None:
        scenario = self.scenario
        scenario.at(scenario.clock.now + timedelta(hours=7))
        if name == "spend":
            self.wide.account.spend(utc(D, 9), of[0], project=of[1])
        elif name == "forget":
            self.wide.account.forget()
        elif name == "narrow":
            self.narrow.account.spend(utc(D, 9), of[0], project="proj_b")
        elif name == "hermes":
            calls = [Call(utc(D, 9), output=of[0], cache_write=3, reasoning=1, requests=2)]
            scenario.send(self.laptop, labelled("hermes", v3_payload(scenario.clock.now, calls, D, NEXT)))
        elif name == "repositories":
            at = scenario.clock.now.isoformat().replace("+00:00", "Z")
            scenario.send(self.old, {**with_repositories(), "generatedAt": at})
        elif name == "policy":
            scenario.workspace(policy=of[0])
        if name in {"spend", "forget", "again"}:
            scenario.pull(self.wide, D)
        if name in {"narrow", "again"}:
            scenario.pull(self.narrow, D)
        scenario.settle(D)


def told(scenario: Scenario, as_of: Any = None) -> dict[str, Any]:
    """Everything that a report can say of the day."""
    range_ = (D, NEXT, None)
    now = scenario.clock.now
    with scenario.runtime.engine.begin() as connection:
        report = build_report(connection, *range_, now, as_of)
        cuts = [build_cut(connection, *range_, by, now, as_of) for by in CUTS]
        found = {
            "rows": [{name: value for name, value in row.items() if name != "recorded_at"} for row in report["rows"]],
            "totals": report["totals"],
            "findings": [
                {
                    name: value for name, value in one.items() if name not in {"last_seen", "evidence"}
                }  # today's in any report
                for one in report["findings"]
            ],
            "cuts": [{name: value for name, value in one.items() if name not in {"now", "as_of"}} for one in cuts],
            "shadowed": shadowed_rows(connection, *range_, as_of),
            "events": list(event_rows(connection, *range_, as_of)),
            "bills": list(bill_rows(connection, *range_, as_of)),
        }
    copied: dict[str, Any] = json.loads(json.dumps(found))
    return copied


@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=2, max_size=4))
def test_a_report_as_of_each_step_is_the_one_printed_then(scenario: Scenario, steps: Sequence[Any]) -> None:
    play = _Play(emptied(scenario))
    printed = {}
    for name, *of in steps:
        play.step(name, *of)
        printed[scenario.clock.now] = told(scenario)
    scenario.at(scenario.clock.now + timedelta(days=1))
    for instant, then in printed.items():
        now = told(scenario, instant)
        for part, value in then.items():
            assert now[part] == value, (instant, part)


def _versions(scenario: Scenario) -> dict[str, int]:
    tables = scenario.select(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'superseded_at'"
        " AND table_schema = 'public'"
    )
    return {row["table_name"]: scenario.count(row["table_name"]) for row in tables}


def test_history_grows_with_changes_alone(scenario: Scenario) -> None:
    play = _Play(scenario)
    play.step("spend", 700, "proj_a")
    play.step("spend", 70, "proj_b")
    play.step("hermes", 300)
    play.scenario.at(SETTLED)
    play.step("again")
    before = _versions(scenario)
    assert {"usage_event_history", "reconciled_usage_history", "counted_slices_history"} <= set(before)
    play.step("again")
    play.step("hermes", 300)
    scenario.settle(D)
    assert _versions(scenario) == before
    for use in play.wide.account.uses:
        if use.project == "proj_a":
            object.__setattr__(use, "output", use.output + 1)  # one row of the provider, and nothing of the bill
    play.step("again")
    grown = {table: count - before[table] for table, count in _versions(scenario).items() if count != before[table]}
    assert grown["usage_event_history"] == 1
    assert grown["reconciled_usage_history"] == 1
    assert not {"billed_cost_history", "counted_slices_history"} & set(grown)


def test_events_that_moved_since_the_last_reconciling_are_a_line_of_their_own(scenario: Scenario) -> None:
    play = _Play(scenario)
    play.step("spend", 700, "proj_a")
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE usage_events SET output = 650 WHERE project_id = 'proj_a'")
        made = build_cut(connection, D, NEXT, None, ("project", "source"), scenario.clock.now)
    found = {(row["project"], row["source"]): row["counted"]["tokens"]["output"] for row in made["rows"]}
    assert found == {("proj_a", "provider"): 650, (None, "not_reconciled_yet"): 50}
    assert made["totals"]["counted"]["tokens"]["output"] == 700
