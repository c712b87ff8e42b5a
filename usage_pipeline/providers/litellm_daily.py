"""LiteLLM's daily activity: what the proxy itself adds up by UTC day, model and key.

The facts and their source are told in ``litellm``. The breakdown's maps are overlapping cuts of one total; ``models``
with its ``api_key_breakdown`` is the one that is read. A day may come in parts on several pages, each with a part of
every figure. Comes in: a page's body or a bucket's results. Goes out: buckets or rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from usage_pipeline.hermes.routes import vendor_of_model
from usage_pipeline.providers.canonical_row import results_of, usage_row
from usage_pipeline.providers.contract import Bucket, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.rows import UNREADABLE, Count, RowReader, broken, note_total_off

DAILY_ACTIVITY: Final = Endpoint(
    name="daily_activity",
    path="/user/daily/activity",
    kind="usage",
    family="text",
    dimensions={"model": "model", "api_key_id": "api_key"},
    dimensions_max=2,
    page_limits={"1d": 1},
    always_reports=frozenset({"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"}),
    narrows_to_projects=False,
    one_day_per_request=True,
    informational=True,
)


class _PageNumbers(msgspec.Struct):
    page: int
    has_more: bool


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]
    metadata: _PageNumbers


class _DatedRow(msgspec.Struct):
    date: str


class _Metrics(msgspec.Struct, gc=False):
    """Sums of many calls. The endpoint is in beta and gains sums of other things with every version: those are no
    tokens, so they are not told as drift."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    successful_requests: Count = 0


class _OfKey(msgspec.Struct, gc=False):
    metrics: _Metrics


class _OfModel(msgspec.Struct, gc=False):
    metrics: _Metrics
    api_key_breakdown: dict[str, _OfKey] = {}


class _Breakdown(msgspec.Struct, gc=False):
    models: dict[str, _OfModel]
    model_groups: msgspec.Raw = msgspec.Raw()
    providers: msgspec.Raw = msgspec.Raw()
    endpoints: msgspec.Raw = msgspec.Raw()
    api_keys: msgspec.Raw = msgspec.Raw()
    entities: msgspec.Raw = msgspec.Raw()
    mcp_servers: msgspec.Raw = msgspec.Raw()
    guardrails: msgspec.Raw = msgspec.Raw()


class _StrictBreakdown(_Breakdown, gc=False, forbid_unknown_fields=True):
    pass


class _Day(msgspec.Struct, gc=False):
    date: msgspec.Raw
    metrics: _Metrics
    breakdown: _Breakdown


class _StrictDay(_Day, gc=False, forbid_unknown_fields=True):
    breakdown: _StrictBreakdown


_PAGE: Final = msgspec.json.Decoder(_Page)
_DATED_ROW: Final = msgspec.json.Decoder(_DatedRow)
_DAYS: Final = RowReader[_Day](_StrictDay, _Day, nested={"breakdown": _Breakdown})


def read_daily_page(body: bytes, asked: PageQuery, where: str) -> Page:
    """One bucket: the asked day with the part of it that is on this page.

    Raises ``ContractBrokenError``: ``page_unreadable``, ``bucket_unexpected`` (another day than the one asked for).
    """
    day = asked.start.strftime("%Y-%m-%d")
    try:
        page = _PAGE.decode(body)
        days = {_DATED_ROW.decode(row).date for row in page.results}
    except UNREADABLE as error:
        problem = str(error)
    else:
        if days - {day}:
            raise broken("bucket_unexpected", "a row is of another day than the one asked for", where)
        following = str(page.metadata.page + 1) if page.metadata.has_more else None
        return Page([Bucket(asked.start, results_of(page.results))], following)
    raise broken("page_unreadable", f"the answer is no page of daily activity: {problem}", where)


def daily_rows(results: msgspec.Raw, drift: Drift, where: str) -> Iterator[UsageRow]:
    """One usage row a model and key. Raises ``ContractBrokenError``."""
    for day in _DAYS.read(results, drift, where):
        models = day.breakdown.models
        if sum(model.metrics.prompt_tokens for model in models.values()) != day.metrics.prompt_tokens:
            note_total_off(drift, "metrics.prompt_tokens")
        for name, model in models.items():
            for key, metrics in _by_key(model, drift):
                yield _row(name, key, metrics, drift)


def _by_key(model: _OfModel, drift: Drift) -> Iterator[tuple[str | None, _Metrics]]:
    """The model's figures by key, or as a whole where the proxy's version does not part them."""
    if not model.api_key_breakdown:
        yield None, model.metrics
        return
    if sum(key.metrics.prompt_tokens for key in model.api_key_breakdown.values()) != model.metrics.prompt_tokens:
        note_total_off(drift, "models.prompt_tokens")
    for name, key in model.api_key_breakdown.items():
        yield name, key.metrics


def _row(model: str, key: str | None, metrics: _Metrics, drift: Drift) -> UsageRow:
    drift.answered_dimensions.update(name for name, value in (("model", model), ("api_key_id", key)) if value)
    cached = min(metrics.cache_read_input_tokens, metrics.prompt_tokens)
    written = min(metrics.cache_creation_input_tokens, metrics.prompt_tokens - cached)
    if (cached, written) != (metrics.cache_read_input_tokens, metrics.cache_creation_input_tokens):
        note_total_off(drift, "prompt_tokens")
    return usage_row(
        {"model": model, "api_key_id": key, "upstream_provider": vendor_of_model(model)},
        {
            "uncached_input": metrics.prompt_tokens - cached - written,
            "cache_read": cached,
            "cache_write_unsplit": written,
            "output": metrics.completion_tokens,
            "requests": metrics.successful_requests,
        },
    )
