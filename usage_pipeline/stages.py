"""The way of the data as functions: pull, Hermes' newest word, usage events, billed costs, reconcile.

Dagster's assets, the CLI and the tests call these and nothing below. Each takes a :class:`Runtime` and UTC days, does
its stage for them, and returns a summary; each can be run again and then changes nothing. No Dagster here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from usage_pipeline.clock import now
from usage_pipeline.credentials.discovery import accept_account, ask_account, former_account_note
from usage_pipeline.credentials.pseudonyms import Pseudonyms, load_pseudonyms
from usage_pipeline.credentials.registration import refuse_secret_of_another_workspace
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource, reveal
from usage_pipeline.errors import PermanentError, TransientError, UsagePipelineError
from usage_pipeline.ledger.feed_settings import FeedSettings, get_settings
from usage_pipeline.ledger.hermes_batches import newest_words, settle_newest_words
from usage_pipeline.ledger.hermes_feeds import list_hermes_feeds
from usage_pipeline.ledger.ingestion_runs import PULL_STAGE, IngestionRun
from usage_pipeline.ledger.migrate import fit_schema
from usage_pipeline.ledger.provider_keys import ProviderKey, get_provider_key, list_provider_keys
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.request_rates import SharedRate
from usage_pipeline.ledger.server import acquire, connect_engine, data_home
from usage_pipeline.ledger.settings_log import record_settings
from usage_pipeline.ledger.slices import note_attempt
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.names.refresh import (
    LIMITS,
    SECONDS_BESIDE_A_PULL,
    NamesSummary,
    has_names,
    names_are_due,
    note_names,
    refresh_account_names,
)
from usage_pipeline.normalise.hermes_days import normalise_hermes_days
from usage_pipeline.normalise.provider_days import normalise_provider_days
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.providers.contract import Provider
from usage_pipeline.providers.http import HttpLimits, ProviderClient
from usage_pipeline.providers.registry import providers
from usage_pipeline.pulls.pull import PullResult, pull_key
from usage_pipeline.reconcile.day import DayOutcome, reconcile_workspace_days
from usage_pipeline.reconcile.drift_findings import settle_drift_findings
from usage_pipeline.settings import Settings
from usage_pipeline.telemetry.logs import get_logger
from usage_pipeline.telemetry.redaction import remember_secret
from usage_pipeline.telemetry.stage_runs import events, record_stage, recorded_stage
from usage_pipeline.utc_days import days_between

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every stage needs: the store, the settings, the environment (for references and keys) and a clock."""

    engine: Engine
    settings: Settings
    environ: Mapping[str, str]
    home: Path
    clock: Callable[[], datetime]
    providers: Mapping[str, Provider]
    prices: PriceBook


@contextmanager
def open_runtime(environ: Mapping[str, str], clock: Callable[[], datetime] | None = None) -> Iterator[Runtime]:
    """Open the store that the environment names for as long as the block lasts.

    The embedded store is brought up to date; another one must have this code's schema (``schema_outdated``).
    """
    settings = Settings.from_environment(environ)
    clock = clock or (lambda: now(environ))
    with acquire(environ) as server:
        engine = connect_engine(server.url)
        try:
            fit_schema(engine, embedded=server.embedded, writes=True)
            with engine.begin() as connection:
                record_settings(connection, settings, clock())
            yield Runtime(
                engine, settings, environ, data_home(environ), clock, {p.name: p for p in providers()}, PriceBook()
            )
        finally:
            engine.dispose()


@dataclass(frozen=True, slots=True)
class PullSummary:
    """One key's pull of a range. ``skipped`` says why nothing was asked, None where it was; ``account_note`` what to do
    about days outside of the range, where the key's account turned out to be another than was assumed."""

    key: str
    first_day: date
    end_day: date
    endpoints: tuple[PullResult, ...]
    skipped: str | None = None
    account_note: str | None = None

    @property
    def changed_days(self) -> list[date]:
        """The days on which any endpoint's answer differs from what stood before."""
        return sorted(frozenset().union(*(result.changed_days for result in self.endpoints)))


@dataclass(frozen=True, slots=True)
class DaysSummary:
    """A normalising stage over days: rows by what became of them, rows read, and the days that moved."""

    changes: Changes
    rows: int
    days_moved: tuple[date, ...]


