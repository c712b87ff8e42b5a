"""The Anthropic administration API's two reports: messages usage and costs.

In: an authenticated request and the scene. Out: one page in Anthropic's shape, in either generation of the contract.
Amounts are US cents in a decimal string.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

from usage_pipeline.sandbox.anthropic_request import AnthropicQuery, bad, read_query
from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Scene, answered_dimensions, spoil
from usage_pipeline.sandbox.paging import Bucket, Cursor, clipped_buckets, page_token
from usage_pipeline.sandbox.traffic import AnthropicCounts, AnthropicRow, added

_ONLY_2026 = frozenset({"account_id", "inference_geo", "service_account_id"})
_USAGE_DIMENSIONS = (
    "account_id",
    "api_key_id",
    "context_window",
    "inference_geo",
    "model",
    "service_account_id",
    "service_tier",
    "workspace_id",
)
_COST_DETAILS = (
    "description",
    "cost_type",
    "token_type",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
)
_SPEED = "standard"

Key = tuple[str | None, ...]


def usage_messages(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organizations/usage_report/messages. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    asked = answered_dimensions(query.group_by, scene.faults)
    sums: dict[int, dict[Key, AnthropicCounts]] = {bucket.start_s: {} for bucket in buckets}
    rows = scene.world.anthropic_rows(buckets[0].start_s, buckets[-1].end_s, scene.switches.alterations())
    for row in rows:
        if not all(_dimension(row, name) in wanted for name, wanted in query.filters.items()):
            continue
        groups = sums[row.at_s - row.at_s % query.width_s]
        key = tuple(_dimension(row, name) for name in asked)
        groups[key] = added(groups[key], row.counts) if key in groups else row.counts
    newest = scene.switches.anthropic_contract == "2026"
    results = [
        [_usage_result(dict(zip(asked, key, strict=True)), groups[key], newest) for key in sorted(groups, key=str)]
        for groups in sums.values()
    ]
    _check_result_count([len(held) for held in results], scene.switches.anthropic_results_max)
    return _page(query, buckets, results, scene)


def cost_report(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organizations/cost_report. Raises Refusal."""
    query = read_query(request, scene)
    buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
    asked = answered_dimensions(query.group_by, scene.faults)
    details = _COST_DETAILS if "description" in asked else ()
    names = (*details, *(("workspace_id",) if "workspace_id" in asked else ()))
    sums: dict[int, dict[Key, Decimal]] = {bucket.start_s: {} for bucket in buckets}
    for charge in scene.world.anthropic_charges(buckets[0].start_s, buckets[-1].end_s, scene.switches.alterations()):
        groups = sums[charge.at_s - charge.at_s % query.width_s]
        key = tuple(getattr(charge, name) for name in names)
        groups[key] = groups.get(key, Decimal(0)) + charge.amount_cents
    newest = scene.switches.anthropic_contract == "2026"
    results = [
        [_cost_result(dict(zip(names, key, strict=True)), groups[key], newest) for key in sorted(groups, key=str)]
        for groups in sums.values()
    ]
    return _page(query, buckets, results, scene)


def _check_result_count(counts: list[int], results_max: int | None) -> None:
    """Raises a 400 when a response would hold too many results; it names the largest limit that fits this response.

    That the cap exists, and that a smaller limit or fewer dimensions help, is from connectors run against the live
    API; its size and the message are not published.
    """
    if results_max is None or sum(counts) <= results_max:
        return
    held = list(accumulate(counts))
    fitting = sum(total <= results_max for total in held)
    remedy = f"Reduce limit to {fitting} or specify" if fitting else "Specify"
    raise bad(f"Response would exceed the maximum number of results. {remedy} fewer group_by[] dimensions.")


def _dimension(row: AnthropicRow, name: str) -> str | None:
    if name == "speed":
        return _SPEED
    value: str | None = getattr(row.stream, name)
    return value


def _page(query: AnthropicQuery, buckets: tuple[Bucket, ...], results: list[list[Document]], scene: Scene) -> Answer:
    end_s = buckets[-1].end_s
    following = (
        page_token(Cursor(query.here.end_s, end_s, query.here.page_number + 1), query.digest)
        if end_s < query.here.end_s
        else None
    )
    body: Document = {
        "data": [
            {"starting_at": _rfc_3339(bucket.start_s), "ending_at": _rfc_3339(bucket.end_s), "results": held}
            for bucket, held in zip(buckets, results, strict=True)
        ],
        "has_more": following is not None,
        "next_page": following,
    }
    return Answer(200, spoil(body, query.here, query.digest, scene.faults))


def _usage_result(group: dict[str, str | None], counts: AnthropicCounts, newest: bool) -> Document:
    result: Document = {
        "uncached_input_tokens": counts.uncached_in,
        "cache_creation": {
            "ephemeral_1h_input_tokens": counts.cache_1h_in,
            "ephemeral_5m_input_tokens": counts.cache_5m_in,
        },
        "cache_read_input_tokens": counts.cache_read_in,
        "output_tokens": counts.out,
        "server_tool_use": {"web_search_requests": counts.web_searches},
    }
    for name in _USAGE_DIMENSIONS:
        if newest or name not in _ONLY_2026:
            result[name] = group.get(name)
    return result


def _cost_result(group: dict[str, str | None], amount_cents: Decimal, newest: bool) -> Document:
    result: Document = {"amount": f"{amount_cents:f}", "currency": "USD"}
    for name in (*_COST_DETAILS, "workspace_id"):
        if newest or name not in _ONLY_2026:
            result[name] = group.get(name)
    return result


def _rfc_3339(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
