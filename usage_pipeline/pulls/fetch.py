"""The paging loop: a whole range of an endpoint's answers, complete or nothing.

Belongs here: following cursors, the guards against answers that would be believed though they are wrong (a repeated
cursor, a silent cut, a bucket twice), validating every row while it is at hand, packing pages, and the digests by which
a later pull is seen to say the same. Comes in: a client, an endpoint, a range, the time now. Goes out: a
:class:`FetchedRange` or an error; there is no part of a range. Storing is the ledger's.

Memory: one page is held unpacked; the others wait compressed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, Protocol

import msgspec
import zstandard

from usage_pipeline.credentials.pseudonyms import Pseudonyms
from usage_pipeline.errors import TransientError
from usage_pipeline.providers.contract import (
    Bucket,
    ContractBrokenError,
    Drift,
    Endpoint,
    Page,
    PageQuery,
    Provider,
)
from usage_pipeline.providers.rows import broken, where_of
from usage_pipeline.pulls.ranges import QueryRange, RangeRequest, floor_to_grid, query_range

COMPRESSION_LEVEL: Final = 3

# Each page brings at least one bucket, or none; this many may bring none. Where pages cut rows, this many on end.
EMPTY_PAGES_MAX: Final = 100

_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])

# Where pages cut rows: with 1,000 rows a page, ten million rows of one day.
ROW_PAGES_MAX: Final = 10_000


class PageSource(Protocol):
    """Where pages come from: ``providers.http.ProviderClient``, or a reader of stored pages."""

    @property
    def clock(self) -> ClockFunction:
        """The clock that stamps ``fetched_at``."""

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        """The body of one page."""


class PseudonymousPages:
    """Pages with every erased id replaced, before anything else is done with them. In: where they come from."""

    def __init__(self, source: PageSource, pseudonyms: Pseudonyms) -> None:
        self._source = source
        self._pseudonyms = pseudonyms

    @property
    def clock(self) -> ClockFunction:
        """The source's clock."""
        return self._source.clock

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        """The body of one page, redacted. Raises what the source raises."""
        return self._pseudonyms.redact(self._source.fetch_page(endpoint, page))