def pull_days(runtime: Runtime, key_slug: str, first_day: date, end_day: date) -> PullSummary:
    """Pull every endpoint of a key for the half-open range of days, complete or nothing per endpoint.

    A switched-off flag or key is a summary with ``skipped``, never an error. If an endpoint failed, the others' answers
    are kept and then the first failure is raised, a permanent one before a transient one. What an informational
    endpoint refuses for good fails nothing.
    """
    started_at = runtime.clock()
    with runtime.engine.begin() as connection:
        key = get_provider_key(connection, key_slug)
        dated = get_settings(connection, key.feed_id)
    skipped = why_skipped(runtime, key, dated.enabled_on(started_at.date()))
    if skipped:
        summary = PullSummary(key_slug, first_day, end_day, (), skipped)
        _record_pull(runtime, key, summary, started_at, None)
        return summary
    try:
        secret = secret_of(runtime, key)
        _ask_for_account(runtime, key, secret)
        results = [
            result
            for first, end, projects in _by_scope(dated, first_day, end_day)
            for result in _pull(runtime, key, secret, projects, first, end)
        ]
    except UsagePipelineError as error:
        _note_failed_attempt(runtime, key, first_day, end_day, started_at, error)
        _record_pull(runtime, key, PullSummary(key_slug, first_day, end_day, ()), started_at, error)
        raise
    with runtime.engine.begin() as connection:
        key = get_provider_key(connection, key_slug)  # its account may have been told
        note = former_account_note(connection, key, first_day, end_day)
    summary = PullSummary(key_slug, first_day, end_day, tuple(results), account_note=note)
    settle_drift_findings(runtime.engine, key, sorted({d for r in results for d in r.days}), started_at)
    informational = {e.name for e in runtime.providers[key.provider].endpoints if e.informational}
    failure = _gravest([r.error for r in results if r.error is not None and not _may_lack(r, informational)])
    _record_pull(runtime, key, summary, started_at, failure)
    if failure is not None:
        raise failure
    with runtime.engine.begin() as connection:
        names_due = names_are_due(connection, key, runtime.clock())
    if names_due:
        refresh_names(runtime, key_slug, seconds_max=SECONDS_BESIDE_A_PULL)
    return summary


def refresh_names(runtime: Runtime, key_slug: str, *, seconds_max: float | None = None) -> NamesSummary | None:
    """Ask for the names of projects, keys and users of the account behind a key; None where the key cannot be asked.

    What fails is in the summary and noted, never raised: names are for people to read.
    """
    started_at = runtime.clock()
    with runtime.engine.begin() as connection:
        key = get_provider_key(connection, key_slug)
        enabled = get_settings(connection, key.feed_id).enabled_on(started_at.date())
    if not has_names(key) or why_skipped(runtime, key, enabled):
        return None
    run_id = runtime.environ.get("USAGE_RUN_ID")
    try:
        pseudonyms = _pseudonyms(runtime, key)
        client = client_of(runtime, key, secret_of(runtime, key), LIMITS)
    except UsagePipelineError as error:
        failure = ("secret", error.code, error.line())
        summary = NamesSummary(key.slug, key.provider, key.account, {}, (failure,), 0, False)
        note_names(runtime.engine, key, summary, started_at, runtime.clock(), run_id)
        return summary
    with client:
        return refresh_account_names(
            runtime.engine,
            key,
            client,
            runtime.clock,
            seconds_max=seconds_max,
            run_id=run_id,
            pseudonyms=pseudonyms,
        )


def secret_of(runtime: Runtime, key: ProviderKey) -> Secret:
    """The key's secret, opened in memory. Raises what opening raises, and ``scope_overlaps`` where another workspace's
    key has the same."""
    rings = KeyRingSource(runtime.environ, runtime.home)
    secret = reveal(key, rings.existing() if key.secret_sealed is not None else None, runtime.environ)
    remember_secret(secret)
    with runtime.engine.begin() as connection:
        refuse_secret_of_another_workspace(connection, key, secret, rings, runtime.environ)
    return secret


def client_of(runtime: Runtime, key: ProviderKey, secret: Secret, limits: HttpLimits) -> ProviderClient:
    """A client that asks the key's provider, within the rate that all processes share."""
    rate = SharedRate.of_key(runtime.engine, key.provider, key.account, key.base_url, runtime.environ)
    return ProviderClient(
        runtime.providers[key.provider],
        secret,
        base_url=key.base_url,
        rate_limiter=rate,
        limits=limits,
        clock=runtime.clock,
    )


def _ask_for_account(runtime: Runtime, key: ProviderKey, secret: Secret) -> None:
    """Ask which account the key belongs to, while the provider has not told it. Raises what ``accept_account`` does."""
    if key.is_account_told_by_this_secret:
        return
    # With a client of its own, so that what it costs is no part of the pull's figures.
    with client_of(runtime, key, secret, LIMITS) as client:
        told = ask_account(client)
    if told is not None:
        _accept_account(runtime, key, told)


def _accept_account(runtime: Runtime, key: ProviderKey, told: str) -> None:
    with runtime.engine.begin() as connection:
        accept_account(connection, key.slug, told, runtime.clock())


