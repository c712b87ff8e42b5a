"""The package's table beside the model's: a world in which random stories are played, and where the two differ.

In: a scenario on which a story was played. Out: differences as lines to read; none where both agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from usage_pipeline.pricing.price_book import PriceBook, PriceOverride
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES, Anthropic
from usage_pipeline.providers.openai import COMPLETIONS
from usage_pipeline.providers.openai_endpoints import COSTS, LEGACY_COMPLETIONS
from usage_pipeline_tests.reconcile.histories import FIRST, PRICES, ROUTERS, Story
from usage_pipeline_tests.reconcile.naive_findings import (
    COVERAGE_CODES,
    bill_slice_findings,
    cell_findings,
    slice_findings,
)
from usage_pipeline_tests.reconcile.naive_model import GROUPS, LIFETIMES, Cell, table
from usage_pipeline_tests.reconcile.naive_money import Cost, billed_rows, bills_that_differ, cost_of, unpriced
from usage_pipeline_tests.reconcile.playing import Stage
from usage_pipeline_tests.reconcile.routers import Router, TextOfAnthropic
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.scenario import Json, Scenario, figure, scenario_on, utc

Cells = dict[tuple[date, str, str], Cell]

_LIFETIME_PARTS = ("counted", "explained", "unattributed")
_PARTS = ("explained", "unattributed", "excess", "stand_in")


class UsageOnlyAnthropic(Anthropic):
    """Anthropic without its bill: the rules of usage need none."""

    endpoints = (MESSAGES,)


@contextmanager
def world(database: str, home: Path, *, billed: bool = False) -> Iterator[Scenario]:
    """A scenario that speaks what random histories are made of, with bills or without, at round prices."""
    speaks = [
        NarrowedOpenAI(COMPLETIONS, COSTS) if billed else NarrowedOpenAI(COMPLETIONS, LEGACY_COMPLETIONS),
        TextOfAnthropic() if billed else UsageOnlyAnthropic(),
        Router("openrouter", "reseller", COMPLETIONS),
        Router("litellm", "proxy", COMPLETIONS),
    ]
    with scenario_on(database, home, utc(FIRST), speaks=speaks) as made:
        made.runtime = replace(made.runtime, prices=PriceBook(_OVERRIDES))
        yield made


_OVERRIDES = [
    PriceOverride(n, "openai" if model.startswith("gpt") else "anthropic", model, Rates(**rates), date(2026, 1, 1))
    for n, (model, rates) in enumerate(PRICES.items(), 1)
]


def emptied(scenario: Scenario) -> Scenario:
    """The scenario with nothing in any table but the schema's version."""
    with scenario.runtime.engine.begin() as connection:
        tables = [name for name in sa.inspect(connection).get_table_names() if name != "alembic_version"]
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))  # in any order
        connection.execute(sa.text("; ".join(f'DELETE FROM "{name}"' for name in tables)))
    return scenario


def played(scenario: Scenario, story: Story) -> Stage:
    """The story as it came in: the last arrival after a change of the policy."""
    stage = Stage(emptied(scenario), story)
    play(stage)
    return stage


def play(stage: Stage) -> None:
    """Let everything come in, and settle."""
    story = stage.story
    *first, last = story.arrivals or [None]
    for arrival in first:
        assert arrival is not None
        stage.arrive(arrival)
    if story.first_policy != story.history.policy:
        stage.under(story.first_policy)
        stage.settle()
        stage.under(story.history.policy)
    if last is not None:
        stage.arrive(last)
    stage.settle()


