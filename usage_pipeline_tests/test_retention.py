"""Retention: only what an export confirmed goes, and what is gone says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.hermes.batch import PayloadRefusedError
from usage_pipeline.hermes.inbox import keep_refusal, receive
from usage_pipeline.ledger.alert_facts import refused_keys
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.raw_pages import find_raw_page
from usage_pipeline.retention import STANDS, UNCONFIRMED, Pruned, prune
from usage_pipeline_tests.parity.conftest import DAY, NEXT, SETTLED, Compare, compare, scenario, use_two_days
from usage_pipeline_tests.parity.exported import COST_COLUMNS, USAGE_COLUMNS, cost_rows, usage_rows, write
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, utc

__all__ = ["compare", "scenario"]

END = NEXT + timedelta(days=1)
LATER = SETTLED + timedelta(days=100)
KEPT_DAYS = 30


@pytest.fixture
def restated(scenario: Scenario) -> RegisteredAccount:
    """Two days that were pulled twice, and told otherwise the second time: history, and superseded pages."""
    key = scenario.register()
    use_two_days(key.account)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    use_two_days(key.account)
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    return key


def confirm(key: RegisteredAccount, compare: Compare, folder: Path) -> None:
    usage = usage_rows(key.account.uses, utc(DAY), utc(END), timedelta(hours=1))
    costs = cost_rows(key.account.bills)
    files = (
        write(folder / "completions_usage_2026-03-02_2026-03-04.csv", USAGE_COLUMNS, usage),
        write(folder / "cost_2026-03-02_2026-03-04.csv", COST_COLUMNS, costs),
    )
    for file in files:
        assert compare(file)["verdict"] == "equal"


def pruned(scenario: Scenario, *, dry_run: bool = False, **days: int) -> dict[str, Pruned]:
    settings = replace(scenario.runtime.settings, **days)  # type: ignore[arg-type]
    return {one.kind: one for one in prune(replace(scenario.runtime, settings=settings), dry_run=dry_run)}


def bodies(scenario: Scenario) -> int:
    return int(scenario.select("SELECT count(*) AS n FROM raw_pages WHERE octet_length(body_zstd) > 0")[0]["n"])


def test_by_default_everything_is_kept_for_ever(scenario: Scenario, restated: RegisteredAccount) -> None:
    before = scenario.contents()
    kinds = pruned(scenario.at(LATER))
    assert {one.older_than for one in kinds.values()} == {None}
    assert scenario.contents() == before


def test_what_no_export_confirmed_is_held_back(scenario: Scenario, restated: RegisteredAccount) -> None:
    before = scenario.contents()
    kinds = pruned(scenario.at(LATER), retention_raw_pages_days=KEPT_DAYS, retention_history_days=KEPT_DAYS)
    for kind in ("raw pages", "history"):
        assert (kinds[kind].rows, kinds[kind].held_back[UNCONFIRMED] > 0) == (0, True)
    assert scenario.contents() == before


def test_a_confirmed_superseded_page_goes_and_says_so(
    scenario: Scenario, restated: RegisteredAccount, compare: Compare, tmp_path: Path
) -> None:
    confirm(restated, compare, tmp_path)
    before = scenario.report(DAY, END)
    would = pruned(scenario.at(LATER), dry_run=True, retention_raw_pages_days=KEPT_DAYS)["raw pages"]
    all_bodies = bodies(scenario)
    done = pruned(scenario, retention_raw_pages_days=KEPT_DAYS)["raw pages"]
    assert (done.rows, done.bytes, done.days) == (would.rows, would.bytes, {DAY, NEXT})
    assert done.held_back[STANDS] > 0
    assert bodies(scenario) == all_bodies - done.rows
    page = scenario.select("SELECT pull_id, page_number FROM raw_pages WHERE octet_length(body_zstd) = 0")[0]
    with scenario.runtime.engine.begin() as connection, pytest.raises(UsagePipelineError) as refused:
        find_raw_page(connection, page["pull_id"], page["page_number"])
    assert refused.value.code == "raw_page_pruned"
    with scenario.runtime.engine.begin() as connection:
        entry = list_changes(connection, "retention")[-1]
    assert entry.detail == {"raw pages": {"rows": done.rows, "bytes": done.bytes}}
    scenario.settle(DAY, NEXT)
    after = scenario.report(DAY, END)
    assert (after["rows"], after["totals"]) == (before["rows"], before["totals"])


def test_a_restatement_is_seen_also_after_the_standing_page_went(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    key = scenario.register()
    use_two_days(key.account)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    confirm(key, compare, tmp_path)
    done = pruned(scenario.at(LATER), retention_standing_pages_days=KEPT_DAYS)["raw pages"]
    assert done.rows > 0
    assert {DAY, NEXT} == done.days
    key.account.spend(utc(DAY, 3), 700)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    assert "restated_after_final" in scenario.codes(DAY)
    assert "restated_after_final" not in scenario.codes(NEXT)


def test_an_answer_that_was_pruned_is_kept_anew_when_it_is_asked_for_again(
    scenario: Scenario, restated: RegisteredAccount, compare: Compare, tmp_path: Path
) -> None:
    confirm(restated, compare, tmp_path)
    pruned(scenario.at(LATER), retention_raw_pages_days=KEPT_DAYS, retention_standing_pages_days=KEPT_DAYS)
    left = bodies(scenario)
    before = scenario.contents()
    summary = scenario.pull(restated, DAY, END)
    scenario.settle(DAY, NEXT)
    assert summary.changed_days == []
    assert bodies(scenario) > left
    after = scenario.contents()
    for table in ("usage_events", "usage_event_history", "billed_costs", "reconciled_usage"):
        assert after[table] == before[table]


def test_history_of_a_confirmed_day_goes_and_its_past_is_refused(
    scenario: Scenario, restated: RegisteredAccount, compare: Compare, tmp_path: Path
) -> None:
    confirm(restated, compare, tmp_path)
    now = scenario.report(DAY, END)
    then = SETTLED + timedelta(minutes=1)
    assert scenario.report(DAY, END, as_of=then)["rows"]
    done = pruned(scenario.at(LATER), retention_history_days=KEPT_DAYS)["history"]
    assert done.days == {DAY, NEXT}
    assert scenario.count("usage_event_history") == scenario.count("reconciled_usage_history") == 0
    assert {**scenario.report(DAY, END), "now": None} == {**now, "now": None}
    with pytest.raises(UsagePipelineError) as refused:
        scenario.report(DAY, END, as_of=then)
    assert refused.value.code == "history_pruned"
    assert scenario.report(DAY, END, as_of=SETTLED + timedelta(hours=2))["rows"] != []


def test_telemetry_goes_by_age_except_the_newest(scenario: Scenario, restated: RegisteredAccount) -> None:
    totals = scenario.contents("ingestion_runs")["ingestion_totals"]
    done = pruned(scenario.at(LATER), retention_runs_days=KEPT_DAYS)["ingestion runs"]
    assert done.rows > 0
    left = scenario.select("SELECT feed_id, stage, count(*) AS n FROM ingestion_runs GROUP BY 1, 2")
    assert left
    assert {row["n"] for row in left} == {1}
    assert scenario.contents("ingestion_runs")["ingestion_totals"] == totals


def test_a_refused_key_stays_refused_when_its_refusal_is_old(scenario: Scenario, restated: RegisteredAccount) -> None:
    for hours, status in enumerate((401, 500, 500), start=2):
        restated.account.refuse("completions", status)
        with pytest.raises(UsagePipelineError):
            scenario.at(SETTLED + timedelta(hours=hours)).pull(restated, DAY, END)

    def refused() -> list[tuple[str, str]]:
        with scenario.runtime.engine.connect() as connection:
            return [(one.slug, one.code) for one in refused_keys(connection, ["credential_refused"])]

    before = refused()
    assert before == [(restated.slug, "credential_refused")]
    assert pruned(scenario.at(LATER), retention_runs_days=KEPT_DAYS)["ingestion runs"].rows > 0
    assert refused() == before
    restated.account.refusals.clear()
    scenario.at(LATER + timedelta(hours=1)).pull(restated, DAY, END)
    restated.account.refuse("completions", 500)
    with pytest.raises(UsagePipelineError):
        scenario.at(LATER + timedelta(hours=2)).pull(restated, DAY, END)
    pruned(scenario.at(LATER + timedelta(days=100)), retention_runs_days=KEPT_DAYS)
    assert refused() == []


def test_a_hermes_payload_goes_when_another_speaks_for_its_days(scenario: Scenario) -> None:
    feed = scenario.hermes()
    for hour in (1, 2):
        at = datetime(2026, 3, 3, hour, tzinfo=UTC)
        call = Call(utc(DAY, hour), output=hour)
        scenario.at(at).send(feed, v3_payload(at, [call], DAY, NEXT))
    scenario.settle(DAY)
    with pytest.raises(PayloadRefusedError) as refused, scenario.runtime.engine.begin() as connection:
        receive(connection, feed, b'{"schemaVersion": "no"}', scenario.clock())
    with scenario.runtime.engine.begin() as connection:
        keep_refusal(connection, feed, b'{"schemaVersion": "no"}', scenario.clock(), refused.value, None)
    kinds = pruned(scenario.at(LATER), retention_payloads_days=KEPT_DAYS)["Hermes payloads"]
    # The refused one goes; the superseded one has no provider's export behind its day; one speaks for the day.
    assert kinds.rows == 1
    assert kinds.held_back == {UNCONFIRMED: 1, STANDS: 1}
