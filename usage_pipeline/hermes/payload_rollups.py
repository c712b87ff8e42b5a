"""Payloads v1 and v2: the buckets of the plugin in use, each with its models.

Belongs here: reading ``rollups``. In: the fields of a payload. Out: one :class:`HermesRow` per model and bucket, and
one for what the models leave unallocated.

The models of a bucket count, its totals only check them. ``totalTokens`` and ``tokens`` add reasoning on top of the
output that contains it already, so no figure is ever taken from them.

Three generations are in use. v2 and the last v1 builds give every model its token classes. Earlier v1 builds gave a
model no classes at all, only ``tokens``: such a bucket is unallocated as a whole, unless it has a single model, which
then used what the bucket states. The first builds also named the agent (``Hermes``) or nobody as the provider, and
had no reasoning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from usage_pipeline.hermes.batch import REACH_MAX, UNALLOCATED_MODEL, HermesRow, PayloadFinding, RowKind
from usage_pipeline.hermes.payload_bucket_check import (
    ModelUsage,
    Totals,
    bucket_findings,
    providers_of,
    unallocated_rest,
)
from usage_pipeline.hermes.payload_fields import Fields, refusal
from usage_pipeline.hermes.routes import provider_slug, vendor_of_native_model

_BUCKET_FIELDS = frozenset(
    {
        "usageDate",
        "requests",
        "totalTokens",
        "inputTokens",
        "outputTokens",
        "cachedTokens",
        "reasoningTokens",
        "estimatedCostUsd",
        "actualCostUsd",
        "actualCostObservedSessions",
        "actualCostObservedTokens",
        "models",
        "errorCount",
        "avgLatencyMs",
        "p95LatencyMs",
        "issues",
    }
)
_MODEL_FIELDS = frozenset(
    {
        "model",
        "provider",
        "requests",
        "tokens",
        "inputTokens",
        "outputTokens",
        "cacheReadTokens",
        "cacheWriteTokens",
        "reasoningTokens",
        "estimatedCostUsd",
        "actualCostUsd",
        "actualCostObservedSessions",
        "actualCostObservedTokens",
    }
)
_ISSUE_FIELDS = frozenset({"severity", "title", "count", "metadata"})


@dataclass(frozen=True, slots=True)
class Bucket:
    """One entry of ``rollups``: a UTC day, or an hour that shows its shape."""

    kind: RowKind
    start: datetime
    where: str
    totals: Totals
    rows: tuple[HermesRow, ...]
    findings: tuple[PayloadFinding, ...]


def read_bucket_start(fields: Fields, generated_at: datetime) -> tuple[RowKind, datetime]:
    """The kind and the start (UTC) of the bucket that ``usageDate`` names.

    Raises PayloadRefusedError where it is neither a day nor an hour in canonical form, or on a day after that of
    ``generated_at`` (``payload_from_the_future``), or more than ten years before it.
    """
    if fields.is_day("usageDate"):
        kind: RowKind = "day"
        start = datetime.combine(fields.day("usageDate"), time(), UTC)
    else:
        kind, start = "hour", fields.hour("usageDate")
    if start.date() > generated_at.date():
        raise refusal(fields.at("usageDate"), "lies after the day of generatedAt", "payload_from_the_future")
    if generated_at.date() - start.date() > REACH_MAX:
        raise refusal(fields.at("usageDate"), "lies more than ten years before generatedAt")
    return kind, start


def read_buckets(payload: Fields, generated_at: datetime, schema_version: int) -> tuple[Bucket, ...]:
    """All buckets of ``rollups``, in the payload's order.

    Raises PayloadRefusedError at the first field that breaks the contract.
    """
    buckets: dict[tuple[RowKind, datetime], Bucket] = {}
    for fields in payload.children("rollups", _BUCKET_FIELDS):
        bucket = _read_bucket(fields, generated_at, schema_version)
        key = (bucket.kind, bucket.start)
        if key in buckets:
            raise refusal(fields.at("usageDate"), "is a bucket that came before", "payload_duplicate_bucket")
        buckets[key] = bucket
    return tuple(buckets.values())


def _read_bucket(fields: Fields, generated_at: datetime, schema_version: int) -> Bucket:
    kind, start = read_bucket_start(fields, generated_at)
    _check_health_figures(fields)
    totals = _read_totals(fields, schema_version)
    models = _read_models(fields, totals, schema_version)
    rest = unallocated_rest(fields.path, totals, models)
    rows = [_row_of(model, kind, start, counts=True) for model in models if model.states_classes]
    if rest is not None:
        rows.append(_row_of(rest, kind, start, counts=len(providers_of(models)) == 1))
    findings = bucket_findings(fields.path, start.date(), totals, models, rest)
    return Bucket(kind, start, fields.path, totals, tuple(rows), findings)


def _check_health_figures(fields: Fields) -> None:
    """The optional figures that nothing here uses must still be figures."""
    for name in ("errorCount", "actualCostObservedSessions", "actualCostObservedTokens"):
        fields.optional_count(name)
    for name in ("avgLatencyMs", "p95LatencyMs"):
        fields.optional_quantity(name)
    if fields.has("issues"):
        for issue in fields.children("issues", _ISSUE_FIELDS):
            issue.optional_count("count")


def _read_totals(fields: Fields, schema_version: int) -> Totals:
    """v2 states every figure; early v1 builds leave some out."""
    count = fields.count if schema_version >= 2 else fields.optional_count
    return Totals(
        requests=fields.count("requests"),
        uncached_input=fields.count("inputTokens"),
        cached=count("cachedTokens"),
        output=fields.count("outputTokens"),
        reasoning=count("reasoningTokens"),
        total=count("totalTokens"),
        estimated_cost_usd=fields.optional_quantity("estimatedCostUsd"),
        actual_cost_usd=fields.optional_quantity("actualCostUsd"),
    )


def _read_models(fields: Fields, totals: Totals, schema_version: int) -> tuple[ModelUsage, ...]:
    models: dict[tuple[str, str], ModelUsage] = {}
    for child in fields.children("models", _MODEL_FIELDS):
        model = _read_model(child, schema_version)
        key = (model.provider, model.model)
        if key in models:
            raise refusal(child.at("model"), "is a model that came before", "payload_duplicate_model")
        models[key] = model
    if len(models) == 1:
        return tuple(_completed_from_bucket(model, totals) for model in models.values())
    return tuple(models.values())


def _read_model(fields: Fields, schema_version: int) -> ModelUsage:
    name = fields.text("model")
    if name == UNALLOCATED_MODEL:
        raise refusal(fields.at("model"), f"is {UNALLOCATED_MODEL!r}, a name that the ledger keeps for itself")
    for unused in ("actualCostObservedSessions", "actualCostObservedTokens"):
        fields.optional_count(unused)
    states_classes = schema_version >= 2 or fields.has("inputTokens") or fields.has("outputTokens")
    states_cache = schema_version >= 2 or fields.has("cacheReadTokens") or fields.has("cacheWriteTokens")
    return ModelUsage(
        where=fields.path,
        provider=_provider_of(fields, name),
        model=name,
        states_classes=states_classes,
        states_cache=states_cache,
        requests=fields.count("requests"),
        uncached_input=fields.count("inputTokens") if states_classes else 0,
        cache_read=fields.count("cacheReadTokens") if states_cache else 0,
        cache_write=fields.count("cacheWriteTokens") if states_cache else 0,
        output=fields.count("outputTokens") if states_classes else 0,
        reasoning=fields.count("reasoningTokens") if schema_version >= 2 else fields.optional_count("reasoningTokens"),
        tokens=fields.optional_count("tokens"),
        estimated_cost_usd=fields.optional_quantity("estimatedCostUsd"),
        actual_cost_usd=fields.optional_quantity("actualCostUsd"),
    )


def _provider_of(fields: Fields, model: str) -> str:
    """The stated vendor. Early v1 builds state none, or the agent itself: then the model's own name decides."""
    label = fields.optional_text("provider").strip()
    stated = provider_slug(label)
    return vendor_of_native_model(model) if not label or stated == "hermes" else stated