def differences(stage: Stage) -> list[str]:
    """Where the package's table and the model's differ: cell, figure, the package's word, the model's word."""
    story, history = stage.story, stage.history
    cells = table(history, story.days)
    modelled = {
        (name[0].isoformat(), *name[1:]): as_modelled(cell, cell_findings(history, name, cell))
        for name, cell in cells.items()
    }
    found = {name: as_reported(row) for name, row in reported(stage).items()}
    lines = [
        f"{name} {what}: package {found.get(name, {}).get(what)}, model {modelled.get(name, {}).get(what)}"
        for name in sorted(found.keys() | modelled.keys())
        for what in (found.get(name) or modelled[name])
        if found.get(name, {}).get(what) != modelled.get(name, {}).get(what)
    ]
    of_package, of_model = slices_found(stage), slice_findings(history, story.days, cells)
    if any(pull.costs for pull in history.pulls):
        of_model |= bill_slice_findings(history, story.days)
    else:
        of_package = {one for one in of_package if not one[-1]}
    if of_package != of_model:
        lines.append(f"slices: package {sorted(of_package - of_model)}, model {sorted(of_model - of_package)}")
    if any(pull.costs for pull in history.pulls):
        lines += money_differences(stage, cells)
    return lines


def money_differences(stage: Stage, cells: Cells) -> list[str]:
    """The same about dollars: every cell's costs, the bills' own rows, and the findings about money."""
    scenario, story, history = stage.scenario, stage.story, stage.history
    rows = scenario.report(FIRST, story.end)["rows"]
    vendor = [row for row in rows if row["provider"] == history.provider]
    found = {
        (row["date"], row["family"], row["route"], row["model"]): _cost_reported(row)
        for row in vendor
        if row["model"] or any(row["cost"][name]["usd"] for name in _AMOUNTS)
    }
    modelled = {
        (name[0].isoformat(), "text", *name[1:]): _cost_modelled(cost_of(history, name, cell, PRICES))
        for name, cell in cells.items()
        if name[2] or cost_of(history, name, cell, PRICES) != Cost()
    }
    for day in story.days:
        for words, cost in billed_rows(history, cells, day).items():
            modelled[day.isoformat(), "billed_line", "account", words] = _cost_modelled(cost)
    lines = [
        f"{name} cost: package {found.get(name)}, model {modelled.get(name)}"
        for name in sorted(found.keys() | modelled.keys())
        if found.get(name) != modelled.get(name)
    ]
    findings = scenario.select(
        "SELECT code, day, account, route, model FROM findings WHERE closed_at IS NULL"
        " AND code IN ('bill_differs_from_usage', 'unpriced_model')"
    )
    differing = {(row["day"], row["account"]) for row in findings if row["code"] == "bill_differs_from_usage"}
    if differing != (expected := bills_that_differ(history, cells, story.days, PRICES)):
        lines.append(f"bill_differs_from_usage: package {differing - expected}, model {expected - differing}")
    without = {(row["day"], row["route"], row["model"]) for row in findings if row["code"] == "unpriced_model"}
    if without != (expected_without := {name for name, cell in cells.items() if unpriced(history, name, cell, PRICES)}):
        lines.append(f"unpriced_model: package {without - expected_without}, model {expected_without - without}")
    return lines


_AMOUNTS = ("counted", "billed", "computed", "hermes")


def _cost_reported(row: Json) -> Json:
    amounts = {name: row["cost"][name]["usd"] for name in _AMOUNTS}
    exact = {name: None if usd is None else Decimal(usd) for name, usd in amounts.items()}
    return {**exact, "basis": row["cost"]["counted"]["basis"]}


def _cost_modelled(cost: Cost) -> Json:
    return {**{name: getattr(cost, name) for name in _AMOUNTS}, "basis": cost.basis}


def as_modelled(cell: Cell, codes: set[str]) -> Json:
    """A cell of the model, in the words of :func:`as_reported`."""
    return {
        "decision": cell.decision,
        # The rules say nothing of a cell about which nothing is known.
        "provisional": cell.provisional if cell.decision != "no_data" else None,
        "lower_bound": sorted(cell.lower_bound),
        "provider": {group: cell.provider.get(group) for group in GROUPS},
        "hermes": {group: cell.hermes.get(group) for group in GROUPS},
        "counted": {group: cell.counted.get(group) for group in GROUPS},
        **{part: {group: getattr(cell, part).get(group, 0) for group in GROUPS} for part in _PARTS},
        "lifetimes": cell.lifetimes or {part: dict.fromkeys(LIFETIMES, 0) for part in _LIFETIME_PARTS},
        "findings": sorted(codes),
    }


