"""A broken total stops what comes after it, and a check about findings shows all that a person needs."""

from __future__ import annotations

import dagster as dg

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.orchestration.partitions import DAYS as DAY_PARTITIONS
from usage_pipeline.orchestration.summaries import offences_metadata
from usage_pipeline_tests.orchestration.conftest import DAY_ASSETS, DAYS, OPENAI, Pipeline, day

# What a broken program would do: every cell's counted output is stored one higher than it was decided.
_TAMPER = """
CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.counted_output := NEW.counted_output + 1; RETURN NEW; END $$;
CREATE TRIGGER tamper BEFORE INSERT OR UPDATE ON reconciled_usage FOR EACH ROW
WHEN (NEW.counted_output > 0) EXECUTE FUNCTION tamper();
"""


@dg.asset(deps=["reconciled_usage"], partitions_def=DAY_PARTITIONS)
def published() -> None:
    """Whatever would publish the totals."""


def test_a_stored_total_that_was_tampered_with_stops_publication(pipeline: Pipeline) -> None:
    assert pipeline.pull().success
    assert _made(_published(pipeline)) == {*DAY_ASSETS, "published"}
    pipeline.execute("DELETE FROM reconciled_usage")
    pipeline.execute("UPDATE reconciliations SET row_count = 0")
    pipeline.execute(_TAMPER)
    result = _published(pipeline)
    assert not result.success
    [conserved] = [one for one in result.get_asset_check_evaluations() if one.check_name == "totals_are_conserved"]
    assert (conserved.passed, conserved.severity, conserved.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert "output: counted" in conserved.metadata["offending"].records[0].data["what"]
    assert _made(result) == set(DAY_ASSETS)


def _published(pipeline: Pipeline) -> dg.ExecuteInProcessResult:
    """A run of one day up to what would publish it."""
    both = dg.Definitions.merge(pipeline.defs, dg.Definitions(assets=[published]))
    return both.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=pipeline.instance,
        asset_selection=[dg.AssetKey(name) for name in (*DAY_ASSETS, "published")],
        partition_key=str(day(0)),
        raise_on_error=False,
    )


def _made(result: dg.ExecuteInProcessResult) -> set[str]:
    return {one.asset_key.to_user_string() for one in result.get_asset_materialization_events() if one.asset_key}


def test_a_check_about_findings_shows_figures_cause_evidence_and_since_when(pipeline: Pipeline) -> None:
    assert pipeline.pull(OPENAI).success
    assert pipeline.process().success
    from usage_pipeline.orchestration.checks import DAY_CHECKS

    found: dict[str, Offence] = {}
    with pipeline.runtime.engine.connect() as connection:
        for spec in DAY_CHECKS:
            if spec.name in {"no_missing_windows", "hermes_within_provider", "bill_matches_usage"}:
                for offence in spec.look(pipeline.runtime, connection, DAYS.days):
                    found[spec.name] = offence
    missing = dict(found["no_missing_windows"].details)
    assert missing["code"] in {"window_missing", "provider_missing"}
    assert missing["evidence"] == "no attempt"
    assert missing["since"] == "2025-03-12T12:00Z"
    metadata = offences_metadata([found["no_missing_windows"]] * 21)
    records = metadata["offending"].records  # type: ignore[attr-defined]
    assert len(records) == 20
    assert set(records[0].data) == {"day", "where", "what", *missing}
    assert metadata["not_shown"].value == "and 1 more"


def test_a_finding_is_told_in_columns(pipeline: Pipeline) -> None:
    from usage_pipeline.ledger.reconciled_checks import open_findings

    pipeline.execute(
        "INSERT INTO findings (identity, code, workspace_id, day, provider, measure, figure_provider, figure_hermes,"
        " difference, explanation, evidence, first_seen, changed_at) SELECT 'x', 'hermes_exceeds_provider',"
        " workspace_id, :day, 'openai', 'output', 1000, 1100, 100, 'output: 100 more. Likely cause: a missing key.',"
        """ '[{"kind": "pull", "raw_pages": ["12/0"]}, {"kind": "batch", "batch_id": 3}]',"""
        " '2025-03-12T12:00:00Z', '2025-03-12T12:00:00Z' FROM workspaces",
        day=day(0),
    )
    with pipeline.runtime.engine.connect() as connection:
        [one] = open_findings(connection, [day(0)], ["hermes_exceeds_provider"])
    assert one.what == "hermes_exceeds_provider: output: 100 more."
    assert dict(one.details) == {
        "code": "hermes_exceeds_provider",
        "provider": "1,000",
        "Hermes": "1,100",
        "difference": "100",
        "likely cause": "a missing key.",
        "evidence": "raw page 12/0, batch 3",
        "since": "2025-03-12T12:00Z",
    }
