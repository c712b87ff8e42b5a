"""A workspace's day from stored events to reconciled rows: the rules that need more than one cell or one slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline import stages
from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.hermes_feeds import set_counts
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline.reconcile.cells import CellKey, CellSides, DecidedCell
from usage_pipeline.reconcile.coverage import Coverage, State
from usage_pipeline.reconcile.day import assert_totals_conserved
from usage_pipeline.reconcile.decision import Cell, decide
from usage_pipeline.utc_days import day_end
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, figure, figures, scenario_on, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
NOON, EVENING, CLOSED = utc(D, 12), utc(D, 18), utc(NEXT, 6)
SETTLED = utc(D + timedelta(days=4), 6)


def says(scenario: Scenario, feed: object, *calls: Call, **more: object) -> None:
    """A v3 batch about D, sent now."""
    now = scenario.clock.now
    scenario.send(feed, v3_payload(now, calls, D, NEXT, **more))  # type: ignore[arg-type]


def nothing_but(row: Json, **wanted: int) -> None:
    """Check the figures of a row's output; what is not named is 0 or null."""
    found = {name: value for name, value in figures(row).items() if value}
    assert found == {name: value for name, value in wanted.items() if value}


def test_hours_of_a_model_that_the_provider_does_not_know_yet_count(scenario: Scenario) -> None:
    models = ("gpt-5", "gpt-4o", "gpt-4.1", "gpt-4.1-nano", "gpt-5-mini")
    # Rows come in the order of their hashed keys: an hour may come before its day, whatever the model.
    key, feed = scenario.register(), scenario.hermes()
    scenario.at(NOON).pull(key, D)
    scenario.at(EVENING)
    says(scenario, feed, *(Call(utc(D, hour), model, output=100) for model in models for hour in (9, 14, 16)))
    scenario.settle(D)
    for model in models:
        row = scenario.row(D, model=model)
        nothing_but(row, reported_by_hermes=300, counted=300, stand_in=300)
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    for model in models:  # row 4: call-time hours in every feed of the cell
        nothing_but(scenario.row(D, model=model), reported_by_hermes=300, counted=300, stand_in=300)


def test_hours_that_do_not_add_up_are_no_arithmetic(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    scenario.at(EVENING)
    day, hours = [Call(utc(D, 9), output=700)], [Call(utc(D, 14), output=699)]
    says(scenario, feed, *day, hours=hours)
    scenario.settle(D)
    nothing_but(
        scenario.row(D), reported_by_provider=600, reported_by_hermes=700, counted=700, explained=600, stand_in=100
    )
    scenario.at(CLOSED).pull(key, D)
    scenario.settle(D)
    nothing_but(
        scenario.row(D), reported_by_provider=600, reported_by_hermes=700, counted=600, explained=600, excess=100
    )


def test_one_feed_without_call_times_makes_the_whole_cell_so(scenario: Scenario) -> None:
    key, v3, v2 = scenario.register(), scenario.hermes(), scenario.hermes("server")
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    scenario.at(EVENING)
    says(scenario, v3, Call(utc(D, 14), output=400))
    scenario.send(v2, v2_payload(EVENING, [Call(utc(D, 14), output=100)]))
    scenario.settle(D)
    row = scenario.row(D)
    nothing_but(row, reported_by_provider=600, reported_by_hermes=500, counted=600, explained=500, unattributed=100)


def test_daily_buckets_have_no_halves(scenario: Scenario) -> None:
    key, feed = scenario.register(grain="1d"), scenario.hermes()
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    scenario.at(EVENING)
    says(scenario, feed, Call(utc(D, 14), output=700))
    scenario.settle(D)
    row = scenario.row(D)
    nothing_but(row, reported_by_provider=600, reported_by_hermes=700, counted=700, explained=600, stand_in=100)


def test_what_no_adapter_of_a_vendor_reports_is_a_lower_bound_also_without_a_key(scenario: Scenario) -> None:
    feed = scenario.hermes()
    scenario.at(EVENING)
    says(scenario, feed, Call(utc(D, 9), "claude-sonnet-4-5", output=10, requests=3, billing="anthropic"))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["route"], row["decision"]) == ("account", "hermes_standin")
    assert (row["counted"]["requests"], row["stand_in"]["requests"]) == (3, None)
    assert set(row["lower_bound"]) == {"reasoning", "requests"}


def test_what_a_payload_does_not_state_is_null_and_what_it_covers_is_zero(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 5, "gpt-5-mini")
    scenario.at(SETTLED).pull(key, D)
    payload = v3_payload(SETTLED, [Call(utc(D, 9), output=5)], D, NEXT)
    payload["days"][0]["usage"][0] |= {"requests": None, "reasoningTokens": None}
    scenario.send(feed, payload)
    scenario.settle(D)
    stated, silent = (scenario.row(D, model=model)["reported_by_hermes"] for model in ("gpt-5", "gpt-5-mini"))
    assert (stated["requests"], stated["reasoning"], stated["tokens"]["output"]) == (None, None, 5)
    assert (silent["requests"], silent["reasoning"], silent["tokens"]["output"]) == (0, 0, 0)
    assert scenario.row(D, model="gpt-5")["counted"]["reasoning"] is None


