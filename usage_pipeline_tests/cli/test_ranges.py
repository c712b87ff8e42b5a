"""The days of ``backfill`` and ``report``, and their other bad input: refused with nothing written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.cli.days import read_range, refuse_future
from usage_pipeline.errors import InvalidInputError
from usage_pipeline_tests.cli.conftest import CommandLine

Written = Callable[[], Mapping[str, object]]
DAYS = ("--from", "2026-10-01", "--to", "2026-10-31")
MALFORMED = [
    "",
    "yesterday",
    "2026-13-01",
    "2026-02-30",
    "20261001",
    "2026-W40-1",
    "2026-10-1",
    "01.10.2026",
    "٢٠٢٦-١٠-٠١",
]


def test_the_last_day_is_included() -> None:
    days = read_range("2026-10-01", "2026-10-31")
    assert (days.first_day, days.end_day) == (date(2026, 10, 1), date(2026, 11, 1))
    one = read_range("2026-10-01", "2026-10-01")
    assert (one.first_day, one.end_day, one.last_day) == (date(2026, 10, 1), date(2026, 10, 2), date(2026, 10, 1))


def test_the_help_says_that_the_last_day_is_included(command: CommandLine) -> None:
    for verb in ("backfill", "report"):
        assert "--to is included" in " ".join(command.done(verb, "--help").out.split())


@given(st.text(max_size=12).filter(lambda written: len(written) != 10))
def test_what_has_another_length_than_a_day_is_refused(written: str) -> None:
    with pytest.raises(InvalidInputError, match="date_malformed"):
        read_range(written, written)


@given(st.dates(max_value=date(9999, 12, 30)))
def test_every_day_is_read_as_it_is_written(day: date) -> None:
    assert read_range(day.isoformat(), day.isoformat()).first_day == day


def test_the_last_day_of_all_has_no_end() -> None:
    with pytest.raises(InvalidInputError, match="date_malformed"):
        read_range("9999-12-31", "9999-12-31")


def test_today_is_not_the_future_and_tomorrow_is() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    refuse_future(read_range("2026-11-21", "2026-11-21"), noon)
    with pytest.raises(InvalidInputError, match="day_in_future"):
        refuse_future(read_range("2026-11-21", "2026-11-22"), noon)


@pytest.mark.parametrize("verb", ["backfill", "report"])
@pytest.mark.parametrize("day", MALFORMED)
def test_a_malformed_date_is_refused(command: CommandLine, written: Written, verb: str, day: str) -> None:
    before = written()
    assert "--from" in command.refused("date_malformed", verb, "--from", day, "--to", "2026-10-31")
    assert "--to" in command.refused("date_malformed", verb, "--from", "2026-10-01", "--to", day)
    assert written() == before


@pytest.mark.parametrize("verb", ["backfill", "report"])
def test_a_reversed_range_is_refused(command: CommandLine, written: Written, verb: str) -> None:
    before = written()
    command.refused("range_reversed", verb, "--from", "2026-10-31", "--to", "2026-10-01")
    assert written() == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("day_in_future", ("backfill", "--from", "2026-11-20", "--to", "2026-11-22")),
        ("key_unknown", ("backfill", *DAYS, "--key", "acme.openai.none")),
        ("slug_malformed", ("backfill", *DAYS, "--key", "acme|openai|main")),
        ("slug_malformed", ("backfill", *DAYS, "--key", "")),
        ("usage", ("backfill", "--from", "2026-10-01")),
        ("usage", ("report", "--to", "2026-10-01")),
        ("workspace_unknown", ("report", *DAYS, "--workspace", "globex")),
        ("slug_malformed", ("report", *DAYS, "--workspace", "a..b")),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    command: CommandLine, written: Written, code: str, words: tuple[str, ...]
) -> None:
    before = written()
    command.refused(code, *words)
    assert written() == before


def test_a_malformed_setting_is_refused_before_anything_is_pulled(command: CommandLine, written: Written) -> None:
    command.environ["USAGE_LOOK_BACK_DAYS"] = "some"
    before = written()
    command.refused("setting_malformed", "backfill", *DAYS)
    assert written() == before


@pytest.mark.parametrize("instant", ["now", "2026-11-21", "2026-11-21T12:00:00"])
def test_a_malformed_clock_is_refused(command: CommandLine, instant: str) -> None:
    command.environ["USAGE_NOW"] = instant
    command.refused("instant_malformed", "report", *DAYS)
