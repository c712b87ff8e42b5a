"""Which range is asked for: from whole UTC days to the instants of a query and the buckets that must come back.

Comes in: days, width, dimensions, and the time now. Goes out: a :class:`QueryRange`. Nothing here talks to anyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.providers.contract import WIDTH_SECONDS, Endpoint
from usage_pipeline.utc_days import day_start


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """Whole UTC days to fetch, ``end_day`` not included, in buckets of ``width``.

    ``dimensions`` are our names; ``projects`` narrows to the key's scope (empty: the whole account); ``page_limit`` is
    given where the API takes fewer buckets a page than its documents say.
    """

    first_day: date
    end_day: date
    width: str
    dimensions: tuple[str, ...]
    projects: tuple[str, ...] = ()
    page_limit: int | None = None


@dataclass(frozen=True, slots=True)
class QueryRange:
    """The instants that are asked for, half-open, and the grid that the answer must fill.

    ``start`` is a UTC midnight, so always on the grid; ``end`` may lie inside the open bucket. ``start == end`` where
    nothing can be asked for yet.
    """

    start: datetime
    end: datetime
    step: timedelta

    @property
    def bucket_count(self) -> int:
        """How many buckets must come, the open one included."""
        return -((self.start - self.end) // self.step)

    @property
    def days(self) -> tuple[date, ...]:
        """The UTC days that the range touches, oldest first."""
        if self.start == self.end:
            return ()
        last = (self.end - timedelta(microseconds=1)).date()
        return tuple(self.start.date() + timedelta(days=n) for n in range((last - self.start.date()).days + 1))

    def by_day(self) -> tuple[QueryRange, ...]:
        """The range cut into UTC days, the last one maybe short."""
        return tuple(
            QueryRange(day_start(day), min(day_start(day) + timedelta(days=1), self.end), self.step)
            for day in self.days
        )


def query_range(endpoint: Endpoint, request: RangeRequest, now: datetime) -> QueryRange:
    """The instants to ask for: never later than now, since a future end is refused, and only closed buckets where the
    endpoint answers no open one, since a range without a closed bucket is refused.

    Raises ``InvalidInputError``: ``range_empty``, ``width_unknown``, ``dimension_unknown``.
    """
    _check(endpoint, request)
    step = timedelta(seconds=WIDTH_SECONDS[request.width])
    start = day_start(request.first_day)
    latest = now.astimezone(UTC).replace(microsecond=0)
    if not endpoint.returns_open_bucket:
        latest = floor_to_grid(latest, step)
    return QueryRange(start, max(start, min(day_start(request.end_day), latest)), step)


def floor_to_grid(moment: datetime, step: timedelta) -> datetime:
    """The start of the bucket of this width that contains the moment (UTC)."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


def _check(endpoint: Endpoint, request: RangeRequest) -> None:
    where = endpoint.name
    if request.first_day >= request.end_day:
        raise InvalidInputError("range_empty", "the first day is not before the end day", where=where)
    if request.width not in endpoint.page_limits:
        raise InvalidInputError(
            "width_unknown",
            f"there are no buckets of {request.width!r}",
            where=where,
            remedy=f"It answers in {', '.join(endpoint.widths)}.",
        )
    unknown = [name for name in request.dimensions if name not in endpoint.dimensions]
    if unknown:
        raise InvalidInputError(
            "dimension_unknown",
            f"it cannot be asked by {', '.join(unknown)}",
            where=where,
            remedy=f"It can by {', '.join(endpoint.dimensions)}.",
        )