def _pull(
    runtime: Runtime, key: ProviderKey, secret: Secret, projects: Sequence[str], first_day: date, end_day: date
) -> list[PullResult]:
    limits = HttpLimits(read_s=runtime.settings.http_timeout_seconds, attempts_max=runtime.settings.http_attempts)
    pseudonyms = _pseudonyms(runtime, key)
    with client_of(runtime, key, secret, limits) as client:
        return pull_key(
            runtime.engine,
            key,
            runtime.providers[key.provider],
            client,
            projects,
            first_day,
            end_day,
            runtime.clock,
            environ=runtime.environ,
            accept_account=partial(_accept_account, runtime, key),
            pseudonyms=pseudonyms,
        )


def _pseudonyms(runtime: Runtime, key: ProviderKey) -> Pseudonyms | None:
    """What replaces the erased ids of the key's provider. Raises what opening the key ring raises."""
    with runtime.engine.begin() as connection:
        return load_pseudonyms(connection, key.provider, KeyRingSource(runtime.environ, runtime.home))


def _note_failed_attempt(
    runtime: Runtime, key: ProviderKey, first_day: date, end_day: date, at: datetime, error: UsagePipelineError
) -> None:
    """Note on every slice that it was tried, where not even the first request could be made (a secret that is gone)."""
    days = [day for day in days_between(first_day, end_day) if day <= at.date()]
    with runtime.engine.begin() as connection:
        for endpoint in runtime.providers[key.provider].endpoints:
            if key.mode in endpoint.modes:
                note_attempt(connection, key.feed_id, endpoint.name, days, at, (error.code, error.line()))


def _by_scope(dated: FeedSettings, first_day: date, end_day: date) -> Iterator[tuple[date, date, tuple[str, ...]]]:
    """The range cut where the key's scope changes: each part is asked for under the scope that held on its days."""
    for projects, days in groupby(days_between(first_day, end_day), key=dated.projects_on):
        listed = list(days)
        yield listed[0], listed[-1] + timedelta(days=1), projects


def why_skipped(runtime: Runtime, key: ProviderKey, enabled: bool) -> str | None:
    """Why a key is not pulled at all; None where it is."""
    if not runtime.settings.admin_ingestion_enabled:
        return "admin ingestion is turned off (USAGE_ADMIN_INGESTION_ENABLED)"
    if key.provider in runtime.settings.disabled_providers:
        return f"the provider {key.provider} is turned off (USAGE_DISABLED_PROVIDERS)"
    if not enabled:
        return "the key is disabled"
    if not any(key.mode in endpoint.modes for endpoint in runtime.providers[key.provider].endpoints):
        return f"{key.provider} has no endpoint that a {key.mode} key may ask"
    return None


def _may_lack(result: PullResult, informational: Set[str]) -> bool:
    """Whether the key's pull is whole without this endpoint: its figures are not counted, and the account has it not
    (an organisation without Claude Code). The refusal stays noted with the pull."""
    error = result.error
    return (
        result.endpoint in informational
        and isinstance(error, PermanentError)
        and error.code != "account_contradicted"  # that is about the key, not about this endpoint
    )


def _gravest(errors: Sequence[UsagePipelineError]) -> UsagePipelineError | None:
    ranked = sorted(
        errors, key=lambda error: isinstance(error, TransientError) and not isinstance(error, PermanentError)
    )
    return ranked[0] if ranked else None


def settle_hermes_days(runtime: Runtime, days: Sequence[date]) -> DaysSummary:
    """Settle which batch is the newest word of each Hermes feed on each day."""
    with _recorded(runtime, "hermes_rollups", days) as figures:
        with runtime.engine.begin() as connection:
            moved = settle_newest_words(connection, days)
            words = newest_words(connection, days)
        figures |= {"windows": moved, "keys_processed": len({word.feed_id for word in words})}
    return DaysSummary(Changes(stored=moved), len(words), tuple(sorted({word.day for word in words})))


def normalise_usage(runtime: Runtime, days: Sequence[date]) -> DaysSummary:
    """Make the usage events of every feed on the days equal to what the feed's newest complete word says."""
    with _recorded(runtime, "usage_events", days) as figures:
        done = _normalise_endpoints(runtime, days, "usage", figures)
        with runtime.engine.begin() as connection:
            feeds = {feed.feed_id: feed for feed in list_hermes_feeds(connection)}
            words = newest_words(connection, days)
        changes, moved = done.changes, set(done.days_moved)
        for feed_id, feed in feeds.items():
            of_feed = [word for word in words if word.feed_id == feed_id]
            by_feed = normalise_hermes_days(runtime.engine, feed, of_feed, runtime.clock())
            changes += by_feed.changes
            moved |= by_feed.days_moved
            figures["windows"] += len(by_feed.days_moved)
            figures["keys_processed"] += bool(of_feed)
            figures["events"] = events(changes)
    return DaysSummary(changes, done.rows, tuple(sorted(moved)))


