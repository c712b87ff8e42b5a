"""A provider's account whose truth the test writes down, answering in OpenAI's or Anthropic's own words.

Belongs here: what was used and billed, and the answer to one request for it: buckets on the UTC grid, empty ones
included, the first clipped to the query's start and the last to its end, pages of ``limit`` buckets with a cursor, and
the refusals that the real APIs give. In: a path and its query. Out: a status and a body. No network here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from usage_pipeline_tests.scripted.openai_reports import (
    LEGACY_EMPTY_LISTS,
    OPENAI_COST_DIMENSIONS,
    OPENAI_COST_KEYS_SINCE,
    OPENAI_REPORTS,
    Detail,
    legacy_row,
)
from usage_pipeline_tests.scripted.request import Asked, Query, Refused, check_dimensions, check_limit

Json = dict[str, Any]

GROUP_BY_MAX_ANTHROPIC = 5
_ADMINISTRATION = ("/organizations/me", "/projects", "/workspaces", "/users", "/api_keys")


@dataclass(frozen=True)
class Use:
    """Something used at an instant, in tokens and requests, or as an ``amount`` in the unit of its report.

    ``endpoint`` is the last part of the API's path, None for where OpenAI's completions and Anthropic's messages are.
    ``details`` are dimensions that only this report has, by the API's name (an image's ``size``).
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
    amount: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bill:
    """A line of the bill of a UTC day, in exact US dollars."""

    day: date
    usd: Decimal
    label: str | None
    model: str | None = None
    token_type: str | None = None
    project: str | None = None
    api_key: str | None = None