class ClockFunction(Protocol):
    """Tells the time, UTC."""

    def __call__(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """One page as answered.

    ``number`` counts from 0; ``body_zstd`` is the verbatim body, compressed;
    ``body_bytes`` and ``body_sha256`` are of the verbatim body. ``first_day`` and ``last_day`` (inclusive) are the UTC
    days of its buckets, None on a page without buckets (but where one day is asked for, it is that day). ``asked`` is
    the query that the page answers. ``fetched_at`` is UTC.
    """

    number: int
    asked: PageQuery
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
    ``unanswered_dimensions`` were asked for and were null in every row though there were rows. ``drift_pages`` is the
    number of the first page on which each kind of drift was seen, by ``kind.name``, ``drift_days`` the days on which it
    was seen; ``account`` is the provider's own id of the account that the answers are about, where they tell it.
    """

    start: datetime
    end: datetime
    pages: tuple[FetchedPage, ...]
    days: tuple[FetchedDay, ...]
    drift: Drift
    unanswered_dimensions: tuple[str, ...]
    drift_pages: Mapping[str, int]
    drift_days: Mapping[str, Sequence[date]]
    account: str | None = None

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
    and ``ContractBrokenError``: ``cursor_repeated``, ``too_many_pages``, ``too_many_empty_pages``,
    ``buckets_missing`` (a silent cut), ``bucket_repeated``, ``bucket_unexpected``.
    """
    asked = query_range(endpoint, request, now)
    reading = _Reading(provider, endpoint, request.dimensions, asked)
    pages: list[FetchedPage] = []
    if asked.bucket_count:
        for part in asked.by_day() if endpoint.one_day_per_request else (asked,):
            pages.extend(_pages(client, provider, endpoint, request, part, reading, len(pages)))
            reading.end_of(part)
    return FetchedRange(
        start=asked.start,
        end=asked.end,
        pages=tuple(pages),
        days=reading.fetched_days(),
        drift=reading.drift,
        unanswered_dimensions=reading.unanswered(),
        drift_pages=reading.drift_pages,
        drift_days={kind: sorted(days) for kind, days in reading.drift_days.items()},
        account=reading.account,
    )


def _pages(
    client: PageSource,
    provider: Provider,
    endpoint: Endpoint,
    request: RangeRequest,
    part: QueryRange,
    reading: _Reading,
    first_number: int,
) -> Iterator[FetchedPage]:
    """The pages of one listing, from its first to the one without a cursor."""
    where = where_of(provider.name, endpoint)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    seen: set[str] = set()
    query = PageQuery(
        part.start, part.end, request.width, request.dimensions, request.projects, page_limit=request.page_limit
    )
    pages_max = ROW_PAGES_MAX if endpoint.one_day_per_request else part.bucket_count + EMPTY_PAGES_MAX
    empty = 0
    for number in range(first_number, first_number + pages_max):
        rows_before = reading.rows
        body = client.fetch_page(endpoint, query)
        page = provider.read_page(endpoint, body, query)
        starts = reading.page(page, body, part, number)
        day_of_request = part.start.date() if endpoint.one_day_per_request else None
        yield FetchedPage(
            number=number,
            asked=query,
            body_zstd=compressor.compress(body),
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).digest(),
            first_day=starts[0].date() if starts else day_of_request,
            last_day=starts[-1].date() if starts else day_of_request,
            fetched_at=client.clock(),
        )
        cursor = page.next_cursor
        if cursor is None:
            return
        if cursor in seen:
            raise broken("cursor_repeated", f"page {number + 1} leads back to an earlier page", where)
        seen.add(cursor)
        # Of a key that is narrowed to projects, pages may well hold nothing but others' rows.
        empty = 0 if reading.rows > rows_before or request.projects else empty + 1
        if endpoint.one_day_per_request and empty >= EMPTY_PAGES_MAX:
            raise broken("too_many_empty_pages", f"{empty} pages on end had no rows and told of more", where)
        query = replace(query, cursor=cursor)
    raise broken("too_many_pages", f"more than {pages_max} pages for {part.bucket_count} buckets", where)


class DayDigests:
    """The digests of days by the rows of their buckets, however these are cut into pages.

    A pull's own digests are made in passing (:class:`_Reading`), of the same frames.
    """

    def __init__(self, provider: Provider, endpoint: Endpoint, dimensions: tuple[str, ...]) -> None:
        self._read = provider.usage_rows if endpoint.kind == "usage" else provider.billed_lines
        self._endpoint = endpoint
        self._dimensions = dimensions
        self._days: dict[date, hashlib._Hash] = defaultdict(hashlib.sha256)

    def add(self, bucket: Bucket, window_seconds: int) -> None:
        """A bucket as answered; they come in the order of the answer."""
        start = floor_to_grid(bucket.start, timedelta(seconds=window_seconds))
        drift = Drift()
        for _ in self._read(self._endpoint, bucket.results, self._dimensions, drift):
            pass
        if drift.rows:
            _frame(self._days[start.date()], self._endpoint, start, bucket.results)

    def of(self, day: date) -> bytes:
        """The digest of a day so far; that of nothing where it has no rows."""
        return self._days[day].digest()


def _frame(digest: hashlib._Hash, endpoint: Endpoint, start: datetime, results: msgspec.Raw) -> None:
    """Add a bucket that has rows to its day's digest.

    Start and length frame the bytes, so that no two different answers make the same stream. Cursors and ends stay out:
    they differ from pull to pull. Where pages cut rows, each row is framed: a bucket's parts depend on the size of the
    pages.
    """
    for part in _ROWS.decode(results) if endpoint.one_day_per_request else (results,):
        digest.update(f"{int(start.timestamp())} {memoryview(part).nbytes}\n".encode())
        digest.update(part)


