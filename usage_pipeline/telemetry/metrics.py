"""The metrics of the pipeline for Prometheus, made of the store's figures at each look.

Whichever process did the work, the figures are those of the store. A look is kept for some seconds, so that many
scrapers cost one. docs/operations.md has every name and is tested against :data:`METRICS`.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine

from usage_pipeline.alerts.facts import missing_days, watched_keys
from usage_pipeline.ledger.feed_settings import utc_day
from usage_pipeline.ledger.ingestion_runs import DURATION_BOUNDS, PULL_STAGE
from usage_pipeline.ledger.metrics import (
    StageTotals,
    batch_counts,
    cost_variances,
    issue_counts,
    newest_windows,
    open_alert_counts,
    open_finding_counts,
    stage_totals,
)
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.settings import Settings

KEPT_SECONDS: Final = 10.0

_CHANGES: Final = ("stored", "updated", "removed", "unchanged")


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric: its name as it is exposed, its kind, its labels, and what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str


RUNS: Final = MetricName(
    "ingestion_runs_total", "counter", ("provider", "outcome"), "Pulls of a provider's keys by what became of them."
)
STAGE_RUNS: Final = MetricName(
    "usage_pipeline_stage_runs_total", "counter", ("stage", "outcome"), "Runs of every stage by what became of them."
)
DURATION: Final = MetricName(
    "ingestion_duration_seconds", "histogram", ("stage",), "How long runs of a stage took, failed ones included."
)
REQUESTS: Final = MetricName("ingestion_requests_total", "counter", ("provider",), "Requests that pulls sent.")
PAGES: Final = MetricName("ingestion_pages_total", "counter", ("provider",), "Pages that pulls read.")
WAITED: Final = MetricName(
    "ingestion_wait_seconds_total", "counter", ("provider",), "Seconds that pulls waited for rates and retries."
)
EVENTS: Final = MetricName(
    "ingestion_events_total", "counter", ("stage", "change"), "Rows of a stage: stored, updated, removed, unchanged."
)
ISSUES: Final = MetricName(
    "ingestion_issues_total", "counter", ("provider", "code"), "What went wrong in runs, by the error's code."
)
MISSING: Final = MetricName(
    "ingestion_windows_missing", "gauge", ("provider",), "Days of enabled keys without a complete pull in time."
)
LAG: Final = MetricName(
    "newest_window_lag_seconds",
    "gauge",
    ("workspace", "provider", "key"),
    "Time since the end of what an enabled key's newest pull covers; absent where it has none.",
)
VARIANCE: Final = MetricName(
    "cost_variance_ratio",
    "gauge",
    ("workspace", "provider", "account"),
    "Computed minus billed, as a part of billed, over an account's newest 30 final days.",
)
KEYS: Final = MetricName("usage_pipeline_keys_enabled", "gauge", ("provider",), "Provider keys that are enabled.")
FINDINGS: Final = MetricName(
    "usage_pipeline_findings_open", "gauge", ("code",), "Open findings that nobody acknowledged."
)
ALERTS: Final = MetricName("usage_pipeline_alerts_open", "gauge", ("cause", "severity"), "Open alerts.")
UNTOLD: Final = MetricName(
    "usage_pipeline_alerts_undelivered", "gauge", ("cause", "severity"), "Open alerts that not every receiver accepted."
)
BATCHES: Final = MetricName(
    "usage_pipeline_hermes_batches_total", "counter", ("outcome",), "Hermes batches that are kept: accepted, refused."
)

METRICS: Final = (
    RUNS,
    STAGE_RUNS,
    DURATION,
    REQUESTS,
    PAGES,
    WAITED,
    EVENTS,
    ISSUES,
    MISSING,
    LAG,
    VARIANCE,
    KEYS,
    FINDINGS,
    ALERTS,
    UNTOLD,
    BATCHES,
)


class StoreMetrics(Collector):
    """Collects the metrics from a store. Safe for several threads."""

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._look = threading.Lock()
        self._kept: tuple[float, list[Metric]] | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """Every metric in Prometheus' text format. Raises what reading the store raises."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering opens no store."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The metrics as of now, or as of some seconds ago."""
        with self._look:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    found = list(_families(connection, self._settings, self._clock()))
                self._kept = (time.monotonic(), found)
            return self._kept[1]


