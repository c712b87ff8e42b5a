"""The cut by repository adds up in both directions, and says nothing that should stay on its machine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.hermes.payload import PayloadRefusedError
from usage_pipeline_tests.hermes.payload_building import bucket, fixture, model, parse, repository, tokens_of, v2

DAY = bucket("2026-03-11", model(estimated=0.5))


def refused(*repositories: dict[str, Any]) -> PayloadRefusedError:
    with pytest.raises(PayloadRefusedError) as caught:
        parse(v2(DAY, repositoryRollups=list(repositories)))
    return caught.value


def test_a_day_is_cut_by_repository() -> None:
    rows = [row for row in parse(fixture("v2_two_days")).rows if row.kind == "repository"]
    assert [(str(row.start.date()), row.repository, row.repository_name, row.requests, row.output) for row in rows] == [
        ("2026-03-11", "unattributed", "Unattributed", 2, 250),
        ("2026-03-11", "github.com/acme/shop", "shop", 4, 300),
        ("2026-03-12", "local:" + "0f" * 32, "scratch", 1, 40),
    ]


def test_the_cut_has_no_model_and_never_counts() -> None:
    for row in parse(fixture("v2_two_days")).rows:
        if row.kind == "repository":
            assert (row.provider, row.model, row.counts) == ("", "", False)


def test_the_cut_adds_up_to_the_days() -> None:
    rows = parse(fixture("v2_two_days")).rows
    assert tokens_of(rows, "repository") == tokens_of(rows, "day")


def test_a_repository_recognised_in_two_ways_is_one_row() -> None:
    exact = repository(DAY, "github.com/acme/shop", "shop", "exact")
    doubled = {name: value * 2 if isinstance(value, int | float) else value for name, value in DAY.items()}
    doubled["models"] = [model(estimated=0.5), model("o3", estimated=0.5)]
    payload = v2(doubled, repositoryRollups=[exact, exact | {"attributionStatus": "cwd-derived"}])
    (row,) = (row for row in parse(payload).rows if row.kind == "repository")
    assert (row.uncached_input, row.estimated_cost_usd) == (200, Decimal(1))


@pytest.mark.parametrize(
    "key", ["github.com/acme/shop", "git.example:8443/a/b", "[::1]/a", "local:" + "a" * 64, "host/with space"]
)
def test_a_key_that_tells_only_the_repository_is_accepted(key: str) -> None:
    assert parse(v2(DAY, repositoryRollups=[repository(DAY, key, "shop", "exact")])).rows[-1].repository == key


@pytest.mark.parametrize(
    "key",
    [
        "https://github.com/acme/shop", "git@github.com:acme/shop", "token@github.com/acme/shop", "C:\\work\\shop",
        "/home/ann/shop", "shop", "local:abc", "local:" + "A" * 64, "github.com/", "a b/shop",
    ],
)  # fmt: skip
def test_a_key_that_tells_more_is_refused(key: str) -> None:
    error = refused(repository(DAY, key, "shop", "exact"))
    assert (error.code, error.where) == ("payload_repository_key", "repositoryRollups[0].repository.key")
    assert key not in str(error)


@pytest.mark.parametrize("name", ["acme/shop", "acme\\shop"])
def test_a_name_is_not_a_path(name: str) -> None:
    assert refused(repository(DAY, "h/shop", name, "exact")).where == "repositoryRollups[0].repository.name"


@pytest.mark.parametrize(
    ("key", "attribution"), [("unattributed", "exact"), ("h/shop", "unknown"), ("h/shop", "guessed")]
)
def test_only_what_has_no_repository_is_unattributed(key: str, attribution: str) -> None:
    assert refused(repository(DAY, key, "shop", attribution)).code == "payload_contract"


def test_one_key_has_one_name() -> None:
    error = refused(repository(DAY, "h/shop", "shop", "exact"), repository(DAY, "h/shop", "other", "cwd-derived"))
    assert (error.code, error.where) == ("payload_repository_key", "repositoryRollups[1].repository.name")


def test_a_repository_comes_once_in_a_bucket() -> None:
    error = refused(repository(DAY), repository(DAY))
    assert (error.code, error.where) == ("payload_duplicate_bucket", "repositoryRollups[1].repository.key")


@pytest.mark.parametrize("name", ["inputTokens", "outputTokens", "cachedTokens", "reasoningTokens"])
def test_repositories_that_do_not_add_up_to_their_bucket_are_refused(name: str) -> None:
    error = refused(repository(DAY) | {name: DAY[name] + 1})
    assert (error.code, error.where) == ("payload_repositories_differ", f"rollups[0].{name}")


@pytest.mark.parametrize("name", ["requests", "totalTokens", "estimatedCostUsd"])
def test_models_that_do_not_add_up_to_their_repository_are_refused(name: str) -> None:
    error = refused(repository(DAY) | {name: DAY[name] + 1})
    assert (error.code, error.where) == ("payload_repositories_differ", f"repositoryRollups[0].{name}")


def test_costs_may_differ_by_their_rounding() -> None:
    within, beyond = repository(DAY), repository(DAY)
    for share, cost in ((within, 0.5001), (beyond, 0.5002)):
        share["estimatedCostUsd"] = share["models"][0]["estimatedCostUsd"] = cost
    assert parse(v2(DAY, repositoryRollups=[within])).findings == ()
    assert refused(beyond).where == "rollups[0].estimatedCostUsd"


def test_a_bucket_without_repositories_is_refused() -> None:
    assert refused().where == "rollups[0]"


def test_repositories_without_a_bucket_are_refused() -> None:
    error = refused(repository(DAY), repository(bucket("2026-03-10", model())))
    assert (error.code, error.where) == ("payload_repositories_differ", "repositoryRollups[1].usageDate")


def test_a_repositorys_model_comes_once() -> None:
    share = repository(DAY)
    share["models"] *= 2
    assert refused(share).code == "payload_duplicate_model"
