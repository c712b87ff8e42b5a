"""Days that a Hermes install cuts by local time are told from the payload's own hours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.hermes.batch import PayloadFinding
from usage_pipeline.hermes.payload import parse_payload
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import utc

D = date(2026, 3, 10)
NOW = utc(D + timedelta(days=1), 15, 30)
CALLS = (
    Call(utc(D, 2), output=100, requests=1),
    Call(utc(D, 20), output=30, requests=1),
    Call(utc(D + timedelta(days=1), 3), output=7, requests=1),
    Call(utc(D + timedelta(days=1), 14), output=1000, requests=1),
)


def found(payload: dict[str, Any]) -> list[PayloadFinding]:
    batch = parse_payload(json.dumps(payload).encode(), received_at=NOW)
    return [one for one in batch.findings if one.code == "day_boundary"]


def moved(calls: Sequence[Call], hours: int) -> list[Call]:
    """The calls with the clock of a zone ``hours`` from UTC."""
    return [Call(one.at + timedelta(hours=hours), output=one.output, requests=one.requests) for one in calls]


def by_local_day(version: int, hours: int) -> dict[str, Any]:
    """A payload of hours in UTC and of days in a zone ``hours`` from it."""
    if version == 3:
        days = [one for one in moved(CALLS, hours) if one.at.date() >= D]
        return v3_payload(NOW, days, D, D + timedelta(days=2), hours=CALLS)
    within = [one for one in CALLS if one.at >= NOW.replace(minute=0) - timedelta(hours=23)]
    in_hours = v2_payload(NOW, within)
    local = v2_payload(NOW, moved(CALLS, hours))
    return {
        **in_hours,
        "rollups": [one for one in local["rollups"] if "T" not in one["usageDate"]]
        + [one for one in in_hours["rollups"] if "T" in one["usageDate"]],
        "repositoryRollups": [one for one in local["repositoryRollups"] if "T" not in one["usageDate"]]
        + [one for one in in_hours["repositoryRollups"] if "T" in one["usageDate"]],
    }


@pytest.mark.parametrize("version", [2, 3])
def test_days_of_a_zone_are_told_with_the_zone_and_both_figures(version: int) -> None:
    [*_, last] = found(by_local_day(version, -6))
    assert last.day == D + timedelta(days=1)
    assert (last.stated, last.found) == (1000, 1007)
    assert "UTC-" in last.words


@pytest.mark.parametrize("version", [2, 3])
def test_days_of_utc_raise_nothing(version: int) -> None:
    assert found(by_local_day(version, 0)) == []


def test_hours_that_are_simply_missing_raise_nothing() -> None:
    assert found(v3_payload(NOW, CALLS, D, D + timedelta(days=2), hours=CALLS[1:3])) == []


def test_a_payload_without_hours_raises_nothing() -> None:
    assert found(v3_payload(NOW, CALLS, D, D + timedelta(days=2), hours=())) == []


@given(
    st.lists(
        st.tuples(st.datetimes(utc(D).replace(tzinfo=None), NOW.replace(tzinfo=None)), st.integers(0, 1000)), max_size=8
    )
)
def test_whatever_was_used_days_of_utc_raise_nothing(used: list[tuple[datetime, int]]) -> None:
    calls = [Call(at.replace(tzinfo=NOW.tzinfo), output=output, requests=1) for at, output in used]
    assert found(v3_payload(NOW, calls, D, D + timedelta(days=2))) == []
