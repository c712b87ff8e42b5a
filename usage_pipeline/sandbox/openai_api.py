"""The OpenAI administration API's completions usage and costs.

In: an authenticated request and the scene. Out: one page in OpenAI's shape, in either generation of the contract.
Costs exist per UTC day only: a clipped day still holds its whole amount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Scene, answered_dimensions
from usage_pipeline.sandbox.openai_endpoints import DECISIONS_PATH, OPENAI_REPORTS
from usage_pipeline.sandbox.openai_page import Key, extras, ordered, page
from usage_pipeline.sandbox.openai_request import OpenAiQuery, read_query, refuse
from usage_pipeline.sandbox.paging import Bucket, clipped_buckets
from usage_pipeline.sandbox.prices import ZERO_AMOUNT, OpenAiCharge
from usage_pipeline.sandbox.switches import OPENAI_COSTS_PATH, OPENAI_USAGE_PATH, Switches
from usage_pipeline.sandbox.traffic import DAY_SECONDS, OpenAiCounts, OpenAiRow, added, noise

_MANY_DECIMALS = 39


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one group costs. The unit is that of its first charge: it means something only with a line item."""

    amount_usd: Decimal
    quantity: int | Decimal
    quantity_unit: str


def usage_completions(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/usage/completions. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    rows = scene.world.openai_rows(buckets[0].start_s, buckets[-1].end_s, scene.switches.alterations())
    return _usage(query, buckets, rows, scene)


def usage_decisions(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/usage/decisions, in the newest contract only; the sandbox made none. Raises Refusal."""
    if scene.switches.openai_contract != "2026":
        raise refuse(404, f"Not found: {request.path}")
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    return _usage(query, buckets, (), scene)


def costs(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/costs. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    asked = answered_dimensions(query.group_by, scene.faults)
    first_day_s = buckets[0].start_s - buckets[0].start_s % DAY_SECONDS
    last_s = buckets[-1].end_s
    charges = scene.world.openai_charges(first_day_s, last_s + -last_s % DAY_SECONDS, scene.switches.alterations())
    sums: dict[int, dict[Key, _Cost]] = {bucket.start_s: {} for bucket in buckets}
    for charge in charges:
        if not _passes_charge(charge, query):
            continue
        groups = sums[max(charge.at_s - charge.at_s % DAY_SECONDS, query.here.next_start_s)]
        key = tuple(getattr(charge, name) for name in asked)
        cost = groups.get(key, _Cost(Decimal(0), 0, charge.quantity_unit))
        groups[key] = replace(
            cost, amount_usd=cost.amount_usd + charge.amount_usd, quantity=cost.quantity + charge.quantity
        )
    results = [
        [
            _cost_result(dict(zip(asked, key, strict=True)), cost, day_s - day_s % DAY_SECONDS, scene)
            for key, cost in ordered(groups)
        ]
        for day_s, groups in sums.items()
    ]
    return page(query, buckets, results, scene)


def _usage(query: OpenAiQuery, buckets: tuple[Bucket, ...], rows: Iterable[OpenAiRow], scene: Scene) -> Answer:
    asked = answered_dimensions(query.group_by, scene.faults)
    sums: dict[int, dict[Key, OpenAiCounts]] = {bucket.start_s: {} for bucket in buckets}
    for row in rows:
        if not _passes(row, query):
            continue
        groups = sums[max(row.at_s - row.at_s % query.width_s, query.here.next_start_s)]
        key = tuple(getattr(row.stream, name) for name in asked)
        groups[key] = added(groups[key], row.counts) if key in groups else row.counts
    results = [
        [_usage_result(dict(zip(asked, key, strict=True)), counts, scene.switches) for key, counts in ordered(groups)]
        for groups in sums.values()
    ]
    return page(query, buckets, results, scene)


def _passes(row: OpenAiRow, query: OpenAiQuery) -> bool:
    return query.batch in (None, row.stream.batch) and all(
        getattr(row.stream, name) in wanted for name, wanted in query.filters.items()
    )


def _passes_charge(charge: OpenAiCharge, query: OpenAiQuery) -> bool:
    return all(getattr(charge, name) in wanted for name, wanted in query.filters.items())


def _usage_result(group: dict[str, object], counts: OpenAiCounts, switches: Switches) -> Document:
    report, newest = OPENAI_REPORTS[OPENAI_USAGE_PATH], switches.openai_contract == "2026"
    result: Document = {
        "object": report.result_object,
        **(_measures_2026(counts) if newest else _measures_2025(counts)),
        "num_model_requests": counts.requests,
    }
    for name in (*report.dimensions, *(report.dimensions_2026 if newest else ())):
        result[name] = group.get(name, None if name == "batch" else switches.openai_null_dimension)
    return result | (extras(group) if switches.openai_extras else {})


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


def _cost_result(group: dict[str, object], cost: _Cost, day_s: int, scene: Scene) -> Document:
    report, switches = OPENAI_REPORTS[OPENAI_COSTS_PATH], scene.switches
    newest = switches.openai_contract == "2026"
    by_line = "line_item" in group
    as_number = noise(scene.world.seed, "amount", day_s, *sorted(map(str, group.values()))) % 2 == 0
    result: Document = {
        "object": report.result_object,
        "amount": {"value": _amount(cost.amount_usd, as_number), "currency": "usd"},
        "quantity": float(cost.quantity) if by_line else None,
    }
    if newest:
        result["quantity_unit"] = cost.quantity_unit if by_line else None
    for name in (*report.dimensions, *(report.dimensions_2026 if newest else ())):
        result[name] = group.get(name, switches.openai_null_dimension)
    return result | (extras(group) if switches.openai_extras else {})


def _amount(amount_usd: Decimal, as_number: bool) -> float | str:
    """A JSON number only where it says the same amount exactly."""
    if not amount_usd:
        return ZERO_AMOUNT
    number = float(amount_usd)
    if as_number and Decimal(repr(number)) == amount_usd:
        return number
    return f"{amount_usd:.{_MANY_DECIMALS}f}"


GETS: Final[Mapping[str, Callable[[ApiRequest, Scene], Answer]]] = {
    OPENAI_USAGE_PATH: usage_completions,
    DECISIONS_PATH: usage_decisions,
    OPENAI_COSTS_PATH: costs,
}
"""What answers each path."""
