"""From a scripted account through pull, normalise and reconcile to a comparison with an export of the same account."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.parity_checks import days_confirmed_equal
from usage_pipeline.parity.file_reading import ReadingRules
from usage_pipeline_tests.parity.conftest import DAY, NEXT, Compare, use_two_days
from usage_pipeline_tests.parity.exported import (
    COST_COLUMNS,
    EMPTY_COLUMNS,
    USAGE_COLUMNS,
    cost_rows,
    moved,
    times,
    usage_rows,
    write,
)
from usage_pipeline_tests.scripted.account import ScriptedAccount, Use
from usage_pipeline_tests.scripted.scenario import Scenario, utc

END = NEXT + timedelta(days=1)
MINUTE, HOUR, A_DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def export(folder: Path, account: ScriptedAccount, width: timedelta = MINUTE, **rows: Any) -> Path:
    """The completions export of the two days."""
    written = rows.get("rows") or usage_rows(account.uses, utc(DAY), utc(END), width)
    return write(folder / "completions_usage_2026-03-02_2026-03-04.csv", USAGE_COLUMNS, written)


def only(report: dict[str, Any]) -> dict[str, Any]:
    """The one report of a comparison."""
    assert len(report["reports"]) == 1
    found: dict[str, Any] = report["reports"][0]
    return found


@pytest.mark.parametrize("width", [MINUTE, HOUR, A_DAY])
def test_an_export_of_what_was_pulled_is_equal_in_every_grain(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path, width: timedelta
) -> None:
    report = compare(export(tmp_path, pulled, width))
    told = only(report)
    assert (report["verdict"], report["account"], report["kind"]) == ("equal", "org-acme", "usage")
    assert told["dimensions"] == ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"]
    assert told["measures"] == ["requests", "output", "cache_read", "uncached_input", "cache_write"]
    assert told["totals"]["uncached_input"] == {"here": 5098, "there": 5098, "difference": 0}
    assert told["totals"]["cache_write"] == {"here": 100, "there": 100, "difference": 0}
    assert told["windows"]["compared"] == (2 if width == A_DAY else 48)
    assert told["rows"] == {
        "equal": 5, "within_tolerance": 0, "mismatched": 0, "missing_here": 0, "missing_there": 0
    }  # fmt: skip
    assert told["left_out"] == []


def test_one_token_off_is_told_with_its_window_and_dimensions(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    rows = usage_rows(pulled.uses, utc(DAY), utc(END), HOUR)
    number = next(place for place, row in enumerate(rows) if row.get("project_id") == "proj_b")
    report = compare(export(tmp_path, pulled, rows=moved(rows, number, "output_tokens", Decimal(1))))
    assert report["verdict"] == "different"
    [found] = only(report)["differences"]
    assert found["words"] == "2026-03-02T09:00Z to 2026-03-02T10:00Z"
    assert (found["status"], found["reason"]) == ("mismatched", "figures differ")
    assert found["dimensions"]["project_id"] == "proj_b"
    assert found["measures"] == {"output": {"here": 59, "there": 60, "difference": 1}}


def test_a_row_that_only_one_side_has_is_missing_on_the_other(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    uses = [*pulled.uses[1:], Use(utc(NEXT, 5), "gpt-5-2025-08-07", output=8, requests=1, project="proj_new")]
    told = only(compare(export(tmp_path, pulled, rows=usage_rows(uses, utc(DAY), utc(END), HOUR))))
    by_status = {found["status"]: found for found in told["differences"]}
    assert set(by_status) == {"missing_there", "missing_here"}
    assert by_status["missing_there"]["measures"]["output"] == {"here": 50, "there": 0, "difference": -50}
    assert by_status["missing_here"]["reason"] == "pulled, but there is no such row"
    assert by_status["missing_here"]["dimensions"]["project_id"] == "proj_new"


def test_a_day_that_was_not_pulled_is_another_reason_than_a_row_that_is_not_there(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    key = scenario.register()
    use_two_days(key.account)
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    report = compare(export(tmp_path, key.account, A_DAY))
    told = only(report)
    assert report["verdict"] == "different"
    assert {(found["status"], found["reason"]) for found in told["differences"]} == {("missing_here", "not pulled")}
    assert [(one["words"], one["why"]) for one in told["windows"]["not_covered"]] == [("2026-03-03", "not pulled")]
    days = scenario.select("SELECT day, outcome FROM parity_days ORDER BY day")
    assert [(one["day"], one["outcome"]) for one in days] == [(DAY, "equal"), (NEXT, "different")]


def test_a_day_without_usage_that_nobody_pulled_is_not_equal(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    rows = usage_rows(pulled.uses, utc(DAY), utc(END + A_DAY), A_DAY)
    report = compare(export(tmp_path, pulled, rows=rows))
    assert report["verdict"] == "different"
    assert only(report)["differences"] == []
    assert [one["words"] for one in only(report)["windows"]["not_covered"]] == ["2026-03-04"]


def test_an_open_day_is_compared_as_far_as_its_pull_reached(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    key = scenario.at(utc(DAY, 12, 30)).register()
    use_two_days(key.account)
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    rows = usage_rows(key.account.uses[:3], utc(DAY), utc(DAY, 12), HOUR)
    report = compare(export(tmp_path, key.account, rows=rows))
    assert report["verdict"] == "equal"
    assert only(report)["windows"]["provisional"] == 12
    rows = usage_rows(key.account.uses[:3], utc(DAY), utc(DAY, 14), HOUR)
    report = compare(export(tmp_path, key.account, rows=rows))
    assert [(one["from"], one["why"]) for one in only(report)["windows"]["not_covered"]] == [
        ("2026-03-02T12:00:00Z", "provisional: pulled at 2026-03-02T12:30Z, before its end"),
        ("2026-03-02T13:00:00Z", "provisional: pulled at 2026-03-02T12:30Z, before its end"),
    ]
    assert {one["outcome"] for one in scenario.select("SELECT outcome FROM parity_days")} == {"partial", "not_covered"}


def test_shadowed_rows_are_not_counted_twice(scenario: Scenario, compare: Compare, tmp_path: Path) -> None:
    first, second = scenario.register(), scenario.register(name="second", projects=["proj_a"])
    standard = scenario.register(name="standard", mode="standard")
    for key in (first, second, standard):
        use_two_days(key.account)
        scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    assert scenario.select("SELECT sum(output) AS output FROM usage_events")[0]["output"] > 348
    report = compare(export(tmp_path, first.account, HOUR))
    assert report["verdict"] == "equal"
    assert only(report)["totals"]["output"]["here"] == 348


def test_workspaces_that_share_an_account_are_compared_together(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    for workspace, project in (("acme", "proj_a"), ("beta", "proj_b")):
        key = scenario.register(workspace=workspace, projects=[project])
        use_two_days(key.account)
        scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    path = export(tmp_path, key.account, HOUR)
    report = compare(path)
    assert (report["verdict"], report["workspaces"]) == ("equal", ["acme", "beta"])
    told = only(compare(path, workspace="acme"))
    assert {found["reason"] for found in told["differences"]} == {"out of scope: no key answers for this project"}


def test_local_days_are_compared_hour_by_hour_also_when_clocks_change(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    zone = ZoneInfo("America/New_York")
    days = [date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9)]  # clocks go forward on the 8th: it has 23 hours
    midnights = [datetime(one.year, one.month, one.day, tzinfo=zone).astimezone(UTC) for one in days]
    key = scenario.register()
    for start in midnights[:2]:
        key.account.uses += [
            Use(start, "gpt-5", output=7, requests=1, project="p"),
            Use(start + timedelta(hours=22, minutes=59), "gpt-5", output=11, requests=1, project="p"),
        ]
    scenario.pull(key, days[0], date(2026, 3, 10))
    scenario.settle(*days)
    header = ("start_time_iso", "end_time_iso", *USAGE_COLUMNS[4:])
    rows = [
        {
            "start_time_iso": f"{day} 00:00:00", "end_time_iso": f"{day + A_DAY} 00:00:00", "project_id": "p",
            "model": "gpt-5", "num_model_requests": 2, "input_tokens": 0, "output_tokens": 18,
            "input_cached_tokens": 0, "input_uncached_tokens": 0,
        }
        for day in days[:2]
    ]  # fmt: skip
    path = write(tmp_path / "completions_usage_local.csv", header, rows)
    told = only(compare(path, rules=ReadingRules(zone)))
    assert told["verdict"] == "equal"
    assert told["range"]["words"] == "2026-03-07T05:00Z to 2026-03-09T04:00Z"
    assert compare(path)["verdict"] == "different"  # read as UTC days, the late hours fall into the next day
    with pytest.raises(UsagePipelineError, match=r"\[windows_cross\].*whole UTC hours"):
        compare(path, rules=ReadingRules(ZoneInfo("Asia/Kolkata")))


def test_local_days_cannot_be_compared_with_a_store_in_utc_days(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    key = scenario.register(grain="1d")
    use_two_days(key.account)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    shift = timedelta(hours=5)
    rows = usage_rows([], utc(DAY) + shift, utc(NEXT) + shift, A_DAY)
    with pytest.raises(UsagePipelineError, match=r"\[windows_cross\].*UTC days"):
        compare(export(tmp_path, key.account, rows=rows))
    assert compare(export(tmp_path, key.account, MINUTE))["verdict"] == "equal"
    assert only(compare(export(tmp_path, key.account, MINUTE)))["windows"]["compared"] == 2


def test_a_bill_is_compared_line_by_line_to_the_last_decimal(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    rows = cost_rows(pulled.bills)
    report = compare(write(tmp_path / "cost_2026-03-02_2026-03-04.csv", COST_COLUMNS, rows))
    told = only(report)
    assert (report["verdict"], report["kind"]) == ("equal", "cost")
    assert told["dimensions"] == ["project_id", "label", "api_key_id"]
    assert told["totals"] == {
        "amount_usd": {
            "here": "98.61728394506172839450617283945",
            "there": "98.61728394506172839450617283945",
            "difference": "0",
        }
    }


def test_a_cent_off_is_different_unless_it_is_tolerated(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    rows = moved(cost_rows(pulled.bills), 1, "amount_value", Decimal("0.01"))
    path = write(tmp_path / "cost_2026-03-02_2026-03-04.csv", COST_COLUMNS, rows)
    report = compare(path)
    assert report["verdict"] == "different"
    [found] = only(report)["differences"]
    assert Decimal(found["measures"]["amount_usd"]["difference"]) == Decimal("0.01")
    tolerated = compare(path, tolerance_usd=Decimal("0.01"))
    assert (tolerated["verdict"], only(tolerated)["rows"]["within_tolerance"]) == ("equal", 1)


def test_amounts_in_another_currency_or_unit_are_refused(
    pulled: ScriptedAccount, compare: Compare, tmp_path: Path
) -> None:
    euros = write(tmp_path / "cost_eur.csv", COST_COLUMNS, cost_rows(pulled.bills, amount_currency="eur"))
    with pytest.raises(UsagePipelineError, match=r"\[line_malformed\] cost_eur.csv line 3: the column amount_currency"):
        compare(euros)
    nameless = [name for name in COST_COLUMNS if name != "amount_currency"]
    path = write(tmp_path / "cost_unit.csv", nameless, cost_rows(pulled.bills))
    with pytest.raises(UsagePipelineError, match=r"\[unit_unknown\].*--currency-unit"):
        compare(path)
    assert compare(path, rules=ReadingRules(currency_unit="usd"))["verdict"] == "equal"
    assert compare(path, rules=ReadingRules(currency_unit="cents"))["verdict"] == "different"


def test_an_empty_export_is_zero_in_all_its_windows(pulled: ScriptedAccount, compare: Compare, tmp_path: Path) -> None:
    rows = [times(utc(DAY), A_DAY), times(utc(NEXT), A_DAY)]
    embeddings = write(tmp_path / "embeddings_usage_2026-03-02.csv", EMPTY_COLUMNS, rows)
    told = only(compare(embeddings))
    assert (told["family"], told["verdict"], told["windows"]["compared"]) == ("embeddings", "equal", 2)
    completions = write(tmp_path / "completions_usage_2026-03-02.csv", EMPTY_COLUMNS, rows)
    told = only(compare(completions))
    assert {found["status"] for found in told["differences"]} == {"missing_there"}
    both = compare(export(tmp_path, pulled), embeddings)
    assert [(one["family"], one["verdict"]) for one in both["reports"]] == [("embeddings", "equal"), ("text", "equal")]


def test_a_confirmed_day_is_remembered_until_it_is_restated(
    scenario: Scenario, compare: Compare, tmp_path: Path
) -> None:
    key = scenario.register()
    use_two_days(key.account)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    compare(export(tmp_path, key.account, HOUR))

    def confirmed() -> tuple[date, ...]:
        with scenario.runtime.engine.begin() as connection:
            return days_confirmed_equal(connection, key.key.feed_id, "completions", DAY, END)

    assert confirmed() == (DAY, NEXT)
    key.account.uses[-1] = Use(utc(NEXT, 3), "gpt-5", output=1, requests=1)
    scenario.at(scenario.clock.now + HOUR).pull(key, NEXT)
    scenario.settle(NEXT)
    assert confirmed() == (DAY,)


def test_a_comparison_that_fails_writes_nothing(scenario: Scenario, compare: Compare, tmp_path: Path) -> None:
    key = scenario.register()
    use_two_days(key.account)
    with pytest.raises(UsagePipelineError, match=r"\[nothing_pulled\].*backfill"):
        compare(export(tmp_path, key.account))
    with pytest.raises(UsagePipelineError, match=r"\[no_key\]"):
        compare(export(tmp_path, key.account), account="org-other")
    assert scenario.count("parity_checks") == 0


def test_an_export_of_another_account_is_refused(pulled: ScriptedAccount, compare: Compare, tmp_path: Path) -> None:
    rows = cost_rows(pulled.bills, organization_id="org-other")
    with pytest.raises(UsagePipelineError, match=r"\[account_contradicted\].*org-other"):
        compare(write(tmp_path / "cost.csv", COST_COLUMNS, rows))
