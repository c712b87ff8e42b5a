"""The package and the naive model, written apart from the same rules, give the same table for any history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.providers.anthropic import MESSAGES, Anthropic
from usage_pipeline.providers.openai import COMPLETIONS
from usage_pipeline_tests.reconcile.histories import DAYS, END, FIRST, ROUTERS, Stage, Story, stories
from usage_pipeline_tests.reconcile.naive_model import GROUPS, LIFETIMES, REPORTED, Cell, slice_findings, table
from usage_pipeline_tests.reconcile.routers import Router
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.scenario import Json, Scenario, figure, scenario_on, utc

# The database is one for all examples: each empties it first.
RANDOM = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
COVERAGE_CODES = {"provider_stale", "provider_missing", "window_missing"}
"""Findings about slices, not about cells."""


class UsageOnlyAnthropic(Anthropic):
    """Anthropic without its bill: the rules of usage need none."""

    endpoints = (MESSAGES,)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    speaks = [
        NarrowedOpenAI(COMPLETIONS),
        UsageOnlyAnthropic(),
        Router("openrouter", "reseller", COMPLETIONS),
        Router("litellm", "proxy", COMPLETIONS),
    ]
    with scenario_on(migrated_database, tmp_path, utc(FIRST), speaks=speaks) as made:
        yield made


def emptied(scenario: Scenario) -> Scenario:
    """The scenario with nothing in any table but the schema's version."""
    with scenario.runtime.engine.begin() as connection:
        tables = [name for name in sa.inspect(connection).get_table_names() if name != "alembic_version"]
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))  # in any order
        connection.execute(sa.text("; ".join(f'DELETE FROM "{name}"' for name in tables)))
    return scenario


def played(scenario: Scenario, story: Story) -> Stage:
    stage = Stage(emptied(scenario), story)
    for arrival in story.arrivals:
        stage.arrive(arrival)
    stage.settle()
    return stage


def as_modelled(cell: Cell) -> Json:
    """A cell of the model, in the words of :func:`as_reported`."""
    return {
        "decision": cell.decision,
        # The rules say nothing of a cell about which nothing is known.
        "provisional": cell.provisional if cell.decision != "no_data" else None,
        "provider": {group: cell.provider.get(group) for group in GROUPS},
        "hermes": {group: cell.hermes.get(group) for group in GROUPS},
        "counted": {group: cell.counted.get(group) for group in GROUPS},
        **{
            part: {group: getattr(cell, part).get(group, 0) for group in GROUPS}
            for part in ("explained", "unattributed", "excess", "stand_in")
        },
        "lifetimes": cell.lifetimes or {part: dict.fromkeys(LIFETIMES, 0) for part in _LIFETIME_PARTS},
        "findings": sorted(cell.findings - COVERAGE_CODES),
    }


def as_reported(row: Json) -> Json:
    """A row of the report, with the four parts' null (nothing to speak of) as 0."""
    by_hermes_alone = row["decision"] == "hermes_only"
    return {
        "decision": row["decision"],
        "provisional": row["provisional"] if row["decision"] != "no_data" else None,
        "provider": {group: _group(row, "reported_by_provider", group) for group in GROUPS},
        "hermes": {group: _group(row, "reported_by_hermes", group) for group in GROUPS},
        "counted": {group: _group(row, "counted", group) for group in GROUPS},
        **{
            part: {group: _group(row, part, group) or 0 for group in GROUPS}
            for part in ("explained", "unattributed", "excess", "stand_in")
        },
        "lifetimes": {
            part: {name: 0 if by_hermes_alone else figure(row, part, name) or 0 for name in LIFETIMES}
            for part in _LIFETIME_PARTS
        },
        "findings": sorted(set(row["findings"]) - COVERAGE_CODES),
    }


_LIFETIME_PARTS = ("counted", "explained", "unattributed")


def _group(row: Json, name: str, group: str) -> int | None:
    names = LIFETIMES if group == "cache_write" else (group,)
    known = [value for one in names if (value := figure(row, name, one)) is not None]
    return sum(known) if known else None


def reported(scenario: Scenario, story: Story) -> dict[Any, Json]:
    rows = scenario.report(FIRST, END)["rows"]
    tellers = {story.history.provider, *ROUTERS}  # a row about which nothing is known names the reseller or the proxy
    return {(row["date"], row["route"], row["model"]): row for row in rows if row["provider"] in tellers}


