"""The migration that adds the sums over ingestion runs takes along what ran before it."""

from __future__ import annotations

import sqlalchemy as sa

from usage_pipeline.ledger import migrate
from usage_pipeline.ledger.server import connect_engine

_BEFORE = """
    INSERT INTO workspaces (slug, name, created_at) VALUES ('acme', 'acme', now());
    INSERT INTO feeds (workspace_id, source, slug, created_at)
        SELECT workspace_id, 'provider_api_key', 'acme.openai.main', now() FROM workspaces;
    INSERT INTO provider_keys (feed_id, provider, name, mode, account, account_stated, grain, base_url,
        secret_reference) SELECT feed_id, 'openai', 'main', 'admin', 'org', true, '1h', 'https://x', 'env:X' FROM feeds;
    INSERT INTO ingestion_runs (feed_id, stage, first_day, end_day, started_at, finished_at, outcome, figures,
        error_code) SELECT feed_id, 'raw_provider_pulls', '2026-11-10', '2026-11-11', '2026-11-12T00:00:00Z',
        CAST('2026-11-12T00:00:00Z' AS timestamptz) + seconds * interval '1 second', outcome,
        '{"requests": 3, "pages": 2, "rows": 10, "seconds_waited": 0.5}', code
        FROM feeds, (VALUES (1, 'processed', NULL), (61, 'processed', NULL), (7200, 'failed', 'rate_limited'))
        AS r (seconds, outcome, code)
"""


def test_what_ran_before_is_in_the_sums_and_the_way_back_keeps_the_runs(empty_database: str) -> None:
    migrate.upgrade(empty_database, "0010")
    engine = connect_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(_BEFORE)
    migrate.upgrade(empty_database, "0011")
    with engine.begin() as connection:
        totals = connection.execute(
            sa.text(
                "SELECT provider, outcome, runs, seconds, durations, requests FROM ingestion_totals ORDER BY 2 DESC"
            )
        ).all()
        issues = connection.execute(sa.text("SELECT provider, code, count FROM ingestion_issues")).all()
    assert [tuple(row) for row in totals] == [
        ("openai", "processed", 2, 62.0, [1, 0, 0, 0, 1, 0, 0, 0], 6),
        ("openai", "failed", 1, 7200.0, [0, 0, 0, 0, 0, 0, 0, 1], 3),
    ]
    assert [tuple(row) for row in issues] == [("openai", "rate_limited", 1)]
    migrate.downgrade(empty_database, "0010")
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ingestion_runs")).scalar() == 3
        assert not sa.inspect(connection).has_table("alerts")
    engine.dispose()
