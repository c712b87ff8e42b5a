"""Any cut of what counts sums to the total: by each dimension and some pairs, under every policy, to the last digit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.workspaces import POLICIES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS, read_dimensions
from usage_pipeline.reconcile.cut_lines import Source
from usage_pipeline.reconcile.cuts import Cut, CutRow, cut
from usage_pipeline.reconcile.figures import add
from usage_pipeline_tests.hermes.payload_building import bucket, head, model, repository
from usage_pipeline_tests.reconcile import test_worked_examples
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
SETTLED = utc(D + timedelta(days=4), 6)
PAIRS = [pair for n, pair in enumerate(combinations(DIMENSIONS, 2)) if n % 7 == 0]


def cut_of(scenario: Scenario, *by: str, first_day: date = D, end_day: date = NEXT) -> Cut:
    with scenario.runtime.engine.begin() as connection:
        return cut(connection, first_day, end_day, None, by)


def row_of(made: Cut, *values: str | None) -> CutRow:
    (found,) = [row for row in made.rows if row.values == values]
    return found


def assert_every_cut_adds_up(scenario: Scenario) -> None:
    assert_adds_up(scenario, [(name,) for name in DIMENSIONS] + PAIRS)
    sources = {row.values[0] for row in cut_of(scenario, "source").rows}
    assert Source.NOT_RECONCILED_YET not in sources


def assert_adds_up(scenario: Scenario, cuts: Sequence[tuple[str, ...]]) -> None:
    totals = scenario.report(D, NEXT)["totals"]
    for by in cuts:
        made = cut_of(scenario, *by)
        figures = add(*(row.figures for row in made.rows))
        for name, value in totals["counted"]["tokens"].items():
            assert (figures.get(name) or 0) == (value or 0), (by, name)
        assert (figures.get("requests") or 0) == (totals["counted"]["requests"] or 0), by
        assert (figures.get("reasoning") or 0) == (totals["counted"]["reasoning"] or 0), by
        with exact_arithmetic():
            usd = sum((row.cost.usd for row in made.rows if row.cost.usd is not None), Decimal(0))
        assert usd == Decimal(totals["cost"]["counted"]["usd"] or 0), by


def rich(scenario: Scenario) -> None:
    """Two keys of one account (one of them scoped), projects, Anthropic with its caches, two Hermes profiles of v3, one
    with a subscription, one of v2 with repositories, a final bill with a line without a model, and an open account."""
    wide = scenario.register(name="wide", grain="1d")
    narrow = scenario.register(name="narrow", projects=["proj_b"])
    claude = scenario.register("anthropic", name="claude", organization="org-claude")
    for project, user, output in (("proj_a", "user_1", 700), ("proj_a", "user_2", 201), ("proj_b", "user_1", 99)):
        more = {"project": project, "user": user, "api_key": f"key_{user}"}
        wide.account.spend(utc(D, 9), output, **more)
        wide.account.uses.append(Use(utc(D, 10), uncached_input=3 * output, cache_read=output, requests=3, **more))
    narrow.account.spend(utc(D, 9), 99, project="proj_b", user="user_1", api_key="key_user_1")
    wide.account.spend(utc(D, 9), 51, "gpt-5-2025-08-07", project="proj_a")
    wide.account.bills.append(Bill(D, Decimal("0.123456789012345678"), "web search"))
    claude.account.uses.append(
        Use(utc(D, 9), "claude-sonnet-4-5", cache_write_5m=100, cache_write_1h=50, output=77, uncached_input=13)
    )
    profiles = [scenario.hermes("laptop"), scenario.hermes("build"), scenario.hermes("old", days_back=7)]
    staging = scenario.hermes("staging", environment="staging")
    scenario.at(SETTLED).pull(wide, D)
    scenario.at(utc(NEXT, 1)).pull(claude, D)
    scenario.at(SETTLED).pull(narrow, D)
    said = [
        Call(utc(D, 9), output=333, uncached_input=100, requests=7, reasoning=11),
        Call(utc(D, 9), "claude-sonnet-4-5", cache_write=120, output=80, requests=5, billing="anthropic"),
        Call(utc(D, 9), output=300, requests=2, billing="openai-codex", billing_mode="subscription_included"),
    ]
    scenario.send(profiles[0], labelled("hermes", v3_payload(SETTLED, said, D, NEXT)))
    scenario.send(profiles[1], labelled("hermes-build", v3_payload(SETTLED, said[:2], D, NEXT)))
    scenario.send(staging, labelled("hermes", v3_payload(SETTLED, said[:1], D, NEXT), environment="staging"))
    scenario.send(profiles[2], with_repositories())
    scenario.settle(D)


def labelled(label: str, payload: Json, **more: str) -> Json:
    return {**payload, "sourceLabel": label, **more}


def with_repositories() -> Json:
    """A v2 batch whose day was spent in two repositories, of two parts and of one."""
    used = model("gpt-5", uncached=90, read=0, write=0, output=31, reasoning=3, requests=3)
    day = bucket(D.isoformat(), used)
    parts = [
        bucket(D.isoformat(), model("gpt-5", uncached=60, read=0, write=0, output=21, reasoning=2, requests=2)),
        bucket(D.isoformat(), model("gpt-5", uncached=30, read=0, write=0, output=10, reasoning=1, requests=1)),
    ]
    keys = ("github.com/acme/web", "github.com/acme/api")
    return {
        "schemaVersion": 2,
        **head(generatedAt=SETTLED.isoformat().replace("+00:00", "Z")),
        "rollups": [day],
        "repositoryRollups": [
            repository(part, key, key.rsplit("/", 1)[-1], "exact") for part, key in zip(parts, keys, strict=True)
        ],
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_every_cut_of_a_rich_day_adds_up_under_each_policy(scenario: Scenario, policy: str) -> None:
    rich(scenario)
    scenario.workspace(policy=policy)
    scenario.settle(D)
    assert_every_cut_adds_up(scenario)


EXAMPLES = [made for name, made in vars(test_worked_examples).items() if re.match("test_[a-p]_", name)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda made: made.__name__[5:6])
def test_every_cut_of_a_worked_example_adds_up(scenario: Scenario, example: Callable[[Scenario], None]) -> None:
    example(scenario)
    assert_adds_up(scenario, [("source", "project"), ("feed", "model"), ("hermes_feed", "repository")])


def output_by(scenario: Scenario, *by: str) -> dict[tuple[str | None, ...], int | None]:
    return {row.values: row.figures.get("output") for row in cut_of(scenario, *by).rows if row.figures.get("output")}


def test_a_final_day_is_cut_both_ways(scenario: Scenario) -> None:  # worked example a
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, project="proj_a")
    scenario.at(SETTLED).pull(key, D)
    scenario.send(feed, v3_payload(SETTLED, [Call(utc(D, 9), output=800)], D, NEXT))
    scenario.settle(D)
    assert output_by(scenario, "source", "project") == {("provider", "proj_a"): 1000}
    assert output_by(scenario, "source", "hermes_feed") == {
        ("explained", "acme.laptop"): 800,
        ("unattributed", None): 200,
    }
    assert_every_cut_adds_up(scenario)


def test_a_stand_in_is_a_line_of_its_feed(scenario: Scenario) -> None:  # worked example f
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 600)
    scenario.at(utc(D, 12)).pull(key, D)
    said = [Call(utc(D, 9), output=500), Call(utc(D, 14), output=200)]
    scenario.at(utc(D, 18)).send(feed, v3_payload(utc(D, 18), said, D, NEXT))
    scenario.settle(D)
    assert output_by(scenario, "feed", "source") == {
        ("acme.openai.main", "provider"): 600,
        ("acme.laptop", "hermes_stand_in"): 200,
    }
    assert output_by(scenario, "profile", "source") == {
        ("hermes on build-7", "explained"): 500,
        ("hermes on build-7", "hermes_stand_in"): 200,
        (None, "unattributed"): 100,
    }
    assert_every_cut_adds_up(scenario)


def test_shadowed_rows_are_in_no_cut(scenario: Scenario) -> None:  # worked example h
    admin, standard = scenario.register(name="admin"), scenario.register(name="other", mode="standard", grain="1d")
    admin.account.spend(utc(D, 9), 1000)
    standard.account.spend(utc(D, 9), 400)
    scenario.at(SETTLED)
    for key in (admin, standard):
        scenario.pull(key, D)
    scenario.settle(D)
    assert output_by(scenario, "feed") == {("acme.openai.admin",): 1000}
    assert_every_cut_adds_up(scenario)


def test_hermes_first_has_one_unattributed_line(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.workspace(policy="hermes_first")
    key.account.spend(utc(D, 9), 1000, project="proj_a")
    scenario.at(SETTLED).pull(key, D)
    scenario.send(feed, v3_payload(SETTLED, [Call(utc(D, 9), output=800)], D, NEXT))
    scenario.settle(D)
    assert output_by(scenario, "source", "project") == {("hermes", None): 800, ("unattributed", None): 200}


def test_explained_cache_writes_take_the_lifetimes_of_the_cell(scenario: Scenario) -> None:  # worked example n
    key, feed = scenario.register("anthropic"), scenario.hermes()
    key.account.uses.append(Use(utc(D, 9), "claude-sonnet-4-5", cache_write_5m=100, cache_write_1h=50))
    scenario.at(SETTLED).pull(key, D)
    said = [Call(utc(D, 9), "claude-sonnet-4-5", cache_write=120, billing="anthropic")]
    scenario.send(feed, v3_payload(SETTLED, said, D, NEXT))
    scenario.settle(D)
    made = cut_of(scenario, "source", "hermes_feed")
    told = {name: value for name, value in row_of(made, "explained", "acme.laptop").figures.items() if value}
    assert told == {"cache_write_5m": 100, "cache_write_1h": 20}
    rest = {name: value for name, value in row_of(made, "unattributed", None).figures.items() if value}
    assert rest == {"cache_write_1h": 30}
    assert_every_cut_adds_up(scenario)


def test_repositories_get_what_their_feed_explains(scenario: Scenario) -> None:
    rich(scenario)
    told = output_by(scenario, "hermes_feed", "repository")
    assert told[("acme.old", "github.com/acme/web")] == 21
    assert told[("acme.old", "github.com/acme/api")] == 10
    assert ("acme.laptop", None) in told


def test_a_cost_is_spread_by_list_prices_and_sums_to_the_last_digit(scenario: Scenario) -> None:
    key = scenario.register()
    for project, output in (("proj_a", 300), ("proj_b", 700)):
        key.account.spend(utc(D, 9), output, project=project)
    key.account.bills = [Bill(D, Decimal("0.1000000000000000001"), "gpt-5, output", "gpt-5", "output_tokens")]
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
    made = cut_of(scenario, "project")
    parts = [row.cost.usd for row in made.rows]
    assert parts == [Decimal("0.0300000000000000000"), Decimal("0.0700000000000000001")]


def test_what_hermes_says_of_its_cost_goes_to_its_rows(scenario: Scenario) -> None:
    feeds = [scenario.hermes("laptop"), scenario.hermes("build")]
    scenario.at(SETTLED)
    for feed, usd in zip(feeds, (0.25, 0.75), strict=True):
        payload = v3_payload(SETTLED, [Call(utc(D, 9), output=50, billing="openrouter")], D, NEXT)
        payload["days"][0]["usage"][0]["estimatedCostUsd"] = usd
        scenario.send(feed, payload)
    scenario.settle(D)
    costs = {row.values: (row.cost.usd, row.cost.basis) for row in cut_of(scenario, "hermes_feed").rows}
    assert costs == {
        ("acme.build",): (Decimal("0.75"), "estimated"),
        ("acme.laptop",): (Decimal("0.25"), "estimated"),
    }


def test_dimensions_are_read_as_a_person_writes_them() -> None:
    assert read_dimensions("api-key, model") == ("api_key", "model")
    for written, code in (
        ("", "dimension_unknown"),
        ("model,Model", "dimension_unknown"),
        ("day,day", "dimension_twice"),
    ):
        with pytest.raises(InvalidInputError) as refused:
            read_dimensions(written)
        assert refused.value.code == code
