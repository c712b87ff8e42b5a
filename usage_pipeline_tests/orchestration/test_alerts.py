"""What Dagster and the store tell is alerted, once, and its recovery; ticks of the real sensor on a real receiver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from usage_pipeline.ledger.alerts import StoredAlert, list_alerts
from usage_pipeline.orchestration.alerts import alerts
from usage_pipeline.orchestration.partitions import DaySpan, day_range_tags
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_conditions import updated
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline.settings import Settings
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, OPENAI, Pipeline, day

ONE_EVENT = (
    "(slice_id, event_id) IN (SELECT slice_id, event_id FROM usage_events JOIN slices USING (slice_id)"
    " JOIN feeds USING (feed_id) WHERE day = :day AND source = 'provider_api_key' ORDER BY 1, 2 LIMIT 1)"
)


@dataclass
class Watched:
    """The pipeline with the sensor beside it."""

    pipeline: Pipeline
    instance: dg.DagsterInstance
    receiver: LoopbackReceiver
    cursor: str | None = None

    def tick(self, **environ: str) -> Any:
        """Evaluate the sensor as the daemon does, with its cursor."""
        runtime = self.pipeline.runtime
        told = {**runtime.environ, "USAGE_ALERT_URLS": self.receiver.url, **environ}
        opened = replace(runtime, environ=told, settings=Settings.from_environment(told))
        context = dg.build_sensor_context(
            self.pipeline.instance,
            cursor=self.cursor,
            repository_def=self.pipeline.defs.get_repository_def(),
            resources={"runtime": RuntimeResource(opened)},
        )
        done = alerts.evaluate_tick(context)
        self.cursor = done.cursor
        return done

    def alerts(self) -> list[StoredAlert]:
        with self.pipeline.runtime.engine.connect() as connection:
            return list_alerts(connection, 100, open_only=False)

    def open(self, *causes: str) -> dict[str, str]:
        """What is open of these causes: the place, and what it says."""
        return {
            alert.state.place: alert.state.what
            for alert in self.alerts()
            if alert.state.recovered_at is None and alert.state.cause in causes
        }


@pytest.fixture
def watched(pipeline: Pipeline) -> Iterator[Watched]:
    with receiving() as receiver:
        yield Watched(pipeline, pipeline.instance, receiver)


def test_a_failed_blocking_check_is_told_and_over_when_the_partition_passes(watched: Watched) -> None:
    pipeline, two = watched.pipeline, DaySpan(day(0), day(2))
    assert pipeline.pull(span=two).success
    assert pipeline.process(two, ["usage_events"]).success
    watched.tick()
    assert pipeline.execute(f"UPDATE usage_events SET reasoning = output + 1 WHERE {ONE_EVENT}", day=day(1)) == 1
    assert not pipeline.process(two, ["usage_events"]).success
    watched.tick()
    ((place, what),) = watched.open("check_failed").items()
    assert place == "usage_events / token_classes_add_up"
    assert what.startswith(f"{day(1)}: acme.openai.main completions: 1 rows have reasoning above")
    assert what.endswith("What comes after waits for it.")
    assert watched.open("run_failed") == {}  # it is the same failure
    # A later run of another day does not end it; one of the same day that passes does.
    assert pipeline.process(DaySpan(day(0), day(1)), ["usage_events"]).success
    watched.tick()
    assert place in watched.open("check_failed")
    assert pipeline.execute("UPDATE usage_events SET reasoning = 0 WHERE reasoning > output") == 1
    assert pipeline.process(DaySpan(day(1), day(2)), ["usage_events"]).success
    watched.tick()
    assert watched.open("check_failed") == {}
    assert watched.receiver.titles == [f"[error] check_failed: {place}", f"[recovered] check_failed: {place}"]


def test_a_check_that_shows_what_has_a_cause_of_its_own_is_not_told_twice(watched: Watched) -> None:
    pipeline = watched.pipeline
    pipeline.execute("UPDATE feeds SET created_at = :at", at=f"{day(0)}T00:00:00Z")
    result = pipeline.process(DaySpan(day(0), day(1)), ["reconciled_usage"])
    assert {one.check_name for one in result.get_asset_check_evaluations() if not one.passed} >= {"data_is_fresh"}
    watched.tick()
    assert watched.open("data_stale").keys() == {OPENAI, ANTHROPIC}
    assert watched.open("check_failed", "check_warned") == {}


def test_a_failed_run_is_told_and_over_when_its_days_were_made(watched: Watched, sandbox: SandboxServer) -> None:
    pipeline = watched.pipeline
    pipeline.execute("UPDATE provider_keys SET base_url = 'http://127.0.0.1:9' WHERE provider = 'openai'")
    assert not pipeline.pull().success
    watched.tick()
    ((place, what),) = watched.open("run_failed").items()
    assert place == f"raw_provider_pulls of {OPENAI}"
    assert what.startswith(f"{day(0)} to {day(2)} (3 days): [provider_unreachable]")
    pipeline.execute("UPDATE provider_keys SET base_url = :url WHERE provider = 'openai'", url=sandbox.openai_base_url)
    assert pipeline.pull(span=DaySpan(day(0), day(2))).success
    assert pipeline.pull(ANTHROPIC).success
    watched.tick()
    assert place in watched.open("run_failed")  # its third day was not made
    assert pipeline.pull(span=DaySpan(day(2), day(3))).success
    watched.tick()
    assert watched.open("run_failed") == {}


def test_a_failed_pull_of_days_that_are_final_is_over_when_the_key_answers_again(
    watched: Watched, sandbox: SandboxServer
) -> None:
    pipeline = watched.pipeline
    assert pipeline.pull().success  # days that settled long ago
    pipeline.execute("UPDATE provider_keys SET base_url = 'http://127.0.0.1:9' WHERE provider = 'openai'")
    assert not pipeline.pull().success
    watched.tick()
    assert watched.open("run_failed")
    pipeline.execute("UPDATE provider_keys SET base_url = :url WHERE provider = 'openai'", url=sandbox.openai_base_url)
    assert pipeline.pull(span=DaySpan(day(3), day(4))).success  # no day that failed
    watched.tick()
    assert watched.open("run_failed") == {}


def test_a_lost_cursor_changes_nothing(watched: Watched) -> None:
    watched.pipeline.execute("UPDATE provider_keys SET base_url = 'http://127.0.0.1:9' WHERE provider = 'openai'")
    watched.pipeline.pull()
    watched.tick()
    before = [alert.state.occurrence_count for alert in watched.alerts()]
    told = len(watched.receiver.got)
    watched.cursor = None
    assert watched.pipeline.execute("DELETE FROM alert_looks") == 1
    watched.tick()
    assert [alert.state.occurrence_count for alert in watched.alerts()] == before
    assert len(watched.receiver.got) == told


def test_a_refused_key_is_told_without_its_runs(watched: Watched) -> None:
    pipeline = watched.pipeline
    secret = pipeline.runtime.environ["OPENAI_SECRET"]
    pipeline.runtime.environ["OPENAI_SECRET"] = "sk-admin-revoked-000000"
    for _ in range(2):
        assert not pipeline.pull().success
    watched.tick()
    assert watched.open("key_refused").keys() == {OPENAI}
    assert "[credential_refused]" in watched.open("key_refused")[OPENAI]
    assert watched.open("run_failed") == {}
    (alert,) = [alert for alert in watched.alerts() if alert.state.cause == "key_refused"]
    assert alert.state.occurrence_count == 2
    pipeline.runtime.environ["OPENAI_SECRET"] = secret
    assert pipeline.pull().success
    watched.tick()
    assert watched.open("key_refused") == {}


def test_a_run_that_takes_too_long_is_told_until_it_is_over(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    run = dg.DagsterRun(
        job_name="settle_hermes", status=dg.DagsterRunStatus.STARTED, tags=day_range_tags(DaySpan(day(0), day(1)))
    )
    watched.instance.add_run(run)
    watched.tick()
    assert watched.open("run_overdue") == {}
    monkeypatch.setattr("usage_pipeline.orchestration.alerts.datetime", _InTwoHours)
    watched.tick(USAGE_ALERT_RUN_MINUTES="0")
    assert watched.open("run_overdue") == {}
    watched.tick()
    assert watched.open("run_overdue") == {"hermes_rollups": "The run is started for 120 minutes; expected are 60."}
    watched.instance.run_storage.delete_run(run.run_id)
    watched.tick()
    assert watched.open("run_overdue") == {}


class _InTwoHours(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) + timedelta(hours=2)


def test_a_tick_fails_where_a_receiver_refuses_and_is_done_again(watched: Watched) -> None:
    watched.pipeline.execute("UPDATE feeds SET created_at = :at", at=f"{day(0)}T00:00:00Z")
    watched.receiver.status = 500
    with pytest.raises(dg.Failure, match="alerts_not_accepted"):
        watched.tick()
    watched.receiver.status = 200
    assert "told" in watched.tick().skip_message
    assert len(watched.receiver.got) == 1


def test_a_receiver_that_refuses_holds_no_looking_back(watched: Watched) -> None:
    pipeline = watched.pipeline
    watched.receiver.status = 500
    pipeline.execute("UPDATE provider_keys SET base_url = 'http://127.0.0.1:9' WHERE provider = 'openai'")
    for _ in range(2):
        assert not pipeline.pull().success
        with pytest.raises(dg.Failure, match="alerts_not_accepted"):
            watched.tick()
        newest = max(updated(record) for record in watched.instance.get_run_records())
        assert pipeline.scalar("SELECT looked_until FROM alert_looks") == newest
    (alert,) = [alert for alert in watched.alerts() if alert.state.cause == "run_failed"]
    assert alert.state.occurrence_count == 2


def test_what_another_instance_looked_at_is_not_taken_for_looked_at(watched: Watched) -> None:
    pipeline = watched.pipeline
    pipeline.execute("INSERT INTO alert_looks VALUES ('another', now() + interval '1 hour')")
    pipeline.execute("UPDATE provider_keys SET base_url = 'http://127.0.0.1:9' WHERE provider = 'openai'")
    pipeline.pull()
    watched.tick()
    assert watched.open("run_failed").keys() == {f"raw_provider_pulls of {OPENAI}"}


def test_without_a_url_no_tick_fails(watched: Watched) -> None:
    watched.pipeline.execute("UPDATE feeds SET created_at = :at", at=f"{day(0)}T00:00:00Z")
    watched.tick(USAGE_ALERT_URLS="")
    watched.tick(USAGE_ALERT_URLS="")
    assert {tuple(alert.deliveries) for alert in watched.alerts()} == {("none",)}