@RANDOM
@given(story=stories())
def test_the_package_and_the_model_agree(scenario: Scenario, story: Story) -> None:
    played(scenario, story)
    assert differences(scenario, story) == []


def differences(scenario: Scenario, story: Story) -> list[str]:
    """Where the package's table and the model's differ: cell, figure, the package's word, the model's word."""
    modelled = {
        (day.isoformat(), route, model): as_modelled(cell)
        for (day, route, model), cell in table(story.history, DAYS).items()
    }
    found = {name: as_reported(row) for name, row in reported(scenario, story).items()}
    if "requests" not in REPORTED[story.history.provider]:
        # Outside of conservation: only what is counted is said of it.
        for cell in (*found.values(), *modelled.values()):
            for part in ("explained", "unattributed", "excess", "stand_in"):
                cell[part]["requests"] = 0
    lines = [
        f"{name} {what}: package {found.get(name, {}).get(what)}, model {modelled.get(name, {}).get(what)}"
        for name in sorted(found.keys() | modelled.keys())
        for what in (found.get(name) or modelled[name])
        if found.get(name, {}).get(what) != modelled.get(name, {}).get(what)
    ]
    of_package, of_model = slices_found(scenario, story), slice_findings(story.history, DAYS)
    if of_package != of_model:
        lines.append(f"slices: package {sorted(of_package - of_model)}, model {sorted(of_model - of_package)}")
    return lines


def slices_found(scenario: Scenario, story: Story) -> set[tuple[date, str, str]]:
    """The open findings about coverage by (day, key, code), for accounts with a single key."""
    accounts = [key.account for key in story.history.keys]
    single = {key.name for key in story.history.keys if accounts.count(key.account) == 1}
    rows = scenario.select(
        "SELECT day, slug, code FROM findings JOIN feeds USING (feed_id)"
        " WHERE closed_at IS NULL AND code = ANY(:codes) AND day = ANY(:days)",
        codes=sorted(COVERAGE_CODES),
        days=list(DAYS),
    )
    found = {(row["day"], row["slug"].rsplit(".")[-1], row["code"]) for row in rows}
    return {one for one in found if one[1] in single}


@settings(RANDOM, max_examples=25)
@given(story=stories(), random=st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(scenario: Scenario, story: Story, random: Any) -> None:
    played(scenario, story)
    in_order = results(scenario)
    shuffled = story.arrivals
    random.shuffle(shuffled)
    stage = Stage(emptied(scenario), story)
    for arrival in shuffled:
        stage.arrive(arrival)
        stage.settle()
    stage.settle()
    found = results(scenario)
    assert [line for line in found if line not in in_order] == []
    assert found == in_order


@settings(RANDOM, max_examples=40)
@given(story=stories())
def test_reconciling_again_writes_nothing(scenario: Scenario, story: Story) -> None:
    stage = played(scenario, story)
    before = scenario.contents()
    stage.settle()
    assert scenario.contents() == before


@settings(RANDOM, max_examples=40)
@given(story=stories())
def test_shares_add_up_to_their_cells(scenario: Scenario, story: Story) -> None:
    played(scenario, story)
    assert scenario.select(_SHARES_THAT_DIFFER) == []


_SHARES_THAT_DIFFER = " UNION ALL ".join(
    f"SELECT '{share} {measure}' AS what, r.{share}_{measure} AS of_cell, s.total AS of_shares FROM reconciled_usage r"
    f" LEFT JOIN LATERAL (SELECT sum({measure}) AS total FROM reconciled_shares s WHERE s.cell_id = r.cell_id"
    f" AND s.reconciliation_id = r.reconciliation_id AND s.share = '{share}') s ON true"
    f" WHERE coalesce(r.{share}_{measure}, 0) <> coalesce(s.total, 0)"
    for share in ("explained", "stand_in")
    for measure in ("uncached_input", "cache_read", "output", "requests")
)


def results(scenario: Scenario) -> list[str]:
    """The report and the open findings as lines, without ids and the instants at which they were seen."""
    report = scenario.report(FIRST, END)
    findings = scenario.select(
        "SELECT code, day, provider, account, route, family, model, endpoint, measure, figure_provider, figure_hermes,"
        " difference, explanation FROM findings WHERE closed_at IS NULL"
    )
    rows = [
        f"{row['date']} {row['route']} {row['model']} {name}: {value}"
        for row in report["rows"]
        for name, value in row.items()
    ]
    return [*rows, str(report["totals"]), *sorted(str(finding) for finding in findings)]
