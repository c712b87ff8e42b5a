"""Exports of Anthropic's Console (names in place of ids, titles in place of models) and of OpenRouter."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline.parity.dashboard_csv import open_csv
from usage_pipeline.parity.export_rows import FamilyExport
from usage_pipeline.parity.file_reading import ReadingRules
from usage_pipeline.parity.registry import Stated, recognise
from usage_pipeline_tests.parity.conftest import DAY, NEXT, Compare
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.scenario import Scenario, utc

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "anthropic"
TOKENS, COSTS = FIXTURES / "claude_api_tokens_2026_03.csv", FIXTURES / "claude_api_cost_2026_03.csv"
NAMES = (
    Named("api_key_id", "apikey_1", "laptop"),
    Named("api_key_id", "apikey_2", "server"),
    Named("project_id", "wrkspc_r", "Research"),
)


@pytest.fixture
def console(scenario: Scenario) -> Scenario:
    """The account of the fixtures, pulled, with its names."""
    key = scenario.register("anthropic")
    key.account.uses += [
        Use(
            utc(DAY, 4), "claude-haiku-4-5-20251001", uncached_input=1000, cache_read=300, cache_write_5m=20,
            cache_write_1h=10, output=50, api_key="apikey_1",
        ),
        Use(
            utc(NEXT, 5), "claude-sonnet-4-5-20250929", uncached_input=2000, output=70, project="wrkspc_r",
            api_key="apikey_2",
        ),
    ]  # fmt: skip
    key.account.bills += [
        Bill(DAY, Decimal("0.0312"), "Haiku, output", "claude-haiku-4-5-20251001", "output_tokens"),
        Bill(
            NEXT, Decimal("1.6688"), "Sonnet, input", "claude-sonnet-4-5", "uncached_input_tokens", project="wrkspc_r"
        ),
    ]
    scenario.pull(key, DAY, NEXT + timedelta(days=1))
    scenario.settle(DAY, NEXT)
    with scenario.runtime.engine.begin() as connection:
        store_names(connection, "anthropic", key.key.account, NAMES, scenario.clock())
    return scenario


def test_a_tokens_export_is_equal_by_the_names_of_keys_and_workspaces(console: Scenario, compare: Compare) -> None:
    [told] = compare(TOKENS)["reports"]
    assert told["verdict"] == "equal"
    assert {"model", "project_id", "api_key_id", "service_tier", "context_window"} <= set(told["dimensions"])
    assert told["totals"]["cache_write_5m"] == {"here": 20, "there": 20, "difference": 0}
    assert console.count("parity_days") == 2


def test_a_dimension_whose_names_are_unknown_is_left_out_and_said(console: Scenario, compare: Compare) -> None:
    with console.runtime.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM dimension_names WHERE id = 'apikey_2'")
    [told] = compare(TOKENS)["reports"]
    assert told["verdict"] == "equal"
    [left_out] = [one for one in told["left_out"] if one["name"] == "api_key_id"]
    assert "the store has none of 1 ids" in left_out["why"]


@pytest.mark.usefixtures("console")
def test_a_cost_export_rounds_to_cents_and_is_equal_within_them(compare: Compare) -> None:
    assert compare(COSTS)["verdict"] == "different"
    report = compare(COSTS, tolerance_usd=Decimal("0.005"))
    [told] = report["reports"]
    assert report["verdict"] == "equal"
    assert told["rows"]["within_tolerance"] == 2
    assert {"model", "project_id", "token_type", "context_window"} <= set(told["dimensions"])


@pytest.mark.usefixtures("console")
def test_a_row_that_the_export_lacks_is_told_on_the_days_between_its_rows(compare: Compare, tmp_path: Path) -> None:
    header, _, last = TOKENS.read_text(encoding="utf-8").splitlines()
    first = last.replace("2026-03-03", "2026-03-01").replace(",2000,", ",0,").replace(",70,", ",0,")
    path = tmp_path / "claude_api_tokens_2026_03.csv"
    path.write_text("\n".join([header, first, last]), encoding="utf-8")
    [told] = compare(path)["reports"]
    assert [(found["words"], found["status"]) for found in told["differences"]] == [("2026-03-02", "missing_there")]
    assert [one["words"] for one in told["windows"]["not_covered"]] == ["2026-03-01"]


def test_a_zone_that_contradicts_the_column_is_refused(compare: Compare) -> None:
    from zoneinfo import ZoneInfo

    with pytest.raises(UsagePipelineError, match=r"\[timezone_contradicted\].*usage_date_utc"):
        compare(TOKENS, rules=ReadingRules(ZoneInfo("Europe/Berlin")))


def test_an_openrouter_file_holds_both_kinds_and_must_be_told_which(tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    path.write_text(
        "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens\n"
        '"2026-05-12 00:00:00","anthropic/claude-opus-4.7","430.07","0","4115","70965665","3009973","0"\n',
        encoding="utf-8",
    )
    file = open_csv(path)
    with pytest.raises(UsagePipelineError, match=r"\[kind_unknown\].*--kind: cost, usage"):
        recognise(file, Stated())
    for kind, expected in (
        ("usage", {"input": 70965665, "output": 3009973, "reasoning": 0, "requests": 4115}),
        ("cost", {"amount_usd": Decimal("430.07")}),
    ):
        export = FamilyExport(recognise(file, Stated(kind=kind)), ReadingRules())  # type: ignore[arg-type]
        export.add(file)
        [values] = export.sums.values()
        assert export.measures_of(export.figures(values)) == expected
