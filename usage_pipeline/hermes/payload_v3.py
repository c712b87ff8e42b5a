"""Payload v3, this project's own: what a batch covers, who billed, and the hour of each call.

Belongs here: the contract of v3 and its reading. In: the fields of a payload. Out: rows, coverage, findings.

::

    {
      "schemaVersion": 3,
      "environment": "production",
      "generatedAt": "2025-11-20T08:15:00Z",          UTC, at most five minutes ahead of the receiver
      "sourceLabel": "hermes on build-7",
      "workspace": {"slug": "acme", "name": "Acme"},
      "revision": 42,                                  never decreases within one install
      "coverage": {"start": "2025-11-18", "end": "2025-11-21"},
      "hoursAreCallTime": true,
      "days":  [{"usageDate": "2025-11-19", "usage": [row, …]}],
      "hours": [{"usageDate": "2025-11-19T07:00:00Z", "usage": [row, …]}]
    }

    row = {
      "model": "claude-sonnet-4-6",                    as recorded
      "provider": "Anthropic",                         the model's vendor; absent: by the model's name
      "billingProvider": "openrouter",                 who billed, where, and how; absent or "" where not recorded
      "billingBaseUrl": "https://openrouter.ai/api/v1",
      "billingMode": "official_models_api",
      "task": "compression",                           an auxiliary task; "" is the main loop
      "requests": 3,                                   absent or null: not recorded
      "inputTokens": 100,                              without the cached part
      "cacheReadTokens": 20, "cacheWriteTokens": 10,
      "outputTokens": 40,                              with the reasoning part
      "reasoningTokens": 5,                            a part of the output; absent or null: not recorded
      "estimatedCostUsd": 1.25, "actualCostUsd": null  null is "not observed", 0 is free
    }

Coverage is half-open and its end is at most the day after that of ``generatedAt``. A covered day without rows was
idle; a day outside was not looked at, and rows there are refused. A row is known by its model, vendor, billing and
task, and comes once in a bucket. ``hoursAreCallTime`` says that each call stands in the hour in which it was made; a
session dated as a whole must say false. A batch without coverage must have no rows: it is a heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlsplit

from usage_pipeline.hermes.batch import REACH_MAX, HermesRow, PayloadFinding, RowKind
from usage_pipeline.hermes.payload_bucket_check import reasoning_finding
from usage_pipeline.hermes.payload_fields import Fields, refusal
from usage_pipeline.hermes.routes import provider_slug, vendor_of_model

V3_FIELDS = frozenset(
    {
        "schemaVersion",
        "environment",
        "generatedAt",
        "sourceLabel",
        "workspace",
        "revision",
        "coverage",
        "hoursAreCallTime",
        "days",
        "hours",
    }
)
_COVERAGE_FIELDS = frozenset({"start", "end"})
_BUCKET_FIELDS = frozenset({"usageDate", "usage"})
_ROW_FIELDS = frozenset(
    {
        "model",
        "provider",
        "billingProvider",
        "billingBaseUrl",
        "billingMode",
        "task",
        "requests",
        "inputTokens",
        "cacheReadTokens",
        "cacheWriteTokens",
        "outputTokens",
        "reasoningTokens",
        "estimatedCostUsd",
        "actualCostUsd",
    }
)

Coverage = tuple[date, date]


@dataclass(frozen=True, slots=True)
class V3Usage:
    """What a v3 payload says beyond its head."""

    revision: int
    coverage: Coverage | None
    hours_are_call_time: bool
    rows: tuple[HermesRow, ...]
    findings: tuple[PayloadFinding, ...]


def read_v3(payload: Fields, generated_at: datetime) -> V3Usage:
    """Read the body of a v3 payload.

    Raises PayloadRefusedError at the first field that breaks the contract; ``payload_outside_coverage`` for a bucket
    on a day that the payload does not cover.
    """
    coverage = _read_coverage(payload, generated_at)
    rows: list[HermesRow] = []
    findings: list[PayloadFinding] = []
    for bucket, start in _read_bucket_starts(payload, "days", _day_start, coverage):
        _read_usage(bucket, "day", start, rows, findings)
    for bucket, start in _read_bucket_starts(payload, "hours", _hour_start, coverage):
        _read_usage(bucket, "hour", start, rows, findings)
    return V3Usage(
        revision=payload.count("revision"),
        coverage=coverage,
        hours_are_call_time=payload.flag("hoursAreCallTime"),
        rows=tuple(rows),
        findings=tuple(findings),
    )


def _read_coverage(payload: Fields, generated_at: datetime) -> Coverage | None:
    if not payload.has("coverage"):
        return None
    fields = payload.child("coverage", _COVERAGE_FIELDS)
    start, end = fields.day("start"), fields.day("end")
    if start >= end:
        raise refusal(fields.at("end"), "must be after the start, since the end is not covered itself")
    if end > generated_at.date() + timedelta(days=1):
        raise refusal(fields.at("end"), "lies after the day of generatedAt", "payload_from_the_future")
    if generated_at.date() - start > REACH_MAX:
        raise refusal(fields.at("start"), "lies more than ten years before generatedAt")
    return start, end


def _day_start(bucket: Fields) -> datetime:
    return datetime.combine(bucket.day("usageDate"), time(), UTC)


def _hour_start(bucket: Fields) -> datetime:
    return bucket.hour("usageDate")


def _read_bucket_starts(
    payload: Fields, name: str, read_start: Callable[[Fields], datetime], coverage: Coverage | None
) -> Iterator[tuple[Fields, datetime]]:
    """The buckets of ``days`` or ``hours`` with their starts, each covered and none twice."""
    starts: set[datetime] = set()
    for bucket in payload.children(name, _BUCKET_FIELDS):
        start = read_start(bucket)
        if coverage is None or not coverage[0] <= start.date() < coverage[1]:
            raise refusal(bucket.at("usageDate"), "is not covered by coverage", "payload_outside_coverage")
        if start in starts:
            raise refusal(bucket.at("usageDate"), "is a bucket that came before", "payload_duplicate_bucket")
        starts.add(start)
        yield bucket, start


def _read_usage(
    bucket: Fields, kind: RowKind, start: datetime, rows: list[HermesRow], findings: list[PayloadFinding]
) -> None:
    """Add the rows of one bucket to ``rows``, and what is odd about them to ``findings``."""
    seen: set[tuple[str | None, ...]] = set()
    for fields in bucket.children("usage", _ROW_FIELDS):
        row = _read_row(fields, kind, start)
        billing = (row.billing_provider, row.billing_base_url, row.billing_mode)
        identity = (row.provider, row.model, *billing, row.task)
        if identity in seen:
            raise refusal(fields.at("model"), "came before with the same billing and task", "payload_duplicate_model")
        seen.add(identity)
        rows.append(row)
        if row.reasoning is not None and row.reasoning > row.output:
            where = fields.at("reasoningTokens")
            findings.append(reasoning_finding(where, start.date(), row.output, row.reasoning))


def _read_row(fields: Fields, kind: RowKind, start: datetime) -> HermesRow:
    model = fields.text("model")
    label = fields.optional_text("provider").strip()
    return HermesRow(
        kind=kind,
        start=start,
        provider=provider_slug(label) if label else vendor_of_model(model),
        model=model,
        billing_provider=fields.optional_text("billingProvider"),
        billing_base_url=_read_base_url(fields, "billingBaseUrl"),
        billing_mode=fields.optional_text("billingMode"),
        task=fields.optional_text("task"),
        counts=True,
        repository=None,
        repository_name=None,
        requests=fields.optional_count("requests"),
        uncached_input=fields.count("inputTokens"),
        cache_read=fields.count("cacheReadTokens"),
        cache_write_unsplit=fields.count("cacheWriteTokens"),
        output=fields.count("outputTokens"),
        reasoning=fields.optional_count("reasoningTokens"),
        estimated_cost_usd=fields.optional_quantity("estimatedCostUsd"),
        actual_cost_usd=fields.optional_quantity("actualCostUsd"),
    )


def _read_base_url(fields: Fields, name: str) -> str:
    """The base URL without anything that could be a secret: some services take their key in the address."""
    written = fields.optional_text(name)
    try:
        parts = urlsplit(written)
    except ValueError:
        raise refusal(fields.at(name), "must be a URL") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise refusal(fields.at(name), "must be scheme, host and path alone, without user, query or fragment")
    return written