def test_a_feed_that_does_not_count_makes_no_cell(scenario: Scenario) -> None:
    staging = scenario.hermes("staging", environment="staging")
    scenario.at(EVENING)
    payload = v3_payload(EVENING, [Call(utc(D, 9), output=5)], D, NEXT)
    scenario.send(staging, {**payload, "environment": "staging"})
    scenario.settle(D)
    assert scenario.report(D)["rows"] == []
    with scenario.runtime.engine.begin() as connection:
        set_counts(connection, staging, True, EVENING)
    scenario.settle(D)
    nothing_but(scenario.row(D), reported_by_hermes=5, counted=5, stand_in=5)


def test_two_feeds_add_up(scenario: Scenario) -> None:
    first, second = scenario.hermes(), scenario.hermes("server")
    scenario.at(EVENING)
    says(scenario, first, Call(utc(D, 9), output=5))
    says(scenario, second, Call(utc(D, 9), output=6))
    scenario.settle(D)
    nothing_but(scenario.row(D), reported_by_hermes=11, counted=11, stand_in=11)


def test_rows_without_a_model_meet_all_of_hermes_in_one_cell(migrated_database: str, tmp_path: Path) -> None:
    no_model = replace(COMPLETIONS, dimensions={"project_id": "project_id"})
    with scenario_on(migrated_database, tmp_path, utc(D), speaks=[NarrowedOpenAI(no_model)]) as scenario:
        key, feed = scenario.register(), scenario.hermes()
        key.account.uses += [Use(utc(D, 9), output=700), Use(utc(D, 9), "gpt-4o", output=300)]
        scenario.at(SETTLED).pull(key, D)
        off = Call(utc(D, 9), output=50, billing="openai-codex")
        says(scenario, feed, Call(utc(D, 9), output=500), Call(utc(D, 9), "gpt-4.1-nano", output=300), off)
        scenario.settle(D)
        (row,) = scenario.rows(D, route="account")
        assert row["model"] == ""
        nothing_but(
            row, reported_by_provider=1000, reported_by_hermes=800, counted=1000, explained=800, unattributed=200
        )
        assert scenario.row(D, route="off_account:openai-codex")["model"] == "gpt-5"


def test_an_unfinished_account_leaves_the_other_one_known(scenario: Scenario) -> None:
    first = scenario.register(name="first", organization="org-a")
    scenario.register(name="second", organization="org-b")
    feed = scenario.hermes()
    first.account.spend(utc(D, 9), 300)
    scenario.at(SETTLED).pull(first, D)
    scenario.settle(D)
    row = scenario.row(D)  # row 8
    assert (row["decision"], row["provisional"], row["findings"]) == ("provider", True, ["window_missing"])
    nothing_but(row, reported_by_provider=300, counted=300, unattributed=300)
    says(scenario, feed, Call(utc(D, 9), output=800))
    scenario.settle(D)
    row = scenario.row(D)  # row 7
    assert (row["decision"], row["findings"]) == ("hermes_standin", ["provider_missing"])
    nothing_but(row, reported_by_provider=300, reported_by_hermes=800, counted=800, explained=300, stand_in=500)
    assert [one["account"] for one in scenario.findings(D) if one["family"] == "text"] == ["org-b"]


def test_a_disabled_key_is_expected_to_cover_nothing_from_its_last_day_on(scenario: Scenario) -> None:
    key = scenario.register()
    days = [D - timedelta(days=1), D, NEXT]
    with scenario.runtime.engine.begin() as connection:
        disable_feed(connection, key.key.feed_id, key.slug, NOON)  # from NEXT on; D is its last day
    scenario.at(utc(D + timedelta(days=10))).settle(*days)
    families = sorted({one.family for one in PROVIDER.endpoints if one.kind == "usage" and "admin" in one.modes})
    assert [[(row["family"], row["decision"]) for row in scenario.report(day)["rows"]] for day in days] == [
        [(family, "no_data") for family in families],
        [],
        [],
    ]
    assert [scenario.codes(day) for day in days] == [["window_missing"], [], []]


def test_a_disabled_keys_last_answer_stands_and_is_not_stale(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), 300)
    scenario.at(NOON).pull(key, D)
    with scenario.runtime.engine.begin() as connection:
        disable_feed(connection, key.key.feed_id, key.slug, NOON)
    scenario.at(utc(D + timedelta(days=10))).settle(D)
    row = scenario.row(D)
    assert (row["decision"], row["provisional"], row["findings"]) == ("provider", True, [])
    nothing_but(row, reported_by_provider=300, counted=300, unattributed=300)


