"""One key, a range of days, every endpoint: fetched whole, then recorded; or a failed attempt noted, and nothing else.

In come a registered key, its client and the days; out come the results by endpoint. Endpoints stand apart: if costs
fail, usage that was read whole still counts, and the caller raises what failed. Where an endpoint refuses a request
because it asks for too much, it is asked for less, as the refusal says, and what was learned is kept for the next time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy import Engine

from usage_pipeline.credentials.pseudonyms import Pseudonyms
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.erased_ids import require_hashes
from usage_pipeline.ledger.learned_limits import keep_learned_limits, read_learned_limits
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.pulls import NewPage, NewPull, record_complete_pull, record_failed_pull
from usage_pipeline.ledger.slices import note_attempt
from usage_pipeline.providers.contract import WIDTH_SECONDS, Endpoint, Provider
from usage_pipeline.providers.http import ProviderClient
from usage_pipeline.providers.refusals import AskedTooMuchError, LookbackExceededError
from usage_pipeline.providers.rows import where_of
from usage_pipeline.pulls.asking import chosen_dimensions, learn, request_for
from usage_pipeline.pulls.fetch import FetchedRange, PageSource, PseudonymousPages, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline.utc_days import days_between

REQUESTS_NARROWED_MAX = 12
"""How often a range is asked for again with less in it: each time something was taken out, so this is never reached."""


@dataclass(frozen=True, slots=True)
class PullResult:
    """What became of one endpoint's pull. ``changed_days`` differ from what stood before; ``days_out_of_reach`` are
    older than what the provider keeps, and were not asked for."""

    endpoint: str
    rows: int
    pages: int
    requests: int
    seconds_waited: float
    days: tuple[date, ...]
    changed_days: frozenset[date]
    bytes_read: int
    error: UsagePipelineError | None = None
    days_out_of_reach: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyPull:
    """A key's pull of a half-open range of UTC days: who asks, with what, and who is told.

    ``environ`` holds the operator's choice of dimensions. ``accept_account`` gets the account's id that the provider
    tells, and raises if it must not be: then nothing is recorded, and ``refused`` holds why, so that no other endpoint
    of that account is asked. ``accepted`` holds what was told and may be. ``pseudonyms`` replace erased ids in answers,
    None where there are none.
    """

    engine: Engine
    key: ProviderKey
    provider: Provider
    client: ProviderClient
    projects: tuple[str, ...]
    first_day: date
    end_day: date
    clock: Callable[[], datetime]
    environ: Mapping[str, str]
    accept_account: Callable[[str], None] | None
    pseudonyms: Pseudonyms | None = None
    refused: list[UsagePipelineError] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    @property
    def pages(self) -> PageSource:
        """Where pages come from: the client, erased ids replaced where there are any."""
        return self.client if self.pseudonyms is None else PseudonymousPages(self.client, self.pseudonyms)


def pull_key(
    engine: Engine,
    key: ProviderKey,
    provider: Provider,
    client: ProviderClient,
    projects: Sequence[str],
    first_day: date,
    end_day: date,
    clock: Callable[[], datetime],
    *,
    environ: Mapping[str, str] | None = None,
    accept_account: Callable[[str], None] | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> list[PullResult]:
    """Pull every endpoint of ``key`` for the half-open range of days. Failed endpoints carry their error.

    Until an answer tells the account, none is recorded: one without rows may be another account's. Raises
    ``InvalidInputError`` ``dimension_unknown`` or ``dimension_needed`` before anything is asked.
    """
    pull = KeyPull(
        engine,
        key,
        provider,
        client,
        tuple(projects),
        first_day,
        end_day,
        clock,
        environ or {},
        accept_account,
        pseudonyms,
    )
    wanted = [
        (endpoint, chosen_dimensions(provider.name, endpoint, pull.environ, pull.projects))
        for endpoint in provider.endpoints
        if key.mode in endpoint.modes
    ]
    results: list[PullResult] = []
    waiting: list[_Asked] = []
    for endpoint, dimensions in wanted:
        waiting.append(_asked(pull, endpoint, dimensions))
        if pull.accept_account is None or pull.accepted:
            results += [_recorded(pull, one) for one in waiting]
            waiting.clear()
    return [*results, *(_recorded(pull, one) for one in waiting)]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What asking gave: the request that was answered or refused last, and the answer or the error.

    ``reach`` is the refusal that told how far back the provider answers.
    """

    request: RangeRequest
    fetched: FetchedRange | None = None
    error: UsagePipelineError | None = None
    reach: LookbackExceededError | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """An endpoint that was asked, not recorded yet: what came of it, when, and what it took."""

    endpoint: Endpoint
    answer: _Answer
    started_at: datetime
    finished_at: datetime
    requests: int
    waited: float