def normalise_bills(runtime: Runtime, days: Sequence[date]) -> DaysSummary:
    """Make the billed lines of every key on the days equal to what its newest complete pull says."""
    with _recorded(runtime, "billed_costs", days) as figures:
        return _normalise_endpoints(runtime, days, "costs", figures)


def _normalise_endpoints(runtime: Runtime, days: Sequence[date], kind: str, figures: dict[str, Any]) -> DaysSummary:
    """As :func:`normalise_usage`, of the provider keys alone; ``figures`` get what was done so far."""
    changes, rows, moved = Changes(), 0, set[date]()
    figures |= {"keys_processed": 0, "windows": 0, "rows": 0, "events": events(changes)}
    with runtime.engine.begin() as connection:
        keys = list_provider_keys(connection)
    for key in keys:
        provider = runtime.providers.get(key.provider)
        for endpoint in provider.endpoints if provider else ():
            if provider is None or endpoint.kind != kind or key.mode not in endpoint.modes:
                continue
            settling = runtime.settings.settling_of(key.provider)
            done = normalise_provider_days(runtime.engine, key, provider, endpoint, days, runtime.clock(), settling)
            changes += done.changes
            rows += done.rows
            moved |= done.days_moved
            figures |= {"windows": figures["windows"] + len(done.days_moved), "rows": rows, "events": events(changes)}
        figures["keys_processed"] += 1
    return DaysSummary(changes, rows, tuple(sorted(moved)))


def reconcile_days(runtime: Runtime, days: Sequence[date]) -> list[DayOutcome]:
    """Reconcile every workspace on the days, and on their neighbours whose findings hang on them."""
    with _recorded(runtime, "reconciled_usage", days) as figures:
        with runtime.engine.begin() as connection:
            workspaces = list_workspaces(connection)
        at = runtime.clock()
        outcomes = [
            outcome
            for workspace in workspaces
            for outcome in reconcile_workspace_days(
                runtime.engine, workspace, days, at, runtime.providers, runtime.prices, runtime.settings
            )
        ]
        figures |= {
            "workspaces": len(workspaces),
            "windows": len(outcomes),
            "events": events(sum((outcome.changes for outcome in outcomes), Changes())),
            "findings_open": sum(outcome.findings for outcome in outcomes),
            "findings_moved": sum(outcome.findings_moved for outcome in outcomes),
        }
    return outcomes


def _recorded(runtime: Runtime, stage: str, days: Sequence[date]) -> AbstractContextManager[dict[str, Any]]:
    return recorded_stage(runtime.engine, runtime.clock, runtime.environ.get("USAGE_RUN_ID"), stage, days)


def _record_pull(
    runtime: Runtime, key: ProviderKey, summary: PullSummary, started_at: datetime, error: UsagePipelineError | None
) -> None:
    outcome = "failed" if error else "skipped" if summary.skipped else "processed"
    for result in summary.endpoints:
        _log.info(
            "pull",
            key=key.slug,
            endpoint=result.endpoint,
            first_day=summary.first_day,
            end_day=summary.end_day,
            days=len(result.days),
            days_changed=len(result.changed_days),
            days_out_of_reach=len(result.days_out_of_reach) or None,
            rows=result.rows,
            pages=result.pages,
            requests=result.requests,
            seconds_waited=round(result.seconds_waited, 3),
            outcome="failed" if result.error else "complete",
            error=result.error.line() if result.error else None,
        )
    codes = Counter(result.error.code for result in summary.endpoints if result.error is not None)
    codes["lookback_exceeded"] += sum(bool(result.days_out_of_reach) for result in summary.endpoints)
    if error is not None and not codes[error.code]:
        codes[error.code] += 1  # of before the first request: a secret that is gone
    record_stage(
        runtime.engine,
        IngestionRun(
            orchestrator_run_id=runtime.environ.get("USAGE_RUN_ID"),
            feed_id=key.feed_id,
            stage=PULL_STAGE,
            first_day=summary.first_day,
            end_day=summary.end_day,
            started_at=started_at,
            finished_at=max(runtime.clock(), started_at),
            outcome=outcome,
            figures={
                "rows": sum(r.rows for r in summary.endpoints),
                "pages": sum(r.pages for r in summary.endpoints),
                "requests": sum(r.requests for r in summary.endpoints),
                "seconds_waited": sum(r.seconds_waited for r in summary.endpoints),
                "windows": sum(len(r.days) for r in summary.endpoints),
                "changed_days": len(summary.changed_days),
                "skipped": summary.skipped,
            },
            error=(error.code, error.line()) if error else None,
            issues={code: count for code, count in sorted(codes.items()) if count},
        ),
        key=key.slug,
    )
