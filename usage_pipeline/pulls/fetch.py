"""The paging loop: a whole range of an endpoint's answers, complete or nothing.

Belongs here: following cursors, the guards against answers that would be believed though they are wrong (a repeated
cursor, a silent cut, a bucket twice), validating every row while it is at hand, packing pages, and the digests by which
a later pull is seen to say the same. Comes in: a client, an endpoint, a range, the time now. Goes out: a
:class:`FetchedRange` or an error; there is no part of a range. Storing is the ledger's.

Memory: one page is held unpacked; the others wait compressed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

import zstandard

from usage_pipeline.providers.contract import (
    Bucket,
    ContractBrokenError,
    Drift,
    Endpoint,
    PageQuery,
    Provider,
)
from usage_pipeline.providers.rows import broken, where_of
from usage_pipeline.pulls.ranges import QueryRange, RangeRequest, floor_to_grid, query_range

COMPRESSION_LEVEL: Final = 3

# Each page brings at least one bucket, or none; this many may bring none.
EMPTY_PAGES_MAX: Final = 100


class PageSource(Protocol):
    """Where pages come from: ``providers.http.ProviderClient``, or a reader of stored pages."""

    @property
    def clock(self) -> ClockFunction:
        """The clock that stamps ``fetched_at``."""

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        """The body of one page."""


class ClockFunction(Protocol):
    """Tells the time, UTC."""

    def __call__(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """One page as answered.

    ``number`` counts from 0; ``cursor`` is the one it was asked with; ``body_zstd`` is the verbatim body, compressed;
    ``body_bytes`` and ``body_sha256`` are of the verbatim body. ``first_day`` and ``last_day`` (inclusive) are the UTC
    days of its buckets, None on a page without buckets. ``fetched_at`` is UTC.
    """

    number: int
    cursor: str | None
    body_zstd: bytes
    body_bytes: int
    body_sha256: bytes
    first_day: date | None
    last_day: date | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class FetchedDay:
    """What one UTC day's slice says: rows, buckets (empty ones too), and the digest of its results.

    Two pulls whose digests agree say the same about the day, however they were cut into pages. A day without rows has
    the digest of nothing. ``is_closed`` tells that the day had ended when it was asked for.
    """

    day: date
    rows: int
    buckets: int
    digest: bytes
    is_closed: bool


@dataclass(frozen=True, slots=True)
class FetchedRange:
    """A complete answer: the instants asked for (half-open, UTC), its pages, its days, and its drift.

    Without pages where the endpoint had nothing that can be asked for yet (``start == end``).
    ``unanswered_dimensions`` were asked for and were null in every row though there were rows.
    """

    start: datetime
    end: datetime
    pages: tuple[FetchedPage, ...]
    days: tuple[FetchedDay, ...]
    drift: Drift
    unanswered_dimensions: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to ask for: no request was sent and nothing is known about any day."""
        return self.start == self.end


@dataclass(slots=True)
class _Day:
    rows: int = 0
    buckets: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


def fetch_range(
    client: PageSource, provider: Provider, endpoint: Endpoint, request: RangeRequest, now: datetime
) -> FetchedRange:
    """Fetch every page of the range and validate every row of it.

    Raises what the client and the provider raise, ``InvalidInputError`` for a request that the endpoint cannot take,
    and ``ContractBrokenError``: ``cursor_repeated``, ``too_many_pages``, ``buckets_missing`` (a silent cut),
    ``bucket_repeated``, ``bucket_unexpected``.
    """
    asked = query_range(endpoint, request, now)
    reading = _Reading(provider, endpoint, request.dimensions, asked)
    pages = tuple(_pages(client, provider, endpoint, request, asked, reading)) if asked.bucket_count else ()
    reading.end()
    return FetchedRange(
        start=asked.start,
        end=asked.end,
        pages=pages,
        days=reading.fetched_days(),
        drift=reading.drift,
        unanswered_dimensions=reading.unanswered(),
    )


