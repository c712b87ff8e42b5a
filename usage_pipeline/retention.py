"""Retention: what of the past goes, by settings that are all off at first, and what is held back and why.

Nothing that figures rest on goes unless a comparison with the provider's own export confirmed its days: a raw page the
slices that it touches, history and superseded Hermes payloads the workspace's day as a whole. In: a
:class:`~usage_pipeline.stages.Runtime`. Out: a :class:`Pruned` for each kind, and an entry of the audit log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.ledger.alerts import delete_alerts, old_alerts
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.provider_keys import list_provider_keys
from usage_pipeline.ledger.retention import (
    OldPage,
    confirmed_days,
    confirmed_slices,
    delete_history,
    delete_runs,
    empty_pages,
    empty_payloads,
    old_history,
    old_pages,
    old_payloads,
    old_runs,
)
from usage_pipeline.normalise.provider_days import keep_what_final_pulls_said
from usage_pipeline.stages import Runtime

STANDS: Final = "today's figures were made from it"
UNREADABLE: Final = "the provider is not installed here, so what it said cannot be kept"
UNCONFIRMED: Final = "no export confirmed the day as it stands now"


@dataclass(slots=True)
class Pruned:
    """What goes of one kind, or would go: rows and bytes as stored, their UTC days, and what is held back by reason.

    ``older_than`` (UTC) is None where the setting keeps everything.
    """

    kind: str
    setting: str
    older_than: datetime | None
    rows: int = 0
    bytes: int = 0
    days: set[date] = field(default_factory=set)
    held_back: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, rows: int, size: int, days: Iterable[date]) -> None:
        """Count what goes."""
        self.rows += rows
        self.bytes += size
        self.days.update(days)


def prune(runtime: Runtime, *, dry_run: bool) -> tuple[Pruned, ...]:
    """Prune by the settings, or only tell what would go. Each kind is a transaction of its own."""
    now = runtime.clock()
    kinds = tuple(one(runtime, now, dry_run) for one in (_raw_pages, _history, _payloads, _runs, _alerts))
    gone = {one.kind: {"rows": one.rows, "bytes": one.bytes} for one in kinds if one.rows}
    if gone and not dry_run:
        with runtime.engine.begin() as connection:
            record_change(connection, now, "pruned", "retention", gone)
    return kinds


def cutoff(now: datetime, days: int) -> datetime | None:
    """What is older than this goes; None where ``days`` is 0: keep for ever."""
    return now - timedelta(days=days) if days else None


def _raw_pages(runtime: Runtime, now: datetime, dry_run: bool) -> Pruned:
    settings = runtime.settings
    superseded, standing = (
        cutoff(now, settings.retention_raw_pages_days),
        cutoff(now, settings.retention_standing_pages_days),
    )
    limits = [limit for limit in (superseded, standing) if limit is not None]
    pruned = Pruned("raw pages", "USAGE_RETENTION_RAW_PAGES_DAYS", max(limits, default=None))
    if not limits:
        return pruned
    going: list[OldPage] = []
    with runtime.engine.begin() as connection:
        found = old_pages(connection, max(limits))
        readable = {key.feed_id for key in list_provider_keys(connection) if key.provider in runtime.providers}
        confirmed = confirmed_slices(connection, (day for page in found for day in page.days))
    for page in found:
        limit = standing if page.stands else superseded
        if page.stands and limit is None:
            pruned.held_back[STANDS] += 1
        elif limit is None or page.fetched_at >= limit:
            continue
        elif not confirmed.issuperset(page.days):
            pruned.held_back[UNCONFIRMED] += 1
        elif page.feed_id not in readable:
            pruned.held_back[UNREADABLE] += 1
        else:
            going.append(page)
            pruned.take(1, page.bytes, (day for _, _, day in page.days))
    if going and not dry_run:
        _keep_final_figures(runtime, going)
        with runtime.engine.begin() as connection:
            empty_pages(connection, going)
    return pruned


def _keep_final_figures(runtime: Runtime, pages: Iterable[OldPage]) -> None:
    """Keep what final pulls said before their pages go, so that a later restatement is still seen."""
    with runtime.engine.begin() as connection:
        keys = {key.feed_id: key for key in list_provider_keys(connection)}
    for feed_id, endpoint_name, day in sorted({day for page in pages for day in page.days}):
        key = keys[feed_id]
        provider = runtime.providers[key.provider]
        endpoint = next(one for one in provider.endpoints if one.name == endpoint_name)
        if endpoint.kind == "usage":
            settling = runtime.settings.settling_of(key.provider)
            keep_what_final_pulls_said(runtime.engine, key, provider, endpoint, day, settling)


def _history(runtime: Runtime, now: datetime, dry_run: bool) -> Pruned:
    before = cutoff(now, runtime.settings.retention_history_days)
    pruned = Pruned("history", "USAGE_RETENTION_HISTORY_DAYS", before)
    if before is None:
        return pruned
    with runtime.engine.begin() as connection:
        found = old_history(connection, before)
        confirmed = confirmed_days(connection, {(one.workspace_id, one.day) for one in found})
        for one in found:
            if (one.workspace_id, one.day) in confirmed:
                pruned.take(one.rows, one.bytes, [one.day])
            else:
                pruned.held_back[UNCONFIRMED] += one.rows
        going = sorted(confirmed)
        if going and not dry_run:
            delete_history(connection, going, before)
    return pruned


def _payloads(runtime: Runtime, now: datetime, dry_run: bool) -> Pruned:
    before = cutoff(now, runtime.settings.retention_payloads_days)
    pruned = Pruned("Hermes payloads", "USAGE_RETENTION_PAYLOADS_DAYS", before)
    if before is None:
        return pruned
    going = []
    with runtime.engine.begin() as connection:
        found = old_payloads(connection, before)
        confirmed = confirmed_days(connection, {day for one in found for day in one.days})
        for one in found:
            if one.stands:
                pruned.held_back[STANDS] += 1
            elif not confirmed.issuperset(one.days):
                pruned.held_back[UNCONFIRMED] += 1
            else:
                # A refused payload has no days: it never counted, so there is nothing to confirm.
                going.append(one)
                pruned.take(1, one.bytes, (day for _, day in one.days))
        if going and not dry_run:
            empty_payloads(connection, going)
    return pruned


def _runs(runtime: Runtime, now: datetime, dry_run: bool) -> Pruned:
    return _by_age_alone(runtime, "ingestion runs", old_runs, delete_runs, now, dry_run)


def _alerts(runtime: Runtime, now: datetime, dry_run: bool) -> Pruned:
    return _by_age_alone(runtime, "alerts that are over", old_alerts, delete_alerts, now, dry_run)


def _by_age_alone(
    runtime: Runtime,
    kind: str,
    old: Callable[[Connection, datetime], tuple[int, int]],
    delete: Callable[[Connection, datetime], int],
    now: datetime,
    dry_run: bool,
) -> Pruned:
    """Prune what no figure rests on."""
    before = cutoff(now, runtime.settings.retention_runs_days)
    pruned = Pruned(kind, "USAGE_RETENTION_RUNS_DAYS", before)
    if before is None:
        return pruned
    with runtime.engine.begin() as connection:
        pruned.take(*old(connection, before), ())
        if pruned.rows and not dry_run:
            delete(connection, before)
    return pruned
