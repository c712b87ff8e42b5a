"""``usage-pipeline runs``: the newest runs with their figures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from usage_pipeline.ledger.ingestion_runs import IngestionRun, record_run
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.telemetry.stage_runs import events
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import add

AT = datetime(2026, 11, 21, 11, tzinfo=UTC)
D = date(2026, 11, 20)


def test_the_newest_runs_are_listed_with_their_figures(acme: CommandLine, engine: sa.Engine) -> None:
    assert "No run is recorded." in acme.done("runs").out
    acme.environ["OPENAI_ADMIN_KEY"] = "sk-admin-0123456789"
    acme.done(*add())
    with engine.begin() as connection:
        (feed_id,) = connection.exec_driver_sql("SELECT feed_id FROM provider_keys").scalars()
        for stage, feed, figures, error in (
            ("usage_events", None, {"windows": 3, "events": events(Changes(5, 4, 3, 2))}, None),
            ("raw_provider_pulls", feed_id, {"rows": 7, "requests": 2}, ("rate_limited", "[rate_limited] HTTP 429.")),
        ):
            run = IngestionRun(
                orchestrator_run_id="run-1",
                feed_id=feed,
                stage=stage,
                first_day=D,
                end_day=D + timedelta(days=2),
                started_at=AT,
                finished_at=AT + timedelta(seconds=5),
                outcome="failed" if error else "processed",
                figures=figures,
                error=error,
                issues={error[0]: 1} if error else {},
            )
            record_run(connection, run)
    table = acme.done("runs").out
    for word in ("usage_events", "2026-11-20 to 2026-11-21", "acme.openai.main", "[rate_limited] HTTP 429."):
        assert word in table
    pull, usage = acme.done("runs", "--json").json
    assert (pull["provider"], pull["issues"], pull["seconds"]) == ("openai", {"rate_limited": 1}, 5.0)
    assert usage["figures"]["events"] == {"stored": 5, "updated": 4, "removed": 3, "unchanged": 2}
    assert [one["stage"] for one in acme.done("runs", "--key", "acme.openai.main", "--json").json] == [
        "raw_provider_pulls"
    ]
    acme.refused("slug_malformed", "runs", "--key", "acme")
