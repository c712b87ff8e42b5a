"""The exports as Dagster's assets by month, on three days of March 2026."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from usage_pipeline.orchestration.exports import EXPORTS
from usage_pipeline.orchestration.resources import RESOURCE_KEY, given
from usage_pipeline.settings import Settings
from usage_pipeline_tests.exports.conftest import D
from usage_pipeline_tests.scripted.scenario import Scenario


def test_a_month_s_exports_are_files_that_say_what_they_sum_to(odd_world: Scenario, tmp_path: Path) -> None:
    runtime = replace(odd_world.runtime, settings=Settings(export_dir=str(tmp_path / "out")))
    result = dg.materialize(list(EXPORTS), partition_key="2026-03-01", resources={RESOURCE_KEY: given(runtime)})
    assert result.success
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "out/focus_export/usage-focus-1.2-2026-03-01-2026-03-31.csv",
        "out/focus_export/usage-focus-1.4-2026-03-01-2026-03-31.csv",
        "out/usage_events_export/usage-events-2026-03-01-2026-03-31.parquet",
        "out/usage_summary_export/usage-summary-2026-03-01-2026-03-31.csv",
    ]
    report = odd_world.report(D, D + timedelta(days=3))
    for asset in EXPORTS:
        told = metadata(result, asset.key)
        assert told["counted_usd"] == report["totals"]["cost"]["counted"]["usd"]
        assert (told["provisional"], told["provisional_days"]) == ("2026-03-12", 1)
        assert Path(told["path"]).stat().st_size <= told["bytes"]
        assert "| output |" in told["summary"]
    told = metadata(result, dg.AssetKey("usage_events_export"))
    assert pq.ParquetFile(told["path"]).metadata.num_rows == told["dagster/partition_row_count"]


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    [event] = [one for one in result.get_asset_materialization_events() if one.asset_key == key]
    return {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}
