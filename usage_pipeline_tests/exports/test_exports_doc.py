"""docs/exports.md has every column of every export with its type, unit and meaning, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from usage_pipeline.exports.columns import ALL_CUT_COLUMNS, CELL_COLUMNS, EVENT_COLUMNS, Column
from usage_pipeline.exports.focus_columns import FOCUS_COLUMNS
from usage_pipeline.ledger.reconciled import GROUPS
from usage_pipeline.measures import RECONCILED_MEASURES
from usage_pipeline.orchestration.exports import EXPORTS
from usage_pipeline_tests.exports.focus_rules import DEVIATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_MEASURES = {f"{group}_{measure}" for group in GROUPS for measure in RECONCILED_MEASURES}


def section(heading: str) -> str:
    return re.split(r"\n##+ ", PAGE.split(f" {heading}\n", 1)[1], maxsplit=1)[0]


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("Columns of `--rows events`", EVENT_COLUMNS),
        ("Columns of `--rows summary`", [column for column in CELL_COLUMNS if column.name not in _MEASURES]),
        ("Columns of a cut", ALL_CUT_COLUMNS),
        ("Columns of FOCUS", [column for version in FOCUS_COLUMNS.values() for column in version]),
    ],
)
def test_every_column_is_documented_and_no_other(heading: str, columns: Iterable[Column]) -> None:
    told = {(one.name, one.type.value, one.unit or "–", one.meaning) for one in columns}
    assert set(_ROW.findall(section(heading))) == told


def test_every_group_of_measures_is_documented() -> None:
    assert {column.name for column in CELL_COLUMNS} >= _MEASURES
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", section("Columns of `--rows summary`"), re.MULTILINE)
    assert tuple(rows) == GROUPS


def test_every_deviation_from_focus_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` (?:is|equals)", section("What is not kept"), re.MULTILINE)
    assert list(dict.fromkeys(one.rule.partition("-")[0] for one in DEVIATIONS)) == rows


def test_every_asset_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("By month, in Dagster"), re.MULTILINE)
    assert rows == [asset.key.to_user_string() for asset in EXPORTS]
