"""The OpenAI administration API's two reports: completions usage and costs.

In: an authenticated request and the scene. Out: one page in OpenAI's shape, in either generation of the contract.
Costs exist per UTC day only: a clipped day still holds its whole amount.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Scene, answered_dimensions, spoil
from usage_pipeline.sandbox.openai_request import OpenAiQuery, read_query
from usage_pipeline.sandbox.organisations import (
    OPENAI_ORGANISATION_ID,
    OPENAI_ORGANISATION_NAME,
    PROJECT_NAMES,
    USER_EMAILS,
)
from usage_pipeline.sandbox.paging import Bucket, Cursor, clipped_buckets, page_token
from usage_pipeline.sandbox.prices import ZERO_AMOUNT, OpenAiCharge
from usage_pipeline.sandbox.switches import Switches
from usage_pipeline.sandbox.traffic import DAY_SECONDS, OpenAiCounts, OpenAiRow, added, noise

_USAGE_DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")
_FILTERED_ATTRIBUTE = {
    "project_ids": "project_id",
    "user_ids": "user_id",
    "api_key_ids": "api_key_id",
    "models": "model",
    "line_items": "line_item",
}
_MANY_DECIMALS = 39

Key = tuple[object, ...]
Total = TypeVar("Total")


def usage_completions(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/usage/completions. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    asked = answered_dimensions(query.group_by, scene.faults)
    rows = scene.world.openai_rows(buckets[0].start_s, buckets[-1].end_s, scene.switches.alterations())
    sums: dict[int, dict[Key, OpenAiCounts]] = {bucket.start_s: {} for bucket in buckets}
    for row in rows:
        if not _passes(row, query):
            continue
        groups = sums[max(row.at_s - row.at_s % query.width_s, query.here.next_start_s)]
        key = tuple(getattr(row.stream, name) for name in asked)
        groups[key] = added(groups[key], row.counts) if key in groups else row.counts
    results = [
        [_usage_result(dict(zip(asked, key, strict=True)), counts, scene.switches) for key, counts in _ordered(groups)]
        for groups in sums.values()
    ]
    return _page(query, buckets, results, scene)


def costs(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/costs. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    asked = answered_dimensions(query.group_by, scene.faults)
    first_day_s = buckets[0].start_s - buckets[0].start_s % DAY_SECONDS
    last_s = buckets[-1].end_s
    charges = scene.world.openai_charges(first_day_s, last_s + -last_s % DAY_SECONDS, scene.switches.alterations())
    sums: dict[int, dict[Key, tuple[Decimal, int]]] = {bucket.start_s: {} for bucket in buckets}
    for charge in charges:
        if not _passes_charge(charge, query):
            continue
        groups = sums[max(charge.at_s - charge.at_s % DAY_SECONDS, query.here.next_start_s)]
        key = tuple(getattr(charge, name) for name in asked)
        amount, quantity = groups.get(key, (Decimal(0), 0))
        groups[key] = (amount + charge.amount_usd, quantity + charge.quantity)
    results = [
        [
            _cost_result(dict(zip(asked, key, strict=True)), *total, day_s - day_s % DAY_SECONDS, scene)
            for key, total in _ordered(groups)
        ]
        for day_s, groups in sums.items()
    ]
    return _page(query, buckets, results, scene)


def _passes(row: OpenAiRow, query: OpenAiQuery) -> bool:
    return query.batch in (None, row.stream.batch) and all(
        getattr(row.stream, _FILTERED_ATTRIBUTE[name]) in wanted for name, wanted in query.filters.items()
    )


def _passes_charge(charge: OpenAiCharge, query: OpenAiQuery) -> bool:
    return all(getattr(charge, _FILTERED_ATTRIBUTE[name]) in wanted for name, wanted in query.filters.items())


def _ordered(groups: dict[Key, Total]) -> Iterable[tuple[Key, Total]]:
    return sorted(groups.items(), key=lambda item: str(item[0]))


def _page(query: OpenAiQuery, buckets: tuple[Bucket, ...], results: list[list[Document]], scene: Scene) -> Answer:
    end_s = buckets[-1].end_s
    following = (
        page_token(Cursor(query.here.end_s, end_s, query.here.page_number + 1), query.digest)
        if end_s < query.here.end_s
        else None
    )
    body: Document = {
        "object": "page",
        "data": [
            _bucket(bucket, held, scene.switches.openai_extras) for bucket, held in zip(buckets, results, strict=True)
        ],
        "has_more": following is not None,
        "next_page": scene.switches.openai_last_cursor if following is None else following,
    }
    return Answer(200, spoil(body, query.here, query.digest, scene.faults))


def _bucket(bucket: Bucket, results: list[Document], extras: bool) -> Document:
    document: Document = {
        "object": "bucket",
        "start_time": bucket.start_s,
        "end_time": bucket.end_s,
        "results": results,
    }
    if extras:
        # The live answers write these sometimes with and sometimes without a zone.
        zone = "+00:00" if bucket.start_s // DAY_SECONDS % 2 else ""
        for name, at_s in (("start_time_iso", bucket.start_s), ("end_time_iso", bucket.end_s)):
            document[name] = datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).isoformat() + zone
    return document


def _usage_result(group: dict[str, object], counts: OpenAiCounts, switches: Switches) -> Document:
    newest = switches.openai_contract == "2026"
    result: Document = {
        "object": "organization.usage.completions.result",
        **(_measures_2026(counts) if newest else _measures_2025(counts)),
        "num_model_requests": counts.requests,
    }
    for name in (*_USAGE_DIMENSIONS, *(("api_source",) if newest else ())):
        result[name] = group.get(name, None if name == "batch" else switches.openai_null_dimension)
    return result | (_extras(group) if switches.openai_extras else {})


def _measures_2026(c: OpenAiCounts) -> Document:
    """Every modality inside ``input_tokens``; the modality fields split what was not cached."""
    uncached = c.text_in + c.image_in + c.audio_in
    cached = c.cached_text_in + c.cached_image_in + c.cached_audio_in
    return {
        "input_tokens": uncached + cached + c.cache_write_in,
        "input_uncached_tokens": uncached,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": c.cache_write_in,
        "input_text_tokens": c.text_in,
        "input_audio_tokens": c.audio_in,
        "input_image_tokens": c.image_in,
        "input_cached_text_tokens": c.cached_text_in,
        "input_cached_audio_tokens": c.cached_audio_in,
        "input_cached_image_tokens": c.cached_image_in,
        "output_tokens": c.text_out + c.audio_out,
        "output_text_tokens": c.text_out,
        "output_audio_tokens": c.audio_out,
        "output_image_tokens": 0,
    }


def _measures_2025(c: OpenAiCounts) -> Document:
    """Audio, cached or not, lies beside ``input_tokens``; images count as text there."""
    cached = c.cached_text_in + c.cached_image_in
    return {
        "input_tokens": c.text_in + c.image_in + cached + c.cache_write_in,
        "input_cached_tokens": cached,
        "input_audio_tokens": c.audio_in + c.cached_audio_in,
        "output_tokens": c.text_out,
        "output_audio_tokens": c.audio_out,
    }


def _cost_result(group: dict[str, object], amount_usd: Decimal, quantity: int, day_s: int, scene: Scene) -> Document:
    switches = scene.switches
    newest = switches.openai_contract == "2026"
    by_line = "line_item" in group
    as_number = noise(scene.world.seed, "amount", day_s, *sorted(map(str, group.values()))) % 2 == 0
    result: Document = {
        "object": "organization.costs.result",
        "amount": {"value": _amount(amount_usd, as_number), "currency": "usd"},
        "quantity": float(quantity) if by_line else None,
    }
    if newest:
        result["quantity_unit"] = "tokens" if by_line else None
    names = ("project_id", "line_item", "api_key_id", *(("user_id", "api_source") if newest else ()))
    for name in names:
        result[name] = group.get(name, switches.openai_null_dimension)
    return result | (_extras(group) if switches.openai_extras else {})


def _amount(amount_usd: Decimal, as_number: bool) -> float | str:
    """A JSON number only where it says the same amount exactly."""
    if not amount_usd:
        return ZERO_AMOUNT
    number = float(amount_usd)
    if as_number and Decimal(repr(number)) == amount_usd:
        return number
    return f"{amount_usd:.{_MANY_DECIMALS}f}"


def _extras(group: dict[str, object]) -> Document:
    """Fields that live answers carry though no document names them."""
    return {
        "organization_id": OPENAI_ORGANISATION_ID,
        "organization_name": OPENAI_ORGANISATION_NAME,
        "project_name": PROJECT_NAMES.get(str(group.get("project_id"))),
        "user_email": USER_EMAILS.get(str(group.get("user_id"))),
    }
