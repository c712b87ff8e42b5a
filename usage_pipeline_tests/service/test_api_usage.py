"""``GET /api/usage`` says what ``report`` says, in total and by every dimension, chosen and ordered as asked."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.ledger.usage_series import CELL_DIMENSIONS, SERIES_COSTS, SERIES_GROUPS
from usage_pipeline.measures import LEVELS, TOKEN_CLASSES
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS
from usage_pipeline.reconcile.cuts import cut
from usage_pipeline.service import usage_figures
from usage_pipeline.service.day_groups import DayGroups
from usage_pipeline.service.reading import as_bytes
from usage_pipeline.service.usage_figures import Group
from usage_pipeline_tests.service.api_world import DAY, LATER, MANY, Api

Json = dict[str, Any]
CUTS = [(name,) for name in DIMENSIONS] + [
    ("day", "model"),
    ("provider", "family", "model"),
    ("project", "user"),
    ("source", "model"),
    ("hermes_feed", "repository"),
]


def report(api: Api, *options: str) -> Any:
    """What the command line prints."""
    words = ["report", "--from", DAY["from"], "--to", DAY["to"], "--workspace", "acme", "--json", *options]
    environ = {"USAGE_DATABASE_URL": api.url, "USAGE_NOW": LATER.isoformat()}
    outcome = CliRunner().invoke(app, words, env=environ)
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def flat(figures: Json) -> Json:
    """Counts by measure, without levels, which are no sums."""
    told = {**figures["tokens"], **figures["other"], **{name: figures[name] for name in ("reasoning", "requests")}}
    return {name: value for name, value in told.items() if name not in LEVELS}


def something(rows: list[Json], by: tuple[str, ...]) -> dict[tuple[str | None, ...], tuple[Json, Json]]:
    """What counts by group, without groups in which nothing does."""
    told = {
        tuple(row[name] for name in by): (
            {name: value for name, value in flat(row["counted"]).items() if value},
            row["cost"]["counted"],
        )
        for row in rows
    }
    return {values: (counts, cost) for values, (counts, cost) in told.items() if counts or cost["usd"] is not None}


@pytest.mark.parametrize("by", CUTS, ids="+".join)
def test_every_grouping_says_what_the_report_says(api: Api, by: tuple[str, ...]) -> None:
    told = api.told("/api/usage", **DAY, group_by=",".join(by))
    printed = report(api, "--by", ",".join(by))
    assert told["by"] == printed["by"]
    assert something(told["rows"], by) == something(printed["rows"], by)
    assert flat(told["totals"]["counted"]) == flat(printed["totals"]["counted"])
    assert told["totals"]["cost"]["counted"] == printed["totals"]["cost"]["counted"]
    assert told["totals"] == api.told("/api/usage", **DAY)["totals"]
    names = {tuple(row[name] for name in by): row["names"] for row in told["rows"]}
    for row in printed["rows"]:
        assert names.get(tuple(row[name] for name in by), {}) == row["names"]
    if not set(by) <= CELL_DIMENSIONS.keys():
        ordered = [[row[name] for name in by] for row in told["rows"]]
        assert ordered == [[row[name] for name in by] for row in printed["rows"]]


def test_the_total_is_the_reports_with_what_is_explained_and_what_is_not(api: Api) -> None:
    totals, printed = api.told("/api/usage", **DAY)["totals"], report(api)["totals"]
    for group in SERIES_GROUPS:
        assert flat(totals[group]) == flat(printed[group]), group
    for cost in SERIES_COSTS:
        assert totals["cost"][cost] == printed["cost"][cost], cost


def test_a_grouping_by_cells_is_the_reports_rows(api: Api) -> None:
    by = ("day", "workspace", "provider", "route", "family", "model")
    told = api.told("/api/usage", **DAY, group_by=",".join(by))["rows"]
    printed = report(api)["rows"]
    assert len(told) == len(printed)
    cells = {tuple(row["date" if name == "day" else name] for name in by): row for row in printed}
    for row in told:
        cell = cells[tuple(row[name] for name in by)]
        assert row["provisional"] == cell["provisional"]
        assert row["cost"]["counted"] == cell["cost"]["counted"]
        for group in SERIES_GROUPS:
            assert flat(row[group]) == flat(cell[group])


@pytest.mark.parametrize("by", ["model", "project"])
def test_what_is_provisional_is_marked(api: Api, by: str) -> None:
    told = api.told("/api/usage", **DAY, group_by=f"provider,{by}")["rows"]
    assert {row["provider"] for row in told if row["provisional"]} == {"anthropic"}
    assert {row["provider"] for row in told if not row["provisional"]} == {"openai"}
    assert api.told("/api/usage", **DAY)["totals"]["provisional"] is True


@pytest.mark.parametrize(
    ("name", "value"), [("model", "gpt-5"), ("project", "proj_a"), ("user", ""), ("source", "provider")]
)
def test_a_filter_keeps_what_the_grouping_says(api: Api, name: str, value: str) -> None:
    (row,) = [row for row in api.told("/api/usage", **DAY, group_by=name)["rows"] if (row[name] or "") == value]
    chosen = api.told("/api/usage", **DAY, **{name: value})
    assert chosen["rows"] == []
    assert flat(chosen["totals"]["counted"]) == flat(row["counted"])
    assert chosen["totals"]["cost"]["counted"] == row["cost"]["counted"]


def test_filters_of_different_dimensions_hold_together_and_values_of_one_apart(api: Api) -> None:
    rows = api.told("/api/usage", **DAY, group_by="project,user")["rows"]
    wanted = [row for row in rows if row["project"] in {"proj_a", "proj_b"} and row["user"] == "user_1"]
    chosen = api.told("/api/usage", **DAY, group_by="project,user", project=["proj_a", "proj_b"], user="user_1")
    assert chosen["rows"] == wanted
    nothing = api.told("/api/usage", **DAY, project="proj_a", provider="anthropic")["totals"]
    assert flat(nothing["counted"]) == dict.fromkeys((*TOKEN_CLASSES, "reasoning", "requests"))
    assert nothing["cost"]["counted"] == {"nano_usd": None, "usd": None, "basis": None}


@pytest.mark.parametrize("by", ["model", "project"])
def test_the_greatest_come_first_and_the_rest_is_summed(api: Api, by: str) -> None:
    everything = api.told("/api/usage", **DAY, group_by=by, order="cost")
    usd = [Decimal(row["cost"]["counted"]["usd"] or 0) for row in everything["rows"]]
    assert all(one >= other for one, other in pairwise(usd))
    cut = api.told("/api/usage", **DAY, group_by=by, order="cost", limit=1)
    assert cut["rows"] == everything["rows"][:1]
    assert cut["rows_left_out"] == len(everything["rows"]) - 1
    assert Decimal(cut["rest"]["cost"]["counted"]["usd"]) == sum(usd[1:])
    assert cut["totals"] == everything["totals"]


def test_counts_and_amounts_are_exact(api: Api) -> None:
    answer = api.get("/api/usage", "globex", **DAY)
    assert f'"output":{MANY}' in answer.text
    cost = answer.json()["totals"]["cost"]["counted"]
    assert cost["usd"] is None or cost["nano_usd"] == int(Decimal(cost["usd"]).scaleb(9).to_integral_value())
    of_acme = api.told("/api/usage", **DAY)["totals"]["cost"]["counted"]
    assert type(of_acme["nano_usd"]) is int
    assert of_acme["nano_usd"] == round(Decimal(of_acme["usd"]).scaleb(9))
    (row,) = api.told("/api/usage", "globex", **DAY, group_by="user")["rows"]
    assert row["counted"]["tokens"]["output"] == MANY


def test_the_past_is_told_as_it_was_believed(api: Api) -> None:
    before = api.told("/api/usage", **DAY, as_of="2026-03-12T00:00:00Z", group_by="model")
    assert (before["as_of"], before["rows"]) == ("2026-03-12T00:00:00Z", [])
    since = api.told("/api/usage", **DAY, as_of="2026-03-14T12:00:00Z", group_by="project")
    assert since["rows"] == api.told("/api/usage", **DAY, group_by="project")["rows"]


def test_a_day_that_did_not_change_is_not_summed_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[date, date]] = []

    def counted(connection: Any, first_day: date, end_day: date, *more: Any) -> Any:
        made.append((first_day, end_day))
        return cut(connection, first_day, end_day, *more)

    monkeypatch.setattr(usage_figures, "cut", counted)
    days = {"from": "2026-03-08", "to": "2026-03-12", "group_by": "speed,user", "service_tier": ["", "default"]}
    first = api.told("/api/usage", **days)
    assert made == [(date(2026, 3, 8), date(2026, 3, 13))]
    assert api.told("/api/usage", **days) == first
    assert len(made) == 1
    longer = api.told("/api/usage", **{**days, "from": "2026-03-07", "to": "2026-03-20"})
    assert made[1:] == [
        (date(2026, 3, 7), date(2026, 3, 8)),
        (date(2026, 3, 13), date(2026, 3, 20)),
        (date(2026, 3, 20), date(2026, 3, 21)),
    ]
    assert longer["rows"] == first["rows"]
    api.told("/api/usage", **{**days, "as_of": "2026-03-14T12:00:00Z"})
    assert len(made) == 5  # the past is made anew each time


@pytest.mark.parametrize(
    ("parameters", "code", "field"),
    [
        ({"from": "2026-03-10"}, "parameter_missing", "to"),
        ({**DAY, "from": "yesterday"}, "date_malformed", "from"),
        ({**DAY, "to": "2026-03-09"}, "range_reversed", "from"),
        ({**DAY, "to": "2036-03-09"}, "range_too_long", "to"),
        ({**DAY, "modell": "gpt-5"}, "parameter_unknown", "modell"),
        ({**DAY, "group_by": "colour"}, "dimension_unknown", "group_by"),
        ({**DAY, "group_by": "model,model"}, "dimension_twice", "group_by"),
        ({**DAY, "group_by": ["model", "day"]}, "parameter_twice", "group_by"),
        ({**DAY, "limit": "0"}, "parameter_malformed", "limit"),
        ({**DAY, "order": "luck"}, "parameter_malformed", "order"),
        ({**DAY, "model": "a\0b"}, "parameter_malformed", "model"),
        ({**DAY, "as_of": "2026-03-12T00:00:00"}, "instant_without_offset", "as_of"),
        ({**DAY, "as_of": "2036-03-12T00:00:00Z"}, "instant_in_future", "as_of"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(api: Api, parameters: Json, code: str, field: str) -> None:
    assert api.refused(400, code, api.get("/api/usage", **parameters))["field"] == field


def test_what_was_asked_for_last_is_kept_longest() -> None:
    kept = DayGroups(groups_max=5)
    for key in ("one", "two"):
        kept.keep(key, [Group((key,))])
    assert kept.find("one") is not None
    kept.keep("three", [Group(("three",))])
    assert [key for key in ("one", "two", "three") if kept.find(key) is not None] == ["one", "three"]
    kept.keep("huge", [Group((None,))] * 9)
    assert kept.find("huge") is None


def test_no_whole_number_is_too_large_for_an_answer() -> None:
    assert json.loads(as_bytes({"nano_usd": 10**30 + 1}))["nano_usd"] == 10**30 + 1
