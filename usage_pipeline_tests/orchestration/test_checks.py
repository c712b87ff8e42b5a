"""Every check on a day that is right, and on one that was broken behind the pipeline's back."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from usage_pipeline_tests.orchestration.conftest import DAYS, OPENAI, Pipeline, day

_ONE_EVENT = (
    "(slice_id, event_id) IN (SELECT slice_id, event_id FROM usage_events JOIN slices USING (slice_id)"
    " JOIN feeds USING (feed_id) WHERE day = :day AND source = 'provider_api_key' ORDER BY 1, 2 LIMIT 1)"
)
_ONE_CELL = (
    "(reconciliation_id, cell_id) IN (SELECT reconciliation_id, cell_id FROM reconciled_usage"
    " JOIN reconciliations USING (reconciliation_id) WHERE day = :day AND reported_by_provider_output > 0"
    " ORDER BY 1, 2 LIMIT 1)"
)

BREAKS: dict[tuple[str, str], str] = {
    ("usage_events", "events_match_schema"): f"UPDATE usage_events SET output = -1 WHERE {_ONE_EVENT}",
    ("usage_events", "no_duplicate_events"): "INSERT INTO usage_events SELECT (jsonb_populate_record(e,"
    " jsonb_build_object('event_id', gen_random_uuid()))).* FROM usage_events AS e"
    f" WHERE {_ONE_EVENT.replace('(slice_id, event_id) IN', '(e.slice_id, e.event_id) IN')}",
    ("usage_events", "token_classes_add_up"): f"UPDATE usage_events SET reasoning = output + 1 WHERE {_ONE_EVENT}",
    ("usage_events", "every_row_has_a_source"): f"UPDATE usage_events SET source_id = 999999 WHERE {_ONE_EVENT}",
    ("billed_costs", "every_row_has_a_source"): "DELETE FROM billed_costs WHERE (slice_id, line_id) IN (SELECT"
    " slice_id, line_id FROM billed_costs JOIN slices USING (slice_id) WHERE day = :day ORDER BY 1, 2 LIMIT 1)",
}


def _verdict(result: dg.ExecuteInProcessResult, asset: str, check: str) -> dict[str | None, dg.AssetCheckEvaluation]:
    return {
        one.partition: one
        for one in result.get_asset_check_evaluations()
        if (one.asset_key.to_user_string(), one.check_name) == (asset, check)
    }


def test_every_check_passes_on_right_data(pipeline: Pipeline) -> None:
    pulled = pipeline.pull()
    pipeline.whole()
    result = pipeline.process()
    evaluations = [*pulled.get_asset_check_evaluations(), *result.get_asset_check_evaluations()]
    blocking = [one for one in evaluations if one.blocking]
    assert {one.check_name for one in blocking} == {
        "pull_is_complete",
        "dimensions_were_answered",
        "events_match_schema",
        "no_duplicate_events",
        "token_classes_add_up",
        "every_row_has_a_source",
        "nothing_counted_twice",
        "totals_are_conserved",
    }
    assert [one for one in blocking if not one.passed] == []


@pytest.mark.parametrize(("asset", "check"), list(BREAKS))
def test_a_broken_day_is_found_by_its_check_and_no_other_day(pipeline: Pipeline, asset: str, check: str) -> None:
    pipeline.whole()
    assert pipeline.execute(BREAKS[asset, check], day=day(1)) == 1
    found = _verdict(pipeline.process(assets=[asset]), asset, check)
    assert {str(one): found[str(one)].passed for one in DAYS.days} == {
        str(day(0)): True,
        str(day(1)): False,
        str(day(2)): True,
    }
    [offence, *_] = found[str(day(1))].metadata["offending"].records
    assert offence.data["day"] == str(day(1))
    assert "acme." in offence.data["where"]
    assert found[None].severity is dg.AssetCheckSeverity.ERROR


_CELLS_BROKEN = {
    "shares": f"UPDATE reconciled_usage SET unattributed_output = unattributed_output + 1 WHERE {_ONE_CELL}",
    "provider_totals": "UPDATE reconciled_usage SET reported_by_provider_output = reported_by_provider_output + 1,"
    " counted_output = counted_output + 1, unattributed_output = unattributed_output + 1"
    f" WHERE {_ONE_CELL}",
    "hermes_totals": "UPDATE reconciled_usage SET excess_output = coalesce(excess_output, 0) + 1 WHERE"
    f" {_ONE_CELL.replace('reported_by_provider_output > 0', 'explained_output > 0')}",
}


@pytest.mark.parametrize("broken", list(_CELLS_BROKEN))
def test_a_total_that_does_not_add_up_is_found(pipeline: Pipeline, broken: str) -> None:
    pipeline.whole()
    assert pipeline.execute(_CELLS_BROKEN[broken], day=day(1)) == 1
    assert _offences(pipeline, "totals_are_conserved") == {day(1)}


def test_a_cell_that_is_there_twice_is_found(pipeline: Pipeline) -> None:
    pipeline.whole()
    pipeline.execute(
        "INSERT INTO reconciled_usage SELECT (jsonb_populate_record(r, jsonb_build_object('cell_id',"
        f" gen_random_uuid()))).* FROM reconciled_usage AS r WHERE {_ONE_CELL}",
        day=day(1),
    )
    assert _offences(pipeline, "nothing_counted_twice") == {day(1)}


def test_a_hermes_row_counted_beyond_its_figures_is_found(pipeline: Pipeline) -> None:
    pipeline.whole()
    pipeline.execute(
        "UPDATE reconciled_shares SET output = output + 1000000 WHERE (reconciliation_id, share_id) IN (SELECT"
        " reconciliation_id, share_id FROM reconciled_shares JOIN reconciliations USING (reconciliation_id)"
        " WHERE day = :day ORDER BY 1, 2 LIMIT 1)",
        day=day(1),
    )
    assert _offences(pipeline, "nothing_counted_twice") == {day(1)}


def test_a_row_that_nothing_stands_behind_is_found(pipeline: Pipeline) -> None:
    pipeline.whole()
    nothing = "INSERT INTO reconciled_usage (reconciliation_id, cell_id, recorded_at, provider, route, family, model,"
    pipeline.execute(
        f"{nothing} decision, provisional, policy, rules_version, alias_version, lower_bound) SELECT reconciliation_id,"
        " gen_random_uuid(), now(), 'openai', 'account', 'text', 'made-up', 'provider', false, 'provider_first', '1',"
        " '1', '{}' FROM reconciliations WHERE day = :day",
        day=day(1),
    )
    assert _offences(pipeline, "every_row_has_a_source") == {day(1)}


def _offences(pipeline: Pipeline, name: str) -> set[Any]:
    """The days that the check of reconciled usage finds, without reconciling them anew first."""
    from usage_pipeline.orchestration.checks import DAY_CHECKS

    [spec] = [one for one in DAY_CHECKS if (one.asset, one.name) == (dg.AssetKey("reconciled_usage"), name)]
    with pipeline.runtime.engine.connect() as connection:
        return {offence.day for offence in spec.look(pipeline.runtime, connection, DAYS.days)}


def test_a_lost_raw_page_is_found(pipeline: Pipeline) -> None:
    assert pipeline.pull().success
    pipeline.execute("DELETE FROM raw_pages")
    found = _verdict(pipeline.pull(), "raw_provider_pulls", "pull_is_complete")
    assert not found[f"{day(0)}|{OPENAI}"].passed


def test_an_unanswered_model_blocks_and_another_dimension_only_where_it_was_there_before(pipeline: Pipeline) -> None:
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.pull_checks import unanswered_dimensions

    assert pipeline.pull().success

    def found(drift: str) -> list[tuple[str, bool]]:
        assert pipeline.pull().success
        pipeline.execute(
            "UPDATE pulls SET drift = CAST(:drift AS jsonb), rows_read = 500 WHERE pull_id = (SELECT max(pull_id)"
            " FROM pulls WHERE endpoint = 'completions')",
            drift=f'{{"unanswered_dimensions": ["{drift}"]}}',
        )
        with pipeline.runtime.engine.connect() as connection:
            key = get_provider_key(connection, OPENAI)
            offences = list(unanswered_dimensions(connection, key, ["completions"], [day(0)]))
        return [(offence.what.split(" ")[0], offence.grave) for offence in offences]

    # The clock stands still, so the first pull is made an earlier one.
    pipeline.execute("UPDATE pulls SET started_at = started_at - interval '1 hour'")
    assert found("model") == [("model", True)]
    assert found("user_id") == [("user_id", False)]
    assert found("api_source") == []


def test_data_is_fresh_warns_of_a_key_that_was_not_pulled(pipeline: Pipeline) -> None:
    pipeline.whole()
    [verdict] = _verdict(pipeline.process(), "reconciled_usage", "data_is_fresh").values()
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.WARN
    assert {record.data["where"] for record in verdict.metadata["offending"].records} == {
        "acme.openai.main",
        "acme.anthropic.main",
    }


def test_a_warning_lets_the_run_pass(pipeline: Pipeline) -> None:
    assert pipeline.process().success
    result = pipeline.process()
    assert result.success
    found = _verdict(result, "reconciled_usage", "no_missing_windows")
    assert not found[str(day(0))].passed
    assert found[str(day(0))].severity is dg.AssetCheckSeverity.WARN