def _completed_from_bucket(model: ModelUsage, totals: Totals) -> ModelUsage:
    """The only model of its bucket, with the classes that it does not state itself taken from the bucket, which has
    no other. Cached tokens that are not split are taken for reads, by far the more frequent."""
    if not model.states_classes:
        model = replace(
            model,
            states_classes=True,
            uncached_input=totals.uncached_input,
            output=totals.output,
            reasoning=totals.reasoning if model.reasoning is None else model.reasoning,
            actual_cost_usd=totals.actual_cost_usd if model.actual_cost_usd is None else model.actual_cost_usd,
        )
    if not model.states_cache:
        cached = totals.cached or 0
        model = replace(model, states_cache=True, cache_read=cached, cache_guessed=cached)
    return model


def _row_of(model: ModelUsage, kind: RowKind, start: datetime, *, counts: bool) -> HermesRow:
    return HermesRow(
        kind=kind,
        start=start,
        provider=model.provider,
        model=model.model,
        billing_provider=None,
        billing_base_url=None,
        billing_mode=None,
        task=None,
        counts=counts,
        repository=None,
        repository_name=None,
        requests=model.requests,
        uncached_input=model.uncached_input,
        cache_read=model.cache_read,
        cache_write_unsplit=model.cache_write,
        output=model.output,
        reasoning=model.reasoning,
        estimated_cost_usd=model.estimated_cost_usd,
        actual_cost_usd=model.actual_cost_usd,
    )