def _asked(pull: KeyPull, endpoint: Endpoint, dimensions: tuple[str, ...]) -> _Asked:
    started_at = pull.clock()
    counters = pull.client.counters
    sent_before, waited_before = counters.requests, counters.waited_s
    answer = _ask(pull, endpoint, dimensions, started_at)
    requests, waited = counters.requests - sent_before, counters.waited_s - waited_before
    return _Asked(endpoint, answer, started_at, max(pull.clock(), started_at), requests, waited)


def _recorded(pull: KeyPull, asked: _Asked) -> PullResult:
    endpoint, answer, started_at = asked.endpoint, asked.answer, asked.started_at
    requests, waited = asked.requests, asked.waited
    if pull.refused and not pull.accepted and answer.fetched is not None:
        answer = _Answer(answer.request, error=pull.refused[0], reach=answer.reach)
    out_of_reach = tuple(days_between(pull.first_day, answer.request.first_day)) if answer.reach else ()
    if out_of_reach:
        assert answer.reach is not None
        _note(pull, endpoint, out_of_reach, started_at, answer.reach)
    request, fetched, error = answer.request, answer.fetched, answer.error
    if request.first_day == request.end_day:
        return PullResult(endpoint.name, 0, 0, requests, waited, (), frozenset(), 0, None, out_of_reach)
    record = NewPull(
        feed_id=pull.key.feed_id,
        endpoint=endpoint.name,
        first_day=request.first_day,
        end_day=request.end_day,
        window_seconds=WIDTH_SECONDS[request.width],
        dimensions_asked=request.dimensions,
        projects=request.projects,
        started_at=started_at,
        finished_at=asked.finished_at,
        requests=requests,
        seconds_waited=waited,
        pages=len(fetched.pages) if fetched else 0,
        rows_read=fetched.drift.rows if fetched else 0,
        drift=_drift(fetched) if fetched else {},
        error=(error.code, error.line()) if error else None,
    )
    if fetched is None:
        assert error is not None
        with pull.engine.begin() as connection:
            record_failed_pull(connection, record)
        attempted = [
            d for d in days_between(request.first_day, request.end_day) if d <= started_at.astimezone(UTC).date()
        ]
        _note(pull, endpoint, attempted, started_at, error)
        return PullResult(endpoint.name, 0, 0, requests, waited, (), frozenset(), 0, error, out_of_reach)
    digests = {
        day.day: slice_digest(request.width, request.dimensions, request.projects, day.digest) for day in fetched.days
    }
    with pull.engine.begin() as connection:
        require_hashes(connection, pull.key.provider, pull.pseudonyms.hashes if pull.pseudonyms else frozenset())
        _, changed = record_complete_pull(connection, record, digests, _pages(fetched))
        note_attempt(connection, pull.key.feed_id, endpoint.name, list(digests), started_at, None)
    return PullResult(
        endpoint.name,
        fetched.drift.rows,
        len(fetched.pages),
        requests,
        waited,
        tuple(digests),
        changed,
        sum(page.body_bytes for page in fetched.pages),
        None,
        out_of_reach,
    )


