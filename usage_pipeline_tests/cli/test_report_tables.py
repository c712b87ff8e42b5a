"""The report as tables: tokens summed, what nobody reports a dash, names as they are."""

from __future__ import annotations

from typing import Any

import pytest

from usage_pipeline.cli.report_tables import GROUPS, print_report


def measures(uncached: int | None, output: int | None, **other: int) -> dict[str, Any]:
    return {
        "tokens": {"uncached_input": uncached, "output": output},
        "reasoning": None,
        "requests": None,
        "other": other,
    }


def report() -> dict[str, Any]:
    nothing = measures(None, None)
    groups: dict[str, Any] = {group: nothing for group, _ in GROUPS}
    groups |= {"counted": measures(1000, 234, images=3), "explained": measures(0, 0)}
    cost = {"counted": {"nano_usd": 1500000000, "usd": "1.50", "basis": "billed"}}
    row = {
        "date": "2026-10-01",
        "workspace": "acme",
        "provider": "openai",
        "route": "account",
        "family": "text",
        "model": "[bold]gpt-5",
        "decision": "provider",
        "provisional": True,
        "findings": ["hermes_exceeds_provider"],
        "cost": cost,
        **groups,
    }
    found = {
        "date": "2026-10-01",
        "code": "hermes_exceeds_provider",
        "provider": "openai",
        "model": "gpt-5",
        "endpoint": None,
        "measure": "output",
        "difference": "100",
        "explanation": "output: too much.",
    }
    return {
        "from": "2026-10-01",
        "to": "2026-10-01",
        "rows": [row],
        "totals": {**groups, "cost": cost},
        "findings": [found, {**found, "measure": "cache_read", "difference": "7", "explanation": "cache_read: a bit."}],
    }


def test_a_row_is_printed_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report())
    printed = capsys.readouterr().out
    for word in ("1,234", "provider*", "[bold]gpt-5", "1.50", "billed", "hermes_exceeds_provider", "images"):
        assert word in printed
    assert "cache_write_30m" not in printed  # nobody reports it


def test_open_findings_end_the_report_one_line_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report())
    printed = capsys.readouterr().out
    assert "output: too much. Also: cache_read." in printed
    assert "a bit" not in printed


def test_findings_show_also_where_there_is_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_report({**report(), "rows": []})
    assert "output: too much." in capsys.readouterr().out


def test_null_is_a_dash_and_zero_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report())
    line = next(line for line in capsys.readouterr().out.splitlines() if "uncached_input" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["uncached_input", "1,000", "0", "–", "–", "–", "–", "–"]


def test_an_empty_report_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_report({**report(), "rows": []})
    assert "usage-pipeline backfill" in capsys.readouterr().out
