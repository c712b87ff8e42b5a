"""What a file may look like, what is refused with its line, and that rows count once however files are cut."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.parity.cells import read_amount, read_count, read_window
from usage_pipeline.parity.check import Asked, read_files
from usage_pipeline.parity.export_rows import FamilyExport
from usage_pipeline.parity.file_reading import ReadingRules
from usage_pipeline.parity.openai_export import split_input
from usage_pipeline.parity.registry import Stated, export_formats, export_providers
from usage_pipeline_tests.parity.exported import (
    EMPTY_COLUMNS,
    USAGE_COLUMNS,
    text_of,
    times,
    usage_row,
    usage_rows,
    write,
)
from usage_pipeline_tests.scripted.account import Use

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "openai"
START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def read(*paths: Path, stated: Stated | None = None) -> FamilyExport:
    [export] = read_files(Asked(paths, stated or Stated()))
    return export


def sums(export: FamilyExport) -> dict[tuple[object, ...], Mapping[str, object]]:
    return {
        (start, end, export.combinations[number]): export.measures_of(export.figures(values))
        for (start, end, number), values in export.sums.items()
    }


def refused(code: str, *paths: Path, stated: Stated | None = None) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(*paths, stated=stated)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def test_the_documented_header_is_read_with_every_class_and_part() -> None:
    export = read(FIXTURES / "completions_usage_2026-03-02_2026-03-03.csv")
    [(key, figures)] = sums(export).items()
    assert key[2] == ("proj_a", "user-1", "key_1", None, "gpt-5-2025-08-07", "false", "default")
    assert {name: figures[name] for name in ("uncached_input", "cache_read", "cache_write", "output", "requests")} == {
        "uncached_input": 1000, "cache_read": 300, "cache_write": 20, "output": 50, "requests": 3,
    }  # fmt: skip
    assert (export.files[0].rows, export.files[0].empty_rows, export.files[0].unknown) == (1, 1, ())


def test_the_documented_cost_header_is_read_and_names_the_account() -> None:
    export = read(FIXTURES / "cost_2026-03-02_2026-03-03.csv")
    [figures] = sums(export).values()
    assert figures == {"amount_usd": Decimal("0.895874")}
    assert (export.accounts, export.files[0].unknown) == ({"org-acme"}, ())
    assert export.dimensions == ("project_id", "label")


@pytest.mark.parametrize(
    ("cell", "count"), [("3", 3), ("3.0", 3), ("3.", 3), ("1e3", 1000), ("9007199254740993.0", 9007199254740993)]
)
def test_counts_are_exact_however_they_are_written(cell: str, count: int) -> None:
    assert read_count(cell) == count


@pytest.mark.parametrize("cell", ["", "3.5", "-1", "1,000", "NaN", "1_000", "٣", "9223372036854775808", "1e99", " 3"])
def test_what_is_no_count_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"number|count|range"):
        read_count(cell)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_amounts_keep_every_digit(amount: Decimal) -> None:
    if abs(amount.adjusted()) <= 60:
        assert read_amount(f"{amount:f}") == amount


def test_a_local_hour_that_comes_twice_is_one_window_of_two_hours() -> None:
    zone = ZoneInfo("America/New_York")
    starts = [f"2026-11-01 {hour:02}:00" for hour in range(24)]
    windows = [read_window("named", start, "", zone) for start in starts]
    assert [end - start for start, end in windows] == [3600, 7200] + [3600] * 22
    assert all(one[1] == other[0] for one, other in pairwise(windows))
    with pytest.raises(ValueError, match="comes twice"):
        read_window("interval", "2026-11-01 01:30", "2026-11-01 01:31", zone)
    with pytest.raises(ValueError, match="skip"):
        read_window("named", "2026-03-08 02:00", "", zone)


def test_a_malformed_line_is_named_with_its_file_and_number(tmp_path: Path) -> None:
    text = text_of(USAGE_COLUMNS, usage_rows([Use(START, output=3)], START, START + 2 * HOUR, HOUR))
    for code, broken, words in (
        ("line_malformed", text.replace(",3.0,0.0", ",3.5,0.0"), "line 2: the column output_tokens is not a whole"),
        ("line_malformed", text.replace("1772413200,1772416800", "noon,1772416800"), "line 3: the column start_time"),
        ("line_malformed", text + "1,2,3\r\n", "line 4: it has 3 cells, the header 15"),
        ("line_malformed", text + '"open', "it is no CSV"),
        ("header_missing", "", "the file is empty"),
        ("header_missing", "model,model\n", "comes twice"),
        ("export_unknown", "when,what\n1,2\n", "its columns are those of no export"),
        ("file_unreadable", "PK\x03\x04", "unpack it"),
    ):
        path = tmp_path / "completions_usage.csv"
        path.write_text(broken, encoding="utf-8", newline="")
        assert words in refused(code, path)
    assert "No such file" in refused("file_unreadable", tmp_path / "nowhere.csv")


def test_what_an_empty_export_is_must_come_from_its_name_or_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "export.csv", EMPTY_COLUMNS, [times(START, HOUR)])
    assert "--kind: cost, usage" in refused("kind_unknown", path)
    assert "text" in refused("family_unknown", path, stated=Stated(kind="usage"))
    assert read(path, stated=Stated(kind="usage", family="text")).format.family == "text"
    assert read(path, stated=Stated(kind="cost")).format.kind == "cost"


def test_the_same_rows_in_two_files_are_refused(tmp_path: Path) -> None:
    rows = usage_rows([Use(START, output=3), Use(START + HOUR, output=4)], START, START + 2 * HOUR, HOUR)
    one = write(tmp_path / "completions_usage_a.csv", USAGE_COLUMNS, rows)
    same = write(tmp_path / "completions_usage_b.csv", USAGE_COLUMNS, rows)
    other = write(tmp_path / "completions_usage_c.csv", USAGE_COLUMNS, rows[1:])
    assert "byte for byte" in refused("files_overlap", one, same)
    assert "1 rows are in both files" in refused("files_overlap", one, other)


def test_two_grains_or_groupings_of_one_time_are_refused(tmp_path: Path) -> None:
    use = Use(START, output=3, project="p")
    hours = write(tmp_path / "completions_usage_h.csv", USAGE_COLUMNS, [usage_row(use, HOUR)])
    days = write(tmp_path / "completions_usage_d.csv", USAGE_COLUMNS, [usage_row(use, 24 * HOUR)])
    by_model = write(tmp_path / "completions_usage_m.csv", USAGE_COLUMNS, [usage_row(use, HOUR) | {"project_id": ""}])
    refused("windows_overlap", hours, days)
    assert "project_id" in refused("groupings_differ", hours, by_model)


def test_an_unknown_column_with_figures_is_told_apart_from_words(tmp_path: Path) -> None:
    row = {**usage_row(Use(START, output=3), HOUR), "new_tokens": "5.0", "color": "blue"}
    [file] = read(write(tmp_path / "completions_usage.csv", (*USAGE_COLUMNS, "new_tokens", "color"), [row])).files
    assert (file.unknown, file.unknown_measures) == (("new_tokens", "color"), ("new_tokens",))


def test_input_is_split_as_far_as_the_columns_tell() -> None:
    told = {"input_tokens": 100, "input_cached_tokens": 30, "input_uncached_tokens": 60, "input_cache_write_tokens": 10}
    classes = {"cache_read": 30, "uncached_input": 60, "cache_write": 10}
    assert split_input(told) == classes
    assert split_input({name: told[name] for name in list(told)[:3]}) == classes
    assert split_input({name: told[name] for name in list(told)[1:]}) == classes
    assert split_input({name: told[name] for name in list(told)[:2]}) == {
        "cache_read": 30, "input_not_read_from_cache": 70,
    }  # fmt: skip
    assert split_input({"input_tokens": 100, "output": 7}) == {"input": 100, "output": 7}


def test_every_provider_in_the_registry_has_formats_of_its_own() -> None:
    for name in export_providers():
        assert {one.provider for one in export_formats(name)} == {name}
    with pytest.raises(InvalidInputError, match="export_unknown"):
        export_formats("nobody")


USES = st.lists(
    st.builds(
        Use,
        at=st.integers(0, 59).map(lambda minute: START + timedelta(minutes=minute * 7)),
        model=st.sampled_from(["gpt-5", "gpt-4o"]),
        uncached_input=st.integers(0, 10**6),
        cache_read=st.integers(0, 10**6),
        output=st.integers(0, 10**6),
        requests=st.integers(0, 9),
        project=st.sampled_from(["p", "q"]),
        user=st.sampled_from([None, "u"]),
    ),
    max_size=25,
    unique_by=lambda use: (use.at, use.model, use.project, use.user),
)


@settings(max_examples=60, deadline=None)
@given(USES, st.data())
def test_shuffling_rows_and_splitting_a_file_changes_nothing(uses: Sequence[Use], data: st.DataObject) -> None:
    rows = usage_rows(uses, START, START + 8 * HOUR, timedelta(minutes=1))[:120]
    shuffled = data.draw(st.permutations(rows))
    parts = data.draw(st.integers(1, 4))
    with tempfile.TemporaryDirectory() as folder:
        whole = write(Path(folder) / "completions_usage_whole.csv", USAGE_COLUMNS, rows)
        cut = [
            write(Path(folder) / f"completions_usage_{part}.csv", USAGE_COLUMNS, shuffled[part::parts])
            for part in range(parts)
            if shuffled[part::parts]
        ]
        one, many = read(whole), read(*cut)
    assert sums(one) == sums(many)
    assert (one.span, one.dimensions, one.figures_told()) == (many.span, many.dimensions, many.figures_told())


def test_reading_rules_default_to_utc() -> None:
    assert FamilyExport(export_formats("openai")[0], ReadingRules()).zone is UTC