@dataclass
class ScriptedAccount:
    """What one credential sees. A test may change ``uses`` and ``bills`` between pulls.

    ``refusals`` maps the last part of a path to (status, first page that is refused). ``organisation`` is the account's
    id where the API tells it, ``lists`` what its administration lists hold, by path; ``looked_up`` are those requests.
    ``costs_refuse_keys``: OpenAI gives this organisation no costs by API key.
    """

    provider: str
    secret: str
    uses: list[Use] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    refusals: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked: list[tuple[str, Query]] = field(default_factory=list)
    organisation: str | None = None
    lists: dict[str, list[Json]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    costs_refuse_keys: bool = False

    def refuse(self, endpoint: str, status: int = 500, from_page: int = 1) -> None:
        """Answer this endpoint with ``status`` from that page on, until :meth:`heal`."""
        self.refusals[endpoint] = (status, from_page)

    def spend(self, at: datetime, output: int, model: str = "gpt-5", *, user: str | None = None, **more: Any) -> None:
        """Use output tokens of a model that costs ten dollars per million of them, and bill them."""
        self.uses.append(Use(at, model, output=output, user=user, **more))
        usd = Decimal(output) * 10 / 1_000_000
        of = more.get("project"), more.get("api_key")
        self.bills.append(Bill(at.date(), usd, f"{model}, output", model, "output_tokens", *of))

    def forget(self) -> None:
        """Nothing was used and nothing billed: for a truth that the provider restates."""
        self.uses.clear()
        self.bills.clear()

    def heal(self) -> None:
        """Refuse nothing any more."""
        self.refusals.clear()

    def answer(self, path: str, query: Query) -> tuple[int, bytes]:
        """The status and the body for a GET of ``path``."""
        if path.endswith(_ADMINISTRATION):
            return self._administration(path)
        self.asked.append((path, query))
        try:
            if self.provider == "openai" and path.removeprefix("/v1") == "/usage":
                return 200, _encoded(self._openai_day(query))
            if self.provider == "openai":
                return 200, _encoded(self._openai(path, Asked.of_openai(query)))
            if path.endswith("/claude_code"):
                return 200, _encoded(self._claude_code())
            return 200, _encoded(self._anthropic(path, Asked.of_anthropic(query)))
        except Refused as refused:
            return refused.status, _encoded({"error": {"message": refused.message, "type": "scripted", "code": None}})

    def _administration(self, path: str) -> tuple[int, bytes]:
        """The organisation itself, or a whole list of what it has."""
        self.looked_up.append(path)
        if status := self.refusals.get(path.rsplit("/", 1)[-1], (0, 0))[0]:
            return status, _encoded({"error": {"message": "refused by the test", "type": "scripted", "code": None}})
        if path.endswith("/organizations/me") and self.organisation is not None:
            return 200, _encoded({"id": self.organisation, "type": "organization", "name": "Scripted"})
        if path in self.lists:
            return 200, _encoded({"data": self.lists[path], "has_more": False})
        return 404, _encoded({"error": {"message": f"Not found: {path}", "type": "scripted", "code": None}})

    def _page_start(self, endpoint: str, asked: Asked) -> int:
        """Which bucket the page begins with; the refusal that the test asked for."""
        start = asked.first_bucket
        status, from_page = self.refusals.get(endpoint, (0, 0))
        if status and start // asked.limit + 1 >= from_page:
            raise Refused(status, "refused by the test")
        return start

    def _openai(self, path: str, asked: Asked) -> Json:
        endpoint = path.rsplit("/", 1)[-1]
        costs = endpoint == "costs"
        if not costs and endpoint not in OPENAI_REPORTS:
            raise Refused(404, f"Invalid URL (GET {path})")
        check_limit(asked, {"1d": 180} if costs else {"1h": 168, "1d": 31})
        check_dimensions(asked, OPENAI_COST_DIMENSIONS if costs else OPENAI_REPORTS[endpoint].dimensions)
        if "api_key_id" in asked.dimensions and costs:
            if self.costs_refuse_keys:
                raise Refused(400, "Grouping by api_key_id is not available for this organization.")
            if asked.start < OPENAI_COST_KEYS_SINCE:
                raise Refused(400, "Grouping by api_key_id needs a start_time of 1764979200 or later.")
        render = self._openai_costs if costs else self._openai_usage
        page, cursor = asked.page(self._page_start(endpoint, asked))
        data = [
            {
                "object": "bucket",
                "start_time": int(start.timestamp()),
                "end_time": int(end.timestamp()),
                "results": [
                    row | ({"organization_id": self.organisation} if self.organisation else {})
                    for row in render(endpoint, start, end, asked)
                ],
            }
            for start, end in page
        ]
        return {"object": "page", "data": data, "has_more": cursor is not None, "next_page": cursor}

    def _anthropic(self, path: str, asked: Asked) -> Json:
        endpoint = path.rsplit("/", 1)[-1]
        costs = endpoint == "cost_report"
        check_limit(asked, {"1d": 31} if costs else {"1h": 168, "1d": 31})
        check_dimensions(asked, {"workspace_id", "description"} if costs else _ANTHROPIC_DIMENSIONS)
        if len(asked.dimensions) > GROUP_BY_MAX_ANTHROPIC:
            raise Refused(400, "Cannot specify more than 5 group_by[] dimensions.")
        if asked.bucket_count == 0:
            raise Refused(400, "ending date must be after starting date")
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

    def _claude_code(self) -> Json:
        """Nobody uses Claude Code."""
        self._refuse_as_told("claude_code")
        return {"data": [], "has_more": False, "next_page": None}

    def _refuse_as_told(self, endpoint: str) -> None:
        if status := self.refusals.get(endpoint, (0, 0))[0]:
            raise Refused(status, "refused by the test")

    def _grouped(
        self, endpoint: str, start: datetime, end: datetime, asked: Asked, dimensions: Mapping[str, Any]
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

    def _openai_usage(self, endpoint: str, start: datetime, end: datetime, asked: Asked) -> list[Json]:
        report = OPENAI_REPORTS[endpoint]
        return [
            {
                "object": report.result,
                **{theirs: _sum(uses, *ours) for theirs, ours in report.measures.items()},
                **dimensions,
            }
            for dimensions, uses in self._grouped(endpoint, start, end, asked, report.dimensions)
        ]

    def _openai_day(self, query: Query) -> Json:
        """What a standard key is told of one UTC day: a row for each use of completions and embeddings."""
        if "date" not in dict(query):
            raise Refused(400, "Missing query parameter 'date'")
        self._refuse_as_told("usage")
        day = date.fromisoformat(dict(query)["date"])
        rows = [
            legacy_row(use)
            for use in self.uses
            if use.at.date() == day and use.endpoint in {None, "completions", "embeddings"}
        ]
        return {"object": "list", "data": rows, **{name: [] for name in LEGACY_EMPTY_LISTS}}

    def _openai_costs(self, _endpoint: str, start: datetime, _end: datetime, asked: Asked) -> list[Json]:
        return [
            {
                "object": "organization.costs.result",
                "amount": {"value": str(bill.usd), "currency": "usd"},
                "line_item": bill.label if "line_item" in asked.dimensions else None,
                "project_id": bill.project if "project_id" in asked.dimensions else None,
                "api_key_id": bill.api_key if "api_key_id" in asked.dimensions else None,
            }
            for bill in self.bills
            if bill.day == start.date() and (not asked.projects or bill.project in asked.projects)
        ]

    def _anthropic_usage(self, endpoint: str, start: datetime, end: datetime, asked: Asked) -> list[Json]:
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

    def _anthropic_costs(self, _endpoint: str, start: datetime, _end: datetime, asked: Asked) -> list[Json]:
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
_ANTHROPIC_DIMENSIONS: dict[str, Any] = {
    "workspace_id": "project",
    "account_id": "user",
    "api_key_id": "api_key",
    "model": "model",
    "service_tier": ("standard",),
    "context_window": ("0-200k",),
    "inference_geo": ("global",),
}


def _dimension(use: Use, ours: Any) -> Any:
    """A use's value of a dimension: one of its attributes, a detail of its report, or a constant of the account."""
    if isinstance(ours, Detail):
        return use.details.get(ours.name)
    return ours[0] if isinstance(ours, tuple) else getattr(use, ours) if isinstance(ours, str) else ours


def _sum(uses: Sequence[Use], *measures: str) -> int:
    return sum(getattr(use, measure) for use in uses for measure in measures)


def _encoded(answer: Json) -> bytes:
    return json.dumps(answer).encode()


def _rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
