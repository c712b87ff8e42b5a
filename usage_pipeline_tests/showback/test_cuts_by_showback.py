"""Cost centre and team are dimensions of every cut, which still sums to what counts, to the last digit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from usage_pipeline.exports.parts import event_parts
from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline.ledger.erasure import replace_in_words
from usage_pipeline.ledger.export_rows import WorkspaceDay
from usage_pipeline.ledger.showback_rules import add_rule, list_rules
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS
from usage_pipeline.reconcile.cuts import Cut, cut
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.showback.rules import UNASSIGNED, new_rule
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.reconcile.test_cuts import NEXT, SETTLED, D, rich
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

BOTH = ("cost_center", "team")


@pytest.fixture(scope="module")
def scenario(
    database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scenario]:
    """A rich day, and rules over it: by name, by user, by the feed of Hermes alone, by a model; one holds later."""
    with (
        _database(database_server, template=migrated_template) as url,
        scenario_on(url, tmp_path_factory.mktemp("home"), utc(D)) as made,
    ):
        rich(made)
        with made.runtime.engine.begin() as connection:
            store_names(connection, "openai", "org-acme", [Named("project_id", "proj_a", "Website")], SETTLED)
            add = [
                ({"project": ["Web*"], "user": ["user_2"]}, "4711", "Shop"),
                ({"project": ["Website"]}, "4711", "Web"),
                ({"feed": ["acme.laptop"]}, "4712", None),
                ({"model": ["claude-*"]}, None, "Research"),
            ]
            for conditions, cost_center, team in add:
                add_rule(connection, new_rule(conditions, cost_center, team, D, None), "", SETTLED)
            add_rule(connection, new_rule({}, "never", None, NEXT, None), "", SETTLED, before=1)
        yield made


@pytest.fixture
def connection(scenario: Scenario) -> Iterator[Connection]:
    with scenario.runtime.engine.begin() as made:
        yield made


def by(connection: Connection, *names: str) -> Cut:
    return cut(connection, D, NEXT, None, names)


def output(made: Cut) -> dict[tuple[str | None, ...], int | None]:
    return {row.values: row.figures.get("output") for row in made.rows}


def counts(figures: Figures) -> dict[str, int]:
    """The figures that are not 0: of Hermes' dimensions a 0 of the provider is not told."""
    return {name: value for name, value in figures.items() if value}


def test_every_line_has_a_cost_center_and_a_team(connection: Connection) -> None:
    made = by(connection, *BOTH)
    assert output(made) == {
        ("4711", "Shop"): 201,
        ("4711", "Web"): 751,
        ("4712", UNASSIGNED): 342,  # a subscription that Hermes alone knows, and what it stands in for on the open day
        (UNASSIGNED, "Research"): 118,  # the provider's 77, and what the other feed stands in for
        (UNASSIGNED, UNASSIGNED): 99,
    }
    rest = made.rows[-1]
    assert rest.values == (UNASSIGNED, UNASSIGNED)
    assert rest.cost.usd is not None
    assert rest.cost.usd > Decimal("0.12")  # the billed line without dimensions is in it


def test_a_cut_beside_any_other_dimension_adds_up(connection: Connection) -> None:
    (whole,) = by(connection, "day").rows
    for name in DIMENSIONS:
        made = by(connection, *dict.fromkeys((name, *BOTH)))
        with exact_arithmetic():
            usd = sum((row.cost.usd for row in made.rows if row.cost.usd is not None), Decimal(0))
        assert usd == whole.cost.usd, name
        assert counts(add(*(row.figures for row in made.rows))) == counts(whole.figures), name


def test_a_cut_by_them_is_the_cut_by_what_the_rules_ask_for_summed(connection: Connection) -> None:
    """The same lines by the values that rules see; nothing is moved between cells or lost."""
    fine = by(connection, "project", "user", "feed", "model", "source", *BOTH)
    figures: dict[tuple[str | None, ...], list[Figures]] = defaultdict(list)
    usd: dict[tuple[str | None, ...], Decimal] = defaultdict(Decimal)
    for row in fine.rows:
        figures[row.values[-2:]].append(row.figures)
        with exact_arithmetic():
            usd[row.values[-2:]] += row.cost.usd or Decimal(0)
    for row in by(connection, *BOTH).rows:
        assert row.figures == add(*figures[row.values])
        assert (row.cost.usd or Decimal(0)) == usd[row.values]


def test_in_a_cut_by_what_hermes_tells_rules_see_what_hermes_tells(connection: Connection) -> None:
    made = by(connection, "hermes_feed", "cost_center")
    of_laptop = {row.values[1] for row in made.rows if row.values[0] == "acme.laptop"}
    assert of_laptop == {"4712"}
    assert {row.values[1] for row in made.rows if row.values[0] is None} == {UNASSIGNED}


def test_a_rule_of_another_day_takes_nothing(scenario: Scenario, connection: Connection) -> None:
    after = cut(connection, NEXT, NEXT + timedelta(days=1), None, ("cost_center",))
    assert {row.values[0] for row in after.rows} <= {"never"}
    assert "never" not in {row.values[0] for row in by(connection, "cost_center").rows}


def test_exports_of_events_give_each_event_what_the_cut_gives_it(connection: Connection) -> None:
    figures: dict[tuple[str | None, ...], Figures] = {}
    usd: dict[tuple[str | None, ...], Decimal] = defaultdict(Decimal)
    for one in event_parts(connection, WorkspaceDay(D, "acme")):
        if one.part is not None:
            values = tuple(one.part.dimensions[name] for name in BOTH)
            figures[values] = add(figures.get(values, {}), one.part.figures)
            with exact_arithmetic():
                usd[values] += one.part.usd or Decimal(0)
    made = by(connection, *BOTH)
    assert {values: counts(found) for values, found in figures.items()} == {
        row.values: counts(row.figures) for row in made.rows
    }
    with exact_arithmetic():
        assert sum(usd.values(), Decimal(0)) == made.cost.usd


def test_an_erased_id_in_a_rule_becomes_its_pseudonym_and_still_matches(scenario: Scenario) -> None:
    with scenario.runtime.engine.connect() as connection:
        assert replace_in_words(connection, {"user_2": "erased-1"}) > 0
        conditions = [one.rule.conditions for one in list_rules(connection)]
        assert {"project": ("Web*",), "user": ("erased-1",)} in conditions
        connection.rollback()
