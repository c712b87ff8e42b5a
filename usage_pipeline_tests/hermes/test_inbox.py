"""The inbox keeps every payload, and order of arrival does not matter."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine, text

from usage_pipeline.hermes.inbox import RefusalLimits, receive
from usage_pipeline.hermes.payload import PayloadRefusedError
from usage_pipeline.ledger.hermes_batches import batch_body, newest_words, settle_newest_words
from usage_pipeline.ledger.hermes_feeds import HermesFeed, add_hermes_feed, get_hermes_feed
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def engine(migrated_database: str) -> Any:
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


@pytest.fixture
def feed(engine: Engine) -> HermesFeed:
    with engine.begin() as connection:
        workspace = add_workspace(connection, "acme", name=None, now=NOW)
        return add_hermes_feed(connection, workspace, "laptop", "production", days_back=3, now=NOW)


def payload(generated_at: datetime, output: int = 10, *, workspace: str = "hermes-usage") -> bytes:
    model = {
        "model": "gpt-5",
        "provider": "OpenAI",
        "requests": 1,
        "tokens": output,
        "inputTokens": 0,
        "outputTokens": output,
        "cacheReadTokens": 0,
        "cacheWriteTokens": 0,
        "reasoningTokens": 0,
        "estimatedCostUsd": 0.5,
        "actualCostUsd": None,
        "actualCostObservedSessions": 0,
        "actualCostObservedTokens": 0,
    }
    bucket = {
        "usageDate": generated_at.date().isoformat(),
        "requests": 1,
        "totalTokens": output,
        "inputTokens": 0,
        "outputTokens": output,
        "cachedTokens": 0,
        "reasoningTokens": 0,
        "estimatedCostUsd": 0.5,
        "actualCostUsd": None,
        "actualCostObservedSessions": 0,
        "actualCostObservedTokens": 0,
        "models": [model],
    }
    return json.dumps(
        {
            "environment": "production",
            "generatedAt": generated_at.isoformat().replace("+00:00", "Z"),
            "sourceLabel": "laptop",
            "workspace": {"slug": workspace, "name": "Hermes Usage", "provider": "Hermes"},
            "rollups": [bucket],
        }
    ).encode()


def counted(engine: Engine) -> list[tuple[bool, int]]:
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT accepted, count(*) FROM hermes_batches GROUP BY 1 ORDER BY 1"))
        return [(row[0], row[1]) for row in rows]


def test_a_batch_is_kept_verbatim_before_anything_is_made_of_it(engine: Engine, feed: HermesFeed) -> None:
    body = payload(NOW)
    with engine.begin() as connection:
        receipt = receive(connection, feed, body, NOW)
    with engine.begin() as connection:
        assert batch_body(connection, receipt.batch_id) == (body, NOW)
    assert receipt.changed_days == (date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20))


def test_the_same_batch_twice_is_one_batch(engine: Engine, feed: HermesFeed) -> None:
    receipts = []
    for body in (payload(NOW), b" " + payload(NOW)):
        with engine.begin() as connection:
            receipts.append(receive(connection, feed, body, NOW))
    assert [receipt.duplicate for receipt in receipts] == [False, True]
    assert receipts[1].changed_days == ()
    assert counted(engine) == [(True, 1)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_word_is_the_same_in_any_order_of_arrival(
    engine: Engine, feed: HermesFeed, order: tuple[int, ...]
) -> None:
    bodies = [payload(NOW - timedelta(hours=hours), output=hours + 1) for hours in (0, 1, 2)]
    newest = None
    for position in order:
        with engine.begin() as connection:
            receipt = receive(connection, feed, bodies[position], NOW)
            settle_newest_words(connection, [NOW.date()])
        newest = receipt.batch_id if position == 0 else newest
    with engine.begin() as connection:
        assert [word.batch_id for word in newest_words(connection, [NOW.date()])] == [newest]


def test_a_refused_payload_is_kept_with_the_reason(engine: Engine, feed: HermesFeed) -> None:
    with engine.begin() as connection, pytest.raises(PayloadRefusedError, match="payload_not_json"):
        receive(connection, feed, b"<html>", NOW)
    with engine.begin() as connection:
        row = connection.execute(text("SELECT accepted, refused_code, refused_why FROM hermes_batches")).one()
    assert (row.accepted, row.refused_code) == (False, "payload_not_json")
    assert "payload_not_json" in row.refused_why


def test_two_installs_cannot_overwrite_each_other_through_one_feed(engine: Engine, feed: HermesFeed) -> None:
    with engine.begin() as connection:
        receive(connection, feed, payload(NOW, workspace="one"), NOW)
    with engine.begin() as connection:
        bound = get_hermes_feed(connection, feed.slug)
        with pytest.raises(PayloadRefusedError, match="payload_labels_contradict"):
            receive(connection, bound, payload(NOW, workspace="other"), NOW)
    assert counted(engine) == [(False, 1), (True, 1)]


def test_a_late_older_batch_is_the_newest_word_only_where_no_newer_one_speaks(engine: Engine, feed: HermesFeed) -> None:
    with engine.begin() as connection:
        receive(connection, feed, payload(NOW), NOW)
        late = receive(connection, feed, payload(NOW - timedelta(days=1)), NOW)
    assert late.changed_days == (date(2026, 11, 17),)


def test_refusals_are_kept_within_the_limits_of_a_day(engine: Engine, feed: HermesFeed) -> None:
    limits = RefusalLimits(payloads=2, bytes=100)
    for day in range(2):
        for body in (b"x" * 200, b"one", b"one", b"two", b"three"):
            at = NOW + timedelta(days=day)
            with engine.begin() as connection, pytest.raises(PayloadRefusedError):
                receive(connection, feed, b"%d" % day + body, at, refusals=limits)
    assert counted(engine) == [(False, 4)]
