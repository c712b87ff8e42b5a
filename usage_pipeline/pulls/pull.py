"""One key, a range of days, every endpoint: fetched whole, then recorded; or a failed attempt noted, and nothing else.

In come a registered key, its client and the days; out come the results by endpoint. Endpoints stand apart: if costs
fail, usage that was read whole still counts, and the caller raises what failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Engine

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.pulls import NewPage, NewPull, record_complete_pull, record_failed_pull
from usage_pipeline.ledger.slices import note_attempt
from usage_pipeline.providers.contract import WIDTH_SECONDS, Endpoint, Provider
from usage_pipeline.providers.http import ProviderClient
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest, default_dimensions
from usage_pipeline.utc_days import days_between


@dataclass(frozen=True, slots=True)
class PullResult:
    """What became of one endpoint's pull. ``changed_days`` differ from what stood before."""

    endpoint: str
    rows: int
    pages: int
    requests: int
    seconds_waited: float
    days: tuple[date, ...]
    changed_days: frozenset[date]
    bytes_read: int
    error: UsagePipelineError | None = None


def pull_key(
    engine: Engine,
    key: ProviderKey,
    provider: Provider,
    client: ProviderClient,
    projects: Sequence[str],
    first_day: date,
    end_day: date,
    clock: Callable[[], datetime],
) -> list[PullResult]:
    """Pull every endpoint of ``key`` for the half-open range of days. Failed endpoints carry their error."""
    return [
        _pull_endpoint(engine, key, provider, endpoint, client, tuple(projects), first_day, end_day, clock)
        for endpoint in provider.endpoints
        if key.mode in endpoint.modes
    ]


def _pull_endpoint(
    engine: Engine,
    key: ProviderKey,
    provider: Provider,
    endpoint: Endpoint,
    client: ProviderClient,
    projects: tuple[str, ...],
    first_day: date,
    end_day: date,
    clock: Callable[[], datetime],
) -> PullResult:
    width = key.grain if key.grain in endpoint.page_limits else "1d"
    request = RangeRequest(first_day, end_day, width, default_dimensions(endpoint), projects)
    started_at = clock()
    sent_before, waited_before = client.counters.requests, client.counters.waited_s
    fetched: FetchedRange | None = None
    error: UsagePipelineError | None = None
    try:
        fetched = fetch_range(client, provider, endpoint, request, started_at)
    except UsagePipelineError as problem:
        error = problem
    requests = client.counters.requests - sent_before
    waited = client.counters.waited_s - waited_before
    pull = NewPull(
        feed_id=key.feed_id,
        endpoint=endpoint.name,
        first_day=first_day,
        end_day=end_day,
        window_seconds=WIDTH_SECONDS[width],
        dimensions_asked=request.dimensions,
        projects=projects,
        started_at=started_at,
        finished_at=max(clock(), started_at),
        requests=requests,
        seconds_waited=waited,
        pages=len(fetched.pages) if fetched else 0,
        rows_read=fetched.drift.rows if fetched else 0,
        drift=_drift(fetched) if fetched else {},
        error=(error.code, error.line()) if error else None,
    )
    if fetched is None:
        assert error is not None
        with engine.begin() as connection:
            record_failed_pull(connection, pull)
            attempted = [day for day in days_between(first_day, end_day) if day <= started_at.astimezone(UTC).date()]
            note_attempt(connection, key.feed_id, endpoint.name, attempted, started_at, (error.code, error.line()))
        return PullResult(endpoint.name, 0, 0, requests, waited, (), frozenset(), 0, error)
    digests = {day.day: _slice_digest(request, day.digest) for day in fetched.days}
    with engine.begin() as connection:
        _, changed = record_complete_pull(connection, pull, digests, _pages(fetched, request))
        note_attempt(connection, key.feed_id, endpoint.name, list(digests), started_at, None)
    return PullResult(
        endpoint.name,
        fetched.drift.rows,
        len(fetched.pages),
        requests,
        waited,
        tuple(digests),
        changed,
        sum(page.body_bytes for page in fetched.pages),
    )


def _slice_digest(request: RangeRequest, results: bytes) -> bytes:
    """The digest of a slice: its results, under the width and the dimensions asked for, which give them meaning."""
    asked = f"{request.width}|{','.join(sorted(request.dimensions))}|{','.join(sorted(request.projects))}|"
    return hashlib.sha256(asked.encode() + results).digest()


def _pages(fetched: FetchedRange, request: RangeRequest) -> list[NewPage]:
    return [
        NewPage(
            page_number=page.number,
            first_day=page.first_day,
            last_day=page.last_day,
            query={
                "start": fetched.start,
                "end": fetched.end,
                "width": request.width,
                "dimensions": request.dimensions,
                "projects": request.projects,
                "cursor": page.cursor,
            },
            fetched_at=page.fetched_at,
            digest=page.body_sha256,
            body_bytes=page.body_bytes,
            body_zstd=page.body_zstd,
        )
        for page in fetched.pages
        if page.first_day is not None and page.last_day is not None
    ]


def _drift(fetched: FetchedRange) -> dict[str, object]:
    """What the answers had that their contract does not tell; empty where there is nothing to report."""
    found = {
        "unknown_fields": fetched.drift.unknown_fields,
        "totals_off": fetched.drift.totals_off,
        "unanswered_dimensions": list(fetched.unanswered_dimensions),
    }
    return {name: value for name, value in found.items() if value}
