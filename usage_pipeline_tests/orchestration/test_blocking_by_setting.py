"""Thresholds of checks are settings: which ones block, how late data may be, how much excess passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import dagster as dg
import pytest

from usage_pipeline.definitions import build_defs
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline.ledger.reconciled_checks import open_findings
from usage_pipeline.orchestration.checks import build_checks
from usage_pipeline.orchestration.resources import given
from usage_pipeline.settings import Settings
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, NOW, Pipeline, day

# As the package does when it is imported: partitioned checks are preview.
pytestmark = pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")

WARNING = ("data_is_fresh", "hermes_within_provider", "bill_matches_usage", "no_missing_windows")


def _blocking(settings: Settings) -> dict[dg.AssetCheckKey, bool]:
    return {
        key: check.get_spec_for_check_key(key).blocking for check in build_checks(settings) for key in check.check_keys
    }


@pytest.mark.parametrize("name", WARNING)
def test_each_check_that_warns_may_be_made_blocking_and_no_other_is_then(name: str) -> None:
    by_default = _blocking(Settings())
    found = _blocking(Settings.from_environment({"USAGE_BLOCKING_CHECKS": name}))
    assert {key.name for key in found if found[key] != by_default[key]} == {name}


@pytest.mark.parametrize("names", ["no_such_check", "bill_matches_usage,pull_is_complete"])
def test_a_name_that_no_warning_check_has_is_refused(names: str) -> None:
    with pytest.raises(InvalidInputError, match="USAGE_BLOCKING_CHECKS") as refused:
        build_checks(Settings.from_environment({"USAGE_BLOCKING_CHECKS": names}))
    assert refused.value.code == "setting_malformed"
    assert "bill_matches_usage" in str(refused.value)


def test_a_check_that_was_made_blocking_fails_its_day_and_the_run(pipeline: Pipeline) -> None:
    # Nothing was pulled: every day of the keys is missing, of which the check only warns by default.
    assert pipeline.process().success
    settings = replace(pipeline.runtime.settings, blocking_checks=("no_missing_windows",))
    strict = replace(pipeline, defs=build_defs(given(pipeline.runtime), settings))
    result = strict.process(assets=["reconciled_usage"])
    assert not result.success
    found = {
        one.partition: one.severity
        for one in result.get_asset_check_evaluations()
        if one.check_name == "no_missing_windows" and not one.passed
    }
    assert found[str(day(0))] is dg.AssetCheckSeverity.ERROR


def test_freshness_is_judged_by_its_own_setting(pipeline: Pipeline) -> None:
    assert pipeline.pull().success
    with pipeline.runtime.engine.begin() as connection:
        other = get_provider_key(connection, ANTHROPIC)
        disable_feed(connection, other.feed_id, other.slug, NOW - timedelta(days=20))
    assert pipeline.process(assets=["usage_events"]).success
    hours = 8 * 24 + NOW.hour  # so long ago ended the last day that was pulled
    for allowed, passed in ((hours - 24, False), (hours, True)):
        settings = replace(pipeline.runtime.settings, freshness_hours=allowed)
        runtime = replace(pipeline.runtime, settings=settings)
        result = replace(pipeline, runtime=runtime, defs=build_defs(given(runtime))).process(
            assets=["reconciled_usage"]
        )
        [verdict] = [one for one in result.get_asset_check_evaluations() if one.check_name == "data_is_fresh"]
        assert verdict.passed is passed


def test_an_excess_up_to_the_fraction_passes(pipeline: Pipeline) -> None:
    pipeline.execute(
        "INSERT INTO findings (identity, workspace_id, code, day, explanation, figure_provider, figure_hermes,"
        " difference, first_seen, changed_at) SELECT 'x', workspace_id, 'hermes_exceeds_provider', :day, 'x',"
        " 100, 105, 5, :now, :now FROM workspaces",
        day=day(0),
        now=NOW,
    )
    with pipeline.runtime.engine.connect() as connection:
        for fraction, offences in (("0", 1), ("0.049", 1), ("0.05", 0)):
            found = open_findings(connection, [day(0)], ["hermes_exceeds_provider"], fraction_above=Decimal(fraction))
            assert len(list(found)) == offences