def as_reported(row: Json) -> Json:
    """A row of the report, with the four parts' null (nothing to speak of) as 0."""
    unsplit = row["decision"] == "hermes_only"
    bounds = {"cache_write" if name.startswith("cache_write") else name for name in row["lower_bound"]}
    return {
        "decision": row["decision"],
        "provisional": row["provisional"] if row["decision"] != "no_data" else None,
        "lower_bound": sorted(bounds & set(GROUPS)),
        "provider": {group: _group(row, "reported_by_provider", group) for group in GROUPS},
        "hermes": {group: _group(row, "reported_by_hermes", group) for group in GROUPS},
        "counted": {group: _group(row, "counted", group) for group in GROUPS},
        **{part: {group: _group(row, part, group) or 0 for group in GROUPS} for part in _PARTS},
        "lifetimes": {
            part: {name: 0 if unsplit else figure(row, part, name) or 0 for name in LIFETIMES}
            for part in _LIFETIME_PARTS
        },
        "findings": sorted(set(row["findings"]) - COVERAGE_CODES - MONEY_CODES),
    }


MONEY_CODES = {"bill_differs_from_usage", "unpriced_model"}
"""Compared by :func:`money_differences`."""


def _group(row: Json, name: str, group: str) -> int | None:
    names = LIFETIMES if group == "cache_write" else (group,)
    known = [value for one in names if (value := figure(row, name, one)) is not None]
    return sum(known) if known else None


def reported(stage: Stage) -> dict[Any, Json]:
    """The report's rows by (date, route, model)."""
    rows = stage.scenario.report(FIRST, stage.story.end, stage.workspace)["rows"]
    tellers = {
        stage.story.history.provider,
        *ROUTERS,
    }  # an empty row names the reseller or the proxy
    return {
        (row["date"], row["route"], row["model"]): row
        for row in rows
        if row["provider"] in tellers and row["family"] == "text"
    }


def slices_found(stage: Stage) -> set[tuple[date, str, str, bool]]:
    """The open findings about coverage by (day, key, code), and whether they are about costs."""
    rows = stage.scenario.select(
        "SELECT day, slug, code, endpoint FROM findings JOIN feeds USING (feed_id) WHERE closed_at IS NULL"
        " AND code = ANY(:codes) AND day = ANY(:days) AND slug LIKE :workspace",
        codes=sorted(COVERAGE_CODES),
        days=list(stage.story.days),
        workspace=f"{stage.workspace}.%",
    )
    costs = {COSTS.name, COST_REPORT.name}
    return {(row["day"], row["slug"].rsplit(".")[-1], row["code"], row["endpoint"] in costs) for row in rows}


def results(scenario: Scenario, end: date) -> list[str]:
    """The report and the open findings as lines, without ids and the instants at which they were seen."""
    report = scenario.report(FIRST, end)
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


def differing_orders(scenario: Scenario, story: Story, random: Any) -> list[str]:
    """Lines that one of two orders of arrival gives alone: the given one, and a shuffled one settled in between."""
    played(scenario, story)
    in_order = results(scenario, story.end)
    shuffled = story.arrivals
    random.shuffle(shuffled)
    stage = Stage(emptied(scenario), story)
    for arrival in shuffled:
        stage.arrive(arrival)
        stage.settle()
    stage.settle()
    found = results(scenario, story.end)
    return [f"shuffled {line}" for line in found if line not in in_order] + [
        f"in order {line}" for line in in_order if line not in found
    ]
