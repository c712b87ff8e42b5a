"""One request rate per provider account, whoever asks."""

from __future__ import annotations

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.request_rates import SharedRate
from usage_pipeline.ledger.server import connect_engine


def test_two_clients_of_one_account_share_its_bucket(migrated_database: str) -> None:
    engine = connect_engine(migrated_database)
    slept: list[float] = []
    first, second = (
        SharedRate(engine, "openai", "org-1", requests_per_minute=60, burst=2, sleep=slept.append) for _ in range(2)
    )
    assert [first.wait(), second.wait()] == [0.0, 0.0]
    third, fourth = first.wait(), second.wait()
    engine.dispose()
    assert 0.5 < third <= 1.0
    assert third < fourth <= 2.0
    assert slept == [third, fourth]


def test_accounts_do_not_wait_for_each_other(migrated_database: str) -> None:
    engine = connect_engine(migrated_database)
    for account in ("org-1", "org-2"):
        rate = SharedRate(engine, "openai", account, requests_per_minute=1, burst=1, sleep=lambda _: None)
        assert rate.wait() == 0.0
    engine.dispose()


def test_a_server_on_this_machine_has_no_rate_unless_one_is_set(migrated_database: str) -> None:
    engine = connect_engine(migrated_database)
    here, there = "http://127.0.0.1:1/v1", "https://api.openai.com/v1"
    assert SharedRate.of_key(engine, "openai", "o", here, {})._per_minute is None
    assert SharedRate.of_key(engine, "openai", "o", there, {})._per_minute == 60
    stated = {"OPENAI_ADMIN_REQUESTS_PER_MINUTE": "7", "OPENAI_ADMIN_MAX_BURST": "3"}
    limited = SharedRate.of_key(engine, "openai", "o", here, stated)
    engine.dispose()
    assert (limited._per_minute, limited._burst) == (7, 3)


def test_a_rate_that_is_no_number_is_refused_by_name(migrated_database: str) -> None:
    engine = connect_engine(migrated_database)
    with pytest.raises(InvalidInputError, match="OPENAI_ADMIN_REQUESTS_PER_MINUTE"):
        SharedRate.of_key(engine, "openai", "o", "", {"OPENAI_ADMIN_REQUESTS_PER_MINUTE": "fast"})
    engine.dispose()
