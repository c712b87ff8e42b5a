"""A provider's account whose truth the test writes down, answering in OpenAI's or Anthropic's own words.

Belongs here: what was used and billed, and the answer to one request for it: buckets on the UTC grid, empty ones
included, the first clipped to the query's start and the last to its end, pages of ``limit`` buckets with a cursor, and
the refusals that the real APIs give. In: a path and its query. Out: a status and a body. No network here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Query = Sequence[tuple[str, str]]
Json = dict[str, Any]

STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}
GROUP_BY_MAX_ANTHROPIC = 5


@dataclass(frozen=True)
class Use:
    """Something used at an instant, in tokens and requests.

    ``endpoint`` is the last part of the API's path, None for where OpenAI's completions and Anthropic's messages are.
    """

    at: datetime
    model: str = "gpt-5"
    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    requests: int = 0
    project: str | None = None
    user: str | None = None
    api_key: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class Bill:
    """A line of the bill of a UTC day, in exact US dollars."""

    day: date
    usd: Decimal
    label: str
    model: str | None = None
    token_type: str | None = None
    project: str | None = None


@dataclass
class ScriptedAccount:
    """What one credential sees. A test may change ``uses`` and ``bills`` between pulls.

    ``refusals`` maps the last part of a path to (status, first page that is refused).
    """

    provider: str
    secret: str
    uses: list[Use] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    refusals: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked: list[tuple[str, Query]] = field(default_factory=list)

    def refuse(self, endpoint: str, status: int = 500, from_page: int = 1) -> None:
        """Answer this endpoint with ``status`` from that page on, until :meth:`heal`."""
        self.refusals[endpoint] = (status, from_page)

    def spend(self, at: datetime, output: int, model: str = "gpt-5", *, user: str | None = None, **more: Any) -> None:
        """Use output tokens of a model that costs ten dollars per million of them, and bill them."""
        self.uses.append(Use(at, model, output=output, user=user, **more))
        usd = Decimal(output) * 10 / 1_000_000
        self.bills.append(Bill(at.date(), usd, f"{model}, output", model, "output_tokens", more.get("project")))

    def forget(self) -> None:
        """Nothing was used and nothing billed: for a truth that the provider restates."""
        self.uses.clear()
        self.bills.clear()

    def heal(self) -> None:
        """Refuse nothing any more."""
        self.refusals.clear()

    def answer(self, path: str, query: Query) -> tuple[int, bytes]:
        """The status and the body for a GET of ``path``."""
        self.asked.append((path, query))
        try:
            if self.provider == "openai":
                return 200, _encoded(self._openai(path, _Asked.of_openai(query)))
            return 200, _encoded(self._anthropic(path, _Asked.of_anthropic(query)))
        except _Refused as refused:
            return refused.status, _encoded({"error": {"message": refused.message, "type": "scripted", "code": None}})

    def _page_start(self, endpoint: str, asked: _Asked) -> int:
        """Which bucket the page begins with; the refusal that the test asked for."""
        start = asked.first_bucket
        status, from_page = self.refusals.get(endpoint, (0, 0))
        if status and start // asked.limit + 1 >= from_page:
            raise _Refused(status, "refused by the test")
        return start

    def _openai(self, path: str, asked: _Asked) -> Json:
        endpoint = path.rsplit("/", 1)[-1]
        costs = endpoint == "costs"
        _check_limit(asked, {"1d": 180} if costs else {"1h": 168, "1d": 31})
        known = {"project_id", "line_item", "api_key_id"} if costs else set(_OPENAI_DIMENSIONS)
        _check_dimensions(asked, known)
        render = self._openai_costs if costs else self._openai_usage
        page, cursor = asked.page(self._page_start(endpoint, asked))
        data = [
            {
                "object": "bucket",
                "start_time": int(start.timestamp()),
                "end_time": int(end.timestamp()),
                "results": render(endpoint, start, end, asked),
            }
            for start, end in page
        ]
        return {"object": "page", "data": data, "has_more": cursor is not None, "next_page": cursor}

    def _anthropic(self, path: str, asked: _Asked) -> Json:
        endpoint = path.rsplit("/", 1)[-1]
        costs = endpoint == "cost_report"
        _check_limit(asked, {"1d": 31} if costs else {"1h": 168, "1d": 31})
        _check_dimensions(asked, {"workspace_id", "description"} if costs else set(_ANTHROPIC_DIMENSIONS))
        if len(asked.dimensions) > GROUP_BY_MAX_ANTHROPIC:
            raise _Refused(400, "Cannot specify more than 5 group_by[] dimensions.")
        if asked.bucket_count == 0:
            raise _Refused(400, "ending date must be after starting date")
        render = self._anthropic_costs if costs else self._anthropic_usage
        page, cursor = asked.page(self._page_start(endpoint, asked))
        data = [
            {
                "starting_at": _rfc3339(start),
                "ending_at": _rfc3339(end),
                "results": render(endpoint, start, end, asked),
            }
            for start, end in page
        ]
        return {"data": data, "has_more": cursor is not None, "next_page": cursor}

    def _grouped(
        self, endpoint: str, start: datetime, end: datetime, asked: _Asked, dimensions: Mapping[str, Any]
    ) -> Iterator[tuple[Json, list[Use]]]:
        """The uses of a bucket by the dimensions asked for; those not asked for come back null."""
        groups: dict[tuple[Any, ...], list[Use]] = {}
        for use in self.uses:
            if (use.endpoint or _PRIMARY[self.provider]) != endpoint or not start <= use.at < end:
                continue
            if asked.projects and use.project not in asked.projects:
                continue
            values = tuple(
                _dimension(use, ours) if name in asked.dimensions else None for name, ours in dimensions.items()
            )
            groups.setdefault(values, []).append(use)
        for values, uses in sorted(groups.items(), key=repr):
            yield dict(zip(dimensions, values, strict=True)), uses

    def _openai_usage(self, endpoint: str, start: datetime, end: datetime, asked: _Asked) -> list[Json]:
        return [
            {
                "object": f"organization.usage.{endpoint}.result",
                "input_tokens": _sum(uses, "uncached_input", "cache_read", "cache_write"),
                "num_model_requests": _sum(uses, "requests"),
                **(
                    {
                        "output_tokens": _sum(uses, "output"),
                        "input_uncached_tokens": _sum(uses, "uncached_input"),
                        "input_cached_tokens": _sum(uses, "cache_read"),
                        "input_cache_write_tokens": _sum(uses, "cache_write"),
                    }
                    if endpoint != "embeddings"
                    else {}
                ),
                **dimensions,
            }
            for dimensions, uses in self._grouped(endpoint, start, end, asked, _OPENAI_DIMENSIONS)
        ]

    def _openai_costs(self, _endpoint: str, start: datetime, _end: datetime, asked: _Asked) -> list[Json]:
        return [
            {
                "object": "organization.costs.result",
                "amount": {"value": str(bill.usd), "currency": "usd"},
                "line_item": bill.label if "line_item" in asked.dimensions else None,
                "project_id": bill.project if "project_id" in asked.dimensions else None,
            }
            for bill in self.bills
            if bill.day == start.date() and (not asked.projects or bill.project in asked.projects)
        ]

    def _anthropic_usage(self, endpoint: str, start: datetime, end: datetime, asked: _Asked) -> list[Json]:
        return [
            {
                "uncached_input_tokens": _sum(uses, "uncached_input"),
                "cache_read_input_tokens": _sum(uses, "cache_read"),
                "cache_creation": {
                    "ephemeral_5m_input_tokens": _sum(uses, "cache_write_5m"),
                    "ephemeral_1h_input_tokens": _sum(uses, "cache_write_1h"),
                },
                "output_tokens": _sum(uses, "output"),
                "server_tool_use": {"web_search_requests": 0},
                **dimensions,
            }
            for dimensions, uses in self._grouped(endpoint, start, end, asked, _ANTHROPIC_DIMENSIONS)
        ]

    def _anthropic_costs(self, _endpoint: str, start: datetime, _end: datetime, asked: _Asked) -> list[Json]:
        described = "description" in asked.dimensions
        return [
            {
                "currency": "USD",
                "amount": str(bill.usd * 100),
                "workspace_id": bill.project if "workspace_id" in asked.dimensions else None,
                "description": bill.label if described else None,
                "cost_type": "tokens" if described and bill.token_type else None,
                "token_type": bill.token_type if described else None,
                "model": bill.model if described else None,
                "service_tier": "standard" if described else None,
                "context_window": "0-200k" if described else None,
                "inference_geo": "global" if described else None,
            }
            for bill in self.bills
            if bill.day == start.date()
        ]


_PRIMARY = {"openai": "completions", "anthropic": "messages"}
_OPENAI_DIMENSIONS: dict[str, Any] = {
    "project_id": "project",
    "user_id": "user",
    "api_key_id": "api_key",
    "model": "model",
    "batch": False,
    "service_tier": ("default",),
}
_ANTHROPIC_DIMENSIONS: dict[str, Any] = {
    "workspace_id": "project",
    "account_id": "user",
    "api_key_id": "api_key",
    "model": "model",
    "service_tier": ("standard",),
    "context_window": ("0-200k",),
    "inference_geo": ("global",),
}


class _Refused(Exception):  # noqa: N818 - it is an answer, not a mistake of the test
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class _Asked:
    """One request, read: a half-open range of UTC instants in buckets of ``step``."""

    start: datetime
    end: datetime
    width: str
    limit: int
    dimensions: tuple[str, ...]
    projects: tuple[str, ...]
    cursor: str | None

    @classmethod
    def of_openai(cls, query: Query) -> _Asked:
        def instant(text: str) -> datetime:
            return datetime.fromtimestamp(int(text), UTC)

        return cls._of(query, "start_time", "end_time", instant, "group_by", "project_ids", open_bucket=True)

    @classmethod
    def of_anthropic(cls, query: Query) -> _Asked:
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
    ) -> _Asked:
        single = dict(query)
        if start not in single:
            raise _Refused(400, f"Missing query parameter '{start}'")
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
            raise _Refused(400, "the page token does not belong to these parameters")
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


def _check_limit(asked: _Asked, limits: Mapping[str, int]) -> None:
    if asked.width not in limits:
        raise _Refused(400, f"Invalid bucket width: {asked.width}")
    if asked.limit > limits[asked.width]:
        raise _Refused(400, f"Invalid limit provided: {asked.limit}. Limit must be at most {limits[asked.width]}.")


def _check_dimensions(asked: _Asked, known: set[str]) -> None:
    if unknown := set(asked.dimensions) - known:
        raise _Refused(400, f"Invalid group_by: {sorted(unknown)}")


def _dimension(use: Use, ours: Any) -> Any:
    """A use's value of a dimension: one of its attributes, or a constant of the account."""
    return ours[0] if isinstance(ours, tuple) else getattr(use, ours) if isinstance(ours, str) else ours


def _sum(uses: Sequence[Use], *measures: str) -> int:
    return sum(getattr(use, measure) for use in uses for measure in measures)


def _encoded(answer: Json) -> bytes:
    return json.dumps(answer).encode()


def _rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