def _pages(
    client: PageSource,
    provider: Provider,
    endpoint: Endpoint,
    request: RangeRequest,
    asked: QueryRange,
    reading: _Reading,
) -> Iterator[FetchedPage]:
    where = where_of(provider.name, endpoint)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    seen: set[str] = set()
    cursor: str | None = None
    for number in range(asked.bucket_count + EMPTY_PAGES_MAX):
        query = PageQuery(asked.start, asked.end, request.width, request.dimensions, request.projects, cursor)
        body = client.fetch_page(endpoint, query)
        page = provider.read_page(endpoint, body)
        starts = reading.page(page.buckets)
        yield FetchedPage(
            number=number,
            cursor=cursor,
            body_zstd=compressor.compress(body),
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).digest(),
            first_day=starts[0].date() if starts else None,
            last_day=starts[-1].date() if starts else None,
            fetched_at=client.clock(),
        )
        cursor = page.next_cursor
        if cursor is None:
            return
        if cursor in seen:
            raise broken("cursor_repeated", f"page {number + 1} leads back to an earlier page", where)
        seen.add(cursor)
    raise broken("too_many_pages", f"more pages than the {asked.bucket_count} buckets of the range can fill", where)


class _Reading:
    """Reads buckets in the order of their coming, and holds them against the grid that was asked for."""

    def __init__(self, provider: Provider, endpoint: Endpoint, dimensions: tuple[str, ...], asked: QueryRange) -> None:
        self.drift = Drift()
        self._provider = provider
        self._endpoint = endpoint
        self._dimensions = dimensions
        self._asked = asked
        self._next = asked.start
        self._days = {day: _Day() for day in asked.days}

    def page(self, buckets: Sequence[Bucket]) -> list[datetime]:
        """Validate a page's buckets, in order; returns their starts on the grid."""
        return [self._bucket(bucket) for bucket in buckets]

    def end(self) -> None:
        """The last page was read: every bucket must have come."""
        if self._next < self._asked.end:
            raise self._missing(self._asked.end)

    def fetched_days(self) -> tuple[FetchedDay, ...]:
        """The days of the range, oldest first."""
        return tuple(
            FetchedDay(
                day=day,
                rows=read.rows,
                buckets=read.buckets,
                digest=read.digest.digest(),
                is_closed=self._asked.end.date() > day,
            )
            for day, read in self._days.items()
        )

    def unanswered(self) -> tuple[str, ...]:
        """Dimensions that were asked for and were null in every row. Nothing can be told of an answer without rows."""
        if not self.drift.rows:
            return ()
        return tuple(name for name in self._dimensions if name not in self.drift.answered_dimensions)

    def _bucket(self, bucket: Bucket) -> datetime:
        start = self._on_grid(bucket.start)
        rows = self._validated_rows(bucket)
        day = self._days[start.date()]
        day.rows += rows
        day.buckets += 1
        if rows:
            # Start and length frame the bytes, so that no two different answers make the same stream. Cursors and ends
            # stay out: they differ from pull to pull.
            day.digest.update(f"{int(start.timestamp())} {memoryview(bucket.results).nbytes}\n".encode())
            day.digest.update(bucket.results)
        self._next = start + self._asked.step
        return start

    def _on_grid(self, moment: datetime) -> datetime:
        """The bucket's start on the grid, if it is the next one that must come. The first may be clipped to the query's
        start, which is on the grid because ranges are whole UTC days."""
        start = floor_to_grid(moment, self._asked.step)
        where = self._where(moment)
        if start != moment or not self._asked.start <= start < self._asked.end:
            raise broken("bucket_unexpected", "a bucket was answered that is not one of those asked for", where)
        if start < self._next:
            raise broken("bucket_repeated", "a bucket came twice or out of order", where)
        if start > self._next:
            raise self._missing(start)
        return start

    def _validated_rows(self, bucket: Bucket) -> int:
        """Read every row once and throw it away, so that a range with a broken row publishes nothing."""
        read = self._provider.usage_rows if self._endpoint.kind == "usage" else self._provider.billed_lines
        before = self.drift.rows
        problem: ContractBrokenError | None = None
        try:
            for _ in read(self._endpoint, bucket.results, self._dimensions, self.drift):
                pass
        except ContractBrokenError as error:
            problem = error
        if problem is not None:
            raise ContractBrokenError(
                problem.code, problem.what, where=self._where(bucket.start), remedy=problem.remedy
            )
        return self.drift.rows - before

    def _missing(self, until: datetime) -> ContractBrokenError:
        count = -((self._next - until) // self._asked.step)
        return broken(
            "buckets_missing",
            f"{count} of the {self._asked.bucket_count} buckets did not come, the first of them that of "
            f"{self._next:%Y-%m-%dT%H:%MZ}",
            where_of(self._provider.name, self._endpoint),
        )

    def _where(self, bucket_start: datetime) -> str:
        return f"{where_of(self._provider.name, self._endpoint)} bucket {bucket_start:%Y-%m-%dT%H:%M:%SZ}"