def test_a_workspace_on_hermes_alone_misses_nothing(scenario: Scenario) -> None:
    feed = scenario.hermes()
    scenario.at(EVENING)
    says(scenario, feed, Call(utc(D, 9), output=5))
    scenario.at(utc(D + timedelta(days=30))).settle(D)
    assert scenario.row(D)["decision"] == "hermes_standin"
    assert scenario.codes(D) == []


def test_a_setting_that_changes_reconciles_the_past_anew(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    scenario.at(SETTLED).pull(key, D)
    says(scenario, feed, Call(utc(D, 9), output=1100))
    scenario.settle(D)
    assert scenario.row(D)["provisional"] is False
    assert scenario.codes(D) == ["hermes_exceeds_provider"]
    built_in = scenario.runtime
    scenario.runtime = replace(built_in, settings=replace(built_in.settings, settling_provider_hours=200))
    scenario.settle(D)
    assert scenario.row(D)["provisional"] is True
    assert scenario.codes(D) == []


POLICIES: Mapping[str, tuple[str, int, list[str]]] = {
    # decision on account, counted output, findings: P 1000 final, H 1100 of v3, pulled after settling
    "provider_first": ("provider", 1000, ["hermes_exceeds_provider"]),
    "hermes_first": ("hermes", 1100, ["hermes_exceeds_provider"]),
    "provider_only": ("provider", 1000, []),
    "hermes_only": ("hermes", 1100, []),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_decides_what_counts_and_which_findings_are_raised(scenario: Scenario, policy: str) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    scenario.at(SETTLED).pull(key, D)
    off = Call(utc(D, 9), output=50, billing="openai-codex", requests=1)
    says(scenario, feed, Call(utc(D, 9), output=1100, reasoning=7, requests=2), off)
    scenario.workspace(policy=policy)
    scenario.settle(D)
    row, beside = scenario.row(D, route="account"), scenario.row(D, route="off_account:openai-codex")
    assert (row["decision"], figure(row, "counted"), row["findings"]) == POLICIES[policy]
    assert (figure(row, "reported_by_provider"), figure(row, "reported_by_hermes")) == (1000, 1100)
    assert figure(beside, "counted") == (None if policy == "provider_only" else 50)
    assert figure(beside, "reported_by_hermes") == 50
    assert row["counted"]["reasoning"] == (None if policy == "provider_only" else 7)
    assert {one["policy"] for one in (row, beside)} == {policy}


@pytest.mark.parametrize(
    ("policy", "codes"),
    [("provider_only", ["provider_missing"]), ("hermes_only", []), ("hermes_first", ["provider_missing"])],
)
def test_a_missing_provider_is_a_finding_unless_it_is_left_out(
    scenario: Scenario, policy: str, codes: list[str]
) -> None:
    scenario.register()
    feed = scenario.hermes()
    scenario.at(EVENING)
    says(scenario, feed, Call(utc(D, 9), output=5))
    scenario.workspace(policy=policy)
    scenario.at(SETTLED).settle(D)
    row = scenario.row(D, family="text")
    assert row["findings"] == codes
    assert row["decision"] == ("no_data" if policy == "provider_only" else "hermes")


def test_the_number_of_statements_does_not_grow_with_the_cells(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    counts: list[int] = []
    for models in (1, 2, 40):  # from the second on there are findings about restatements, and what stands behind them
        key.account.uses += [Use(utc(D, 9), f"gpt-4o-{n}", output=5) for n in range(models)]
        scenario.at(SETTLED).pull(key, D)
        says(scenario, feed, *(Call(utc(D, 9), f"gpt-4o-{n}", output=500) for n in range(models)))
        scenario.settle(D)
        with statements_of(scenario.runtime.engine) as statements:
            stages.reconcile_days(scenario.runtime, [D])
        counts.append(len(statements))
    assert counts[1] == counts[2]


@contextmanager
def statements_of(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that SQLAlchemy sends within the block."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        sent.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_provider_row_that_no_cell_holds_is_a_defect() -> None:
    key = CellKey("openai", "account", "text", "gpt-5")
    cell = Cell(
        provider_decides=True,
        coverage=Coverage(State.FINAL, day_end(D)),
        provider_known=True,
        day_end=day_end(D),
        provider={"output": 1000},
        hermes=None,
        hermes_final=False,
        hermes_until=None,
        hermes_call_time=False,
        provider_reports=frozenset({"output"}),
    )
    decided = [DecidedCell(key, CellSides(key), cell, decide(cell), decide(cell))]
    assert_totals_conserved(decided, {"output": 1000})
    with pytest.raises(InvariantError, match="conservation_broken"):
        assert_totals_conserved(decided, {"output": 1001})
    with pytest.raises(InvariantError, match="conservation_broken"):
        assert_totals_conserved([], {"output": 1})