class _Reading:
    """Reads buckets in the order of their coming, and holds them against the grid that was asked for."""

    def __init__(self, provider: Provider, endpoint: Endpoint, dimensions: tuple[str, ...], asked: QueryRange) -> None:
        self.drift = Drift()
        self.drift_pages: dict[str, int] = {}
        self.drift_days: dict[str, set[date]] = defaultdict(set)
        self._drift_counts: dict[str, int] = {}
        self.account: str | None = None
        self._provider = provider
        self._endpoint = endpoint
        self._dimensions = dimensions
        self._asked = asked
        self._next = asked.start
        self._days = {day: _Day() for day in asked.days}
        self._rows_in_all: int | None = None

    @property
    def rows(self) -> int:
        """How many rows came so far."""
        return self.drift.rows

    def page(self, page: Page, body: bytes, part: QueryRange, number: int) -> list[datetime]:
        """Validate a page's buckets, in order; returns their starts on the grid."""
        starts = [self._bucket(bucket, part) for bucket in page.buckets]
        self._rows_in_all = page.rows_in_all
        for kind in self._drift_seen():
            self.drift_pages.setdefault(kind, number)
        if self.account is None:
            self.account = self._provider.account_told(self._endpoint, body)
        return starts

    def end_of(self, part: QueryRange) -> None:
        """The last page of a listing was read: every bucket, and every row that it told of, must have come."""
        if not self._endpoint.one_day_per_request:
            if self._next < part.end:
                raise self._missing(part.end)
            return
        rows = self._days[part.start.date()].rows
        if self._rows_in_all is not None and rows != self._rows_in_all:
            raise TransientError(
                "rows_moved",
                f"{rows} rows came of {self._rows_in_all}: rows were added or removed while their pages were read",
                where=self._where(part.start),
                remedy="Nothing was published of this range; the next run reads it again.",
            )
        self._next = part.end

    def _drift_seen(self) -> list[str]:
        unanswered = self.unanswered() if self.drift.rows else ()
        return [*self._drift_counts, *(f"unanswered_dimensions.{name}" for name in unanswered)]

    def _note_drift_of(self, day: date) -> None:
        """Note which kinds of drift the bucket that was just read had."""
        drift = self.drift
        if not (drift.unknown_fields or drift.totals_off or drift.not_counted):
            return
        kinds = {
            "unknown_fields": drift.unknown_fields,
            "totals_off": drift.totals_off,
            "not_counted": drift.not_counted,
        }
        counts = {f"{kind}.{name}": rows for kind, names in kinds.items() for name, rows in names.items()}
        for kind, rows in counts.items():
            if rows != self._drift_counts.get(kind):
                self.drift_days[kind].add(day)
        self._drift_counts = counts

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

    def _bucket(self, bucket: Bucket, part: QueryRange) -> datetime:
        start = self._on_grid(bucket.start, part)
        rows = self._validated_rows(bucket)
        self._note_drift_of(start.date())
        day = self._days[start.date()]
        day.rows += rows
        day.buckets += 1
        if rows:
            _frame(day.digest, self._endpoint, start, bucket.results)
        self._next = start + self._asked.step
        return start

    def _on_grid(self, moment: datetime, part: QueryRange) -> datetime:
        """The bucket's start on the grid, if it is the next one that must come. The first may be clipped to the query's
        start, which is on the grid because ranges are whole UTC days. Where pages cut rows, only the day is known."""
        start = floor_to_grid(moment, self._asked.step)
        where = self._where(moment)
        if start != moment or not part.start <= start < part.end:
            raise broken("bucket_unexpected", "a bucket was answered that is not one of those asked for", where)
        if self._endpoint.one_day_per_request:
            return start
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