def _families(connection: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    totals = stage_totals(connection)
    pulls = [one for one in totals if one.stage == PULL_STAGE]
    yield _counter(RUNS, {(one.provider, one.outcome): one.runs for one in pulls})
    yield _counter(STAGE_RUNS, _summed(totals, lambda one: (one.stage, one.outcome), lambda one: one.runs))
    yield _durations(totals)
    yield _counter(REQUESTS, _summed(pulls, lambda one: (one.provider,), lambda one: one.requests))
    yield _counter(PAGES, _summed(pulls, lambda one: (one.provider,), lambda one: one.pages))
    yield _counter(WAITED, _summed(pulls, lambda one: (one.provider,), lambda one: one.seconds_waited))
    yield _counter(EVENTS, _events(totals))
    yield _counter(ISSUES, {(provider, code): count for provider, code, count in issue_counts(connection)})
    keys = watched_keys(connection, now)
    yield from _of_keys(connection, keys, settings, now)
    yield _gauge(
        VARIANCE,
        {
            (one.workspace, one.provider, one.account): float((one.computed_usd - one.billed_usd) / one.billed_usd)
            for one in cost_variances(connection, utc_day(now))
        },
    )
    yield _gauge(FINDINGS, {(code,): count for code, count in open_finding_counts(connection)})
    alerts = open_alert_counts(connection)
    yield _gauge(ALERTS, {(cause, severity): count for cause, severity, count, _ in alerts})
    yield _gauge(UNTOLD, {(cause, severity): untold for cause, severity, _, untold in alerts})
    accepted, refused = batch_counts(connection)
    yield _counter(BATCHES, {("accepted",): accepted, ("refused",): refused})


def _of_keys(connection: Connection, keys: list[ProviderKey], settings: Settings, now: datetime) -> Iterator[Metric]:
    by_feed = {key.feed_id: key for key in keys}
    enabled: dict[tuple[str, ...], float] = defaultdict(float)
    missing: dict[tuple[str, ...], float] = {(key.provider,): 0 for key in keys}
    for key in keys:
        enabled[(key.provider,)] += 1
    for feed_id, days in missing_days(connection, keys, settings, now).items():
        missing[(by_feed[feed_id].provider,)] += len(days)
    lags: dict[tuple[str, ...], float] = {
        (key.workspace, key.provider, key.slug): (now - window.covered_until).total_seconds()
        for window in newest_windows(connection, list(by_feed))
        if window.covered_until is not None
        for key in (by_feed[window.feed_id],)
    }
    yield _gauge(KEYS, enabled)
    yield _gauge(MISSING, missing)
    yield _gauge(LAG, lags)


def _events(totals: Iterable[StageTotals]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for one in totals:
        changes = (one.events_stored, one.events_updated, one.events_removed, one.events_unchanged)
        for change, count in zip(_CHANGES, changes, strict=True):
            found[(one.stage, change)] += count
    return found


def _summed(
    totals: Iterable[StageTotals],
    labels: Callable[[StageTotals], tuple[str, ...]],
    value: Callable[[StageTotals], float],
) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for one in totals:
        found[labels(one)] += value(one)
    return found


def _durations(totals: Iterable[StageTotals]) -> Metric:
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(DURATION_BOUNDS) + 1))
    seconds: dict[str, float] = defaultdict(float)
    for one in totals:
        counts[one.stage] = [a + b for a, b in zip(counts[one.stage], one.durations, strict=True)]
        seconds[one.stage] += one.seconds
    family = HistogramMetricFamily(DURATION.name, DURATION.doc, labels=DURATION.labels)
    for stage, by_place in counts.items():
        running, buckets = 0, []
        for bound, count in zip((*map(str, map(float, DURATION_BOUNDS)), "+Inf"), by_place, strict=True):
            running += count
            buckets.append((bound, running))
        family.add_metric((stage,), buckets=buckets, sum_value=seconds[stage])
    return family


def _counter(name: MetricName, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name.name.removesuffix("_total"), name.doc, labels=name.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _gauge(name: MetricName, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name.name, name.doc, labels=name.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
