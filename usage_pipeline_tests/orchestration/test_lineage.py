"""Column schemas and lineage, against the tables and against the rows of a real run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg
import pytest

from usage_pipeline.definitions import STAGES, build_defs
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, RECONCILED_MEASURES
from usage_pipeline.orchestration.lineage import (
    BILLED_COSTS_LINEAGE,
    RECONCILED_USAGE_LINEAGE,
    USAGE_EVENTS_LINEAGE,
    Source,
)
from usage_pipeline_tests.orchestration.conftest import Pipeline

_LINEAGE = {
    "usage_events": USAGE_EVENTS_LINEAGE,
    "billed_costs": BILLED_COSTS_LINEAGE,
    "reconciled_usage": RECONCILED_USAGE_LINEAGE,
}
_TYPES = {"timestamp with time zone": "timestamptz", "ARRAY": "text[]"}


def _columns(asset: str) -> dict[str, dg.TableColumn]:
    node = build_defs().resolve_asset_graph().get(dg.AssetKey(asset))
    return {one.name: one for one in node.metadata["dagster/column_schema"].columns}


@pytest.mark.parametrize("asset", _LINEAGE)
def test_lineage_goes_from_columns_that_exist_to_columns_that_exist_along_the_graph(asset: str) -> None:
    node = build_defs().resolve_asset_graph().get(dg.AssetKey(asset))
    parents = {parent.to_user_string(): _columns(parent.to_user_string()) for parent in node.parent_keys}
    assert set(_LINEAGE[asset]) <= set(_columns(asset))
    for sources in _LINEAGE[asset].values():
        assert sources
        for parent, column in sources:
            assert column in parents[parent]
    told = node.metadata["dagster/column_lineage"].deps_by_column
    assert set(told) == set(_LINEAGE[asset])


def test_every_measure_has_a_lineage() -> None:
    assert {*EVENT_MEASURES, *EVENT_DIMENSIONS} <= set(USAGE_EVENTS_LINEAGE)
    for name in RECONCILED_MEASURES:
        assert RECONCILED_USAGE_LINEAGE[f"counted_{name}"] == (("usage_events", name),)


def test_a_column_says_what_it_is_made_from_since_the_ui_draws_no_lineage_of_columns() -> None:
    described = _columns("reconciled_usage")["cost_billed_usd"].description
    assert described is not None
    assert described.endswith("Made from billed_costs: amount_usd.")


def test_the_columns_and_types_are_those_of_the_tables(pipeline: Pipeline) -> None:
    graph = pipeline.defs.resolve_asset_graph()
    for metadata in (graph.get(stage.key).metadata for stage in STAGES):
        stored = pipeline.scalar(
            "SELECT jsonb_object_agg(column_name, data_type) FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = :table",
            table=metadata["dagster/table_name"],
        )
        shown = {one.name: one.type for one in metadata["dagster/column_schema"].columns}
        assert shown == {name: _TYPES.get(kind, kind) for name, kind in stored.items()}


def test_no_row_has_what_its_source_is_said_not_to_tell(pipeline: Pipeline) -> None:
    pipeline.whole()
    for kind, source in (("hermes", "raw_provider_pulls"), ("provider", "hermes_rollups")):
        untold = _only_from(USAGE_EVENTS_LINEAGE, source)
        assert untold
        rows = "FROM usage_events JOIN slices USING (slice_id) WHERE observed_batch_id IS "
        rows += "NOT NULL" if kind == "hermes" else "NULL"
        assert pipeline.scalar(f"SELECT count(*) {rows}") > 0
        assert pipeline.scalar(f"SELECT coalesce(max(num_nonnulls({', '.join(untold)})), 0) {rows}") == 0


def _only_from(lineage: Mapping[str, Iterable[Source]], asset: str) -> list[str]:
    return [column for column, sources in lineage.items() if {one for one, _ in sources} == {asset}]