def _ask(pull: KeyPull, endpoint: Endpoint, dimensions: tuple[str, ...], now: datetime) -> _Answer:
    """Ask for the range, and for less of it where the refusal says what is too much."""
    with pull.engine.begin() as connection:
        learned = read_learned_limits(connection, pull.key.feed_id, endpoint.name)
    first_day, reach = pull.first_day, _stated_reach(pull, endpoint, now)
    if reach is not None and reach.earliest is not None:
        first_day = min(max(first_day, reach.earliest), pull.end_day)
    for _ in range(REQUESTS_NARROWED_MAX):
        request = request_for(endpoint, first_day, pull.end_day, pull.key.grain, dimensions, pull.projects, learned)
        if first_day == pull.end_day:
            return _Answer(request, reach=reach)
        if pull.refused:
            return _Answer(request, error=pull.refused[0], reach=reach)
        try:
            fetched = fetch_range(pull.pages, pull.provider, endpoint, request, now)
            _accept(pull, fetched)
            return _Answer(request, fetched, reach=reach)
        except AskedTooMuchError as refusal:
            error: UsagePipelineError = refusal
            more = learn(learned, refusal, request)
            if more is None:
                break
            learned = more
            with pull.engine.begin() as connection:
                keep_learned_limits(connection, pull.key.feed_id, endpoint.name, learned, refusal.what, now)
        except LookbackExceededError as refusal:
            error = refusal
            if refusal.earliest is None or refusal.earliest <= first_day:
                break
            first_day, reach = min(refusal.earliest, pull.end_day), refusal
        except UsagePipelineError as problem:
            error = problem
            break
    return _Answer(request, error=error, reach=reach)


def _accept(pull: KeyPull, fetched: FetchedRange) -> None:
    if fetched.account is None or pull.accept_account is None:
        return
    try:
        pull.accept_account(fetched.account)
        pull.accepted.append(fetched.account)
    except UsagePipelineError as refusal:
        pull.refused.append(refusal)
        raise


def _stated_reach(pull: KeyPull, endpoint: Endpoint, now: datetime) -> LookbackExceededError | None:
    """The refusal that a range would get which begins before what the endpoint is documented to answer."""
    earliest = endpoint.earliest_day(now.astimezone(UTC).date())
    if earliest is None or pull.first_day >= earliest:
        return None
    return LookbackExceededError(
        f"the API answers the last {endpoint.reach_days} closed days only",
        where_of(pull.provider.name, endpoint),
        earliest,
    )


def _note(pull: KeyPull, endpoint: Endpoint, days: Sequence[date], at: datetime, error: UsagePipelineError) -> None:
    with pull.engine.begin() as connection:
        note_attempt(connection, pull.key.feed_id, endpoint.name, list(days), at, (error.code, error.line()))


def slice_digest(width: str, dimensions: Sequence[str], projects: Sequence[str], results: bytes) -> bytes:
    """The digest of a slice: its results, under the width and the dimensions asked for, which give them meaning."""
    asked = f"{width}|{','.join(sorted(dimensions))}|{','.join(sorted(projects))}|"
    return hashlib.sha256(asked.encode() + results).digest()


def _pages(fetched: FetchedRange) -> list[NewPage]:
    return [
        NewPage(
            page_number=page.number,
            first_day=page.first_day,
            last_day=page.last_day,
            query={
                "start": page.asked.start,
                "end": page.asked.end,
                "width": page.asked.width,
                "dimensions": page.asked.dimensions,
                "projects": page.asked.projects,
                "page_limit": page.asked.page_limit,
                "cursor": page.asked.cursor,
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
    """What the answers had that their contract does not tell; empty where there is nothing to report.

    By ``kind.name``, ``pages`` is the number of the first page on which each was seen, ``days`` the days that had it.
    """
    found = {
        "unknown_fields": fetched.drift.unknown_fields,
        "totals_off": fetched.drift.totals_off,
        "not_counted": fetched.drift.not_counted,
        "unanswered_dimensions": list(fetched.unanswered_dimensions),
    }
    told: dict[str, object] = {kind: names for kind, names in found.items() if names}
    if told:
        seen = {f"{kind}.{name}" for kind, names in found.items() for name in names}
        told["pages"] = {name: page for name, page in fetched.drift_pages.items() if name in seen}
        told["days"] = fetched.drift_days
    return told
