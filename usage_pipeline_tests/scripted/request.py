"""One request to a scripted account, read in OpenAI's or Anthropic's words, and the refusals of what it asks.

In: a query. Out: an :class:`Asked` range with its pages of buckets, or :class:`Refused`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Query = Sequence[tuple[str, str]]

STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}


class Refused(Exception):  # noqa: N818 - it is an answer, not a mistake of the test
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Asked:
    """One request, read: a half-open range of UTC instants in buckets of ``step``."""

    start: datetime
    end: datetime
    width: str
    limit: int
    dimensions: tuple[str, ...]
    projects: tuple[str, ...]
    cursor: str | None

    @classmethod
    def of_openai(cls, query: Query) -> Asked:
        def instant(text: str) -> datetime:
            return datetime.fromtimestamp(int(text), UTC)

        return cls._of(query, "start_time", "end_time", instant, "group_by", "project_ids", open_bucket=True)

    @classmethod
    def of_anthropic(cls, query: Query) -> Asked:
        return cls._of(
            query,
            "starting_at",
            "ending_at",
            datetime.fromisoformat,
            "group_by[]",
            "workspace_ids[]",
            open_bucket=False,
        )

    @classmethod
    def _of(
        cls, query: Query, start: str, end: str, instant: Any, group_by: str, projects: str, *, open_bucket: bool
    ) -> Asked:
        single = dict(query)
        if start not in single:
            raise Refused(400, f"Missing query parameter '{start}'")
        width = single.get("bucket_width", "1d")
        first, last = instant(single[start]), instant(single[end])
        if not open_bucket:
            last = first + (last - first) // STEPS[width] * STEPS[width]
        return cls(
            first,
            last,
            width,
            int(single.get("limit", "7")),
            tuple(value for name, value in query if name == group_by),
            tuple(value for name, value in query if name == projects),
            single.get("page"),
        )

    @property
    def bucket_count(self) -> int:
        return -((self.start - self.end) // STEPS[self.width])

    @property
    def first_bucket(self) -> int:
        """The bucket that the cursor leads to; a cursor is for the parameters that it came with."""
        if self.cursor is None:
            return 0
        words, _, bucket = self.cursor.partition(".")
        if words != self._words():
            raise Refused(400, "the page token does not belong to these parameters")
        return int(bucket)

    def page(self, first: int) -> tuple[list[tuple[datetime, datetime]], str | None]:
        """The buckets from ``first`` on, at most ``limit`` of them, and the cursor to the rest."""
        last = min(first + self.limit, self.bucket_count)
        step = STEPS[self.width]
        buckets = [
            (max(self.start, self.start + n * step), min(self.end, self.start + (n + 1) * step))
            for n in range(first, last)
        ]
        return buckets, f"{self._words()}.{last}" if last < self.bucket_count else None

    def _words(self) -> str:
        return f"page_{abs(hash((self.start, self.end, self.width, self.limit, self.dimensions, self.projects))):x}"


def check_limit(asked: Asked, limits: Mapping[str, int]) -> None:
    if asked.width not in limits:
        raise Refused(400, f"Invalid bucket width: {asked.width}")
    if asked.limit > limits[asked.width]:
        raise Refused(400, f"Invalid limit provided: {asked.limit}. Limit must be at most {limits[asked.width]}.")


def check_dimensions(asked: Asked, known: Collection[str]) -> None:
    if unknown := set(asked.dimensions) - set(known):
        raise Refused(400, f"Invalid group_by: {sorted(unknown)}")
