"""Checking a bucket of a v1 or v2 payload against the sum of its models.

Belongs here: what a bucket and a model state, what the models leave unallocated, and the findings about both.
In: typed figures in tokens, requests and US dollars. Out: the unallocated rest and findings, or a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from usage_pipeline.hermes.batch import UNALLOCATED_MODEL, UNKNOWN_PROVIDER, PayloadFinding
from usage_pipeline.hermes.payload_fields import refusal

_HALF_COST_STEP_USD = Decimal("0.00005")
"""Half of the last decimal that the plugin writes (four): the most that rounding moves one figure."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a bucket states of itself; None where an early v1 build states nothing. ``cached`` is reads plus writes."""

    requests: int
    uncached_input: int
    cached: int | None
    output: int
    reasoning: int | None
    total: int | None
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """One model of a bucket. Without ``states_classes`` its token classes are not known, and stand at 0.

    ``cache_guessed`` tells how many of ``cache_read`` may be writes in truth.
    """

    where: str
    provider: str
    model: str
    states_classes: bool
    states_cache: bool
    requests: int
    uncached_input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int | None
    tokens: int | None
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None
    cache_guessed: int = 0


def cost_tolerance_usd(parts: int) -> Decimal:
    """How far a rounded total may be from the sum of ``parts`` figures that were rounded one by one."""
    return (parts + 1) * _HALF_COST_STEP_USD


def providers_of(models: Sequence[ModelUsage]) -> frozenset[str]:
    """The vendors of a bucket, those included whose models state no token classes."""
    return frozenset(model.provider for model in models)


def unallocated_rest(where: str, totals: Totals, models: Sequence[ModelUsage]) -> ModelUsage | None:
    """What the bucket at ``where`` states beyond its models, None where no token is left.

    Requests, reasoning and costs ride along, never below 0; alone they make no rest, since only input, cached and
    output tokens are figures that a bucket and its models must share.

    Raises PayloadRefusedError ``payload_models_exceed_bucket`` where the models have more tokens than their bucket.
    """
    own = [model for model in models if model.states_classes]
    compared = _compared_tokens(totals, own)
    for name, (stated, found) in compared.items():
        if found > stated:
            raise refusal(
                f"{where}.{name}",
                f"states {stated} tokens, and the models of the bucket add up to {found}",
                "payload_models_exceed_bucket",
            )
    uncached_input, cached, output = (stated - found for stated, found in compared.values())
    if not (uncached_input or cached or output):
        return None
    providers = providers_of(models)
    reasoning = (totals.reasoning or 0) - sum(model.reasoning or 0 for model in own)
    return ModelUsage(
        where=where,
        provider=min(providers) if len(providers) == 1 else UNKNOWN_PROVIDER,
        model=UNALLOCATED_MODEL,
        states_classes=True,
        states_cache=False,
        requests=max(0, totals.requests - sum(model.requests for model in own)),
        uncached_input=uncached_input,
        cache_read=cached,
        cache_write=0,
        output=output,
        reasoning=None if totals.reasoning is None else min(max(0, reasoning), output),
        tokens=None,
        estimated_cost_usd=_cost_rest(totals.estimated_cost_usd, (model.estimated_cost_usd for model in own)),
        actual_cost_usd=_cost_rest(totals.actual_cost_usd, (model.actual_cost_usd for model in own)),
        cache_guessed=cached,
    )


def bucket_findings(
    where: str, day: date, totals: Totals, models: Sequence[ModelUsage], rest: ModelUsage | None
) -> tuple[PayloadFinding, ...]:
    """Everything odd about the bucket at ``where`` that is no reason to refuse it."""
    return (
        *_difference_findings(where, day, totals, [model for model in models if model.states_classes]),
        *_missing_split_findings(where, day, models, rest),
        *_total_findings(where, day, totals, models),
        *(
            reasoning_finding(f"{model.where}.reasoningTokens", day, model.output, model.reasoning)
            for model in models
            if model.states_classes and model.reasoning is not None and model.reasoning > model.output
        ),
    )


def total_finding(where: str, day: date, stated: int, found: int) -> PayloadFinding:
    """A stated total of tokens that is not the sum of its classes; no figure depends on it."""
    return PayloadFinding(
        code="total_tokens_differ",
        where=where,
        words=f"States {stated} tokens, its classes with reasoning on top add up to {found}. No figure uses the total.",
        day=day,
        measure="totalTokens",
        stated=stated,
        found=found,
    )


def reasoning_finding(where: str, day: date, output: int, reasoning: int) -> PayloadFinding:
    """Reasoning is a part of the output, so it cannot be larger."""
    return PayloadFinding(
        code="reasoning_exceeds_output",
        where=where,
        words=f"{reasoning} reasoning tokens are more than the {output} output tokens that contain them.",
        day=day,
        measure="reasoningTokens",
        stated=reasoning,
        found=output,
    )


def _compared_tokens(totals: Totals, own: Sequence[ModelUsage]) -> dict[str, tuple[int, int]]:
    """Per token figure: what the bucket states, and what its models add up to."""
    cached = sum(model.cache_read + model.cache_write for model in own)
    return {
        "inputTokens": (totals.uncached_input, sum(model.uncached_input for model in own)),
        "cachedTokens": (cached if totals.cached is None else totals.cached, cached),
        "outputTokens": (totals.output, sum(model.output for model in own)),
    }


def _cost_rest(stated: Decimal | None, parts: Iterable[Decimal | None]) -> Decimal | None:
    """What of a bucket's cost its models leave, never below 0; None where the bucket states no cost."""
    if stated is None:
        return None
    return max(Decimal(0), stated - sum((part for part in parts if part is not None), Decimal(0)))


def _difference_findings(
    where: str, day: date, totals: Totals, own: Sequence[ModelUsage]
) -> tuple[PayloadFinding, ...]:
    compared: dict[str, tuple[Decimal | int, Decimal | int]] = {**_compared_tokens(totals, own)}
    compared["requests"] = (totals.requests, sum(model.requests for model in own))
    costs = [model.estimated_cost_usd for model in own if model.estimated_cost_usd is not None]
    if totals.estimated_cost_usd is not None and costs:
        cost = sum(costs, Decimal(0))
        if abs(totals.estimated_cost_usd - cost) > cost_tolerance_usd(len(costs)):
            compared["estimatedCostUsd"] = (totals.estimated_cost_usd, cost)
    return tuple(
        PayloadFinding(
            code="rollup_differs",
            where=f"{where}.{name}",
            words=f"The bucket states {stated} {name}, the models that state theirs add up to {found}.",
            day=day,
            measure=name,
            stated=stated,
            found=found,
        )
        for name, (stated, found) in compared.items()
        if stated != found
    )


def _missing_split_findings(
    where: str, day: date, models: Sequence[ModelUsage], rest: ModelUsage | None
) -> tuple[PayloadFinding, ...]:
    """What an early v1 build does not tell about its models, and what was made of it."""
    findings = []
    without = sum(not model.states_classes for model in models)
    if without:
        findings.append(
            PayloadFinding(
                code="model_split_missing",
                where=f"{where}.models",
                words=f"{without} models state no token classes: their usage is in the bucket's row"
                f" {UNALLOCATED_MODEL!r}.",
                day=day,
            )
        )
    guessed = sum(model.cache_guessed for model in models) + (0 if rest is None else rest.cache_guessed)
    if guessed:
        findings.append(
            PayloadFinding(
                code="cache_split_missing",
                where=f"{where}.cachedTokens",
                words=f"{guessed} cached tokens do not say whether they were read or written: taken for reads.",
                day=day,
                measure="cachedTokens",
                stated=guessed,
            )
        )
    return tuple(findings)


def _total_findings(where: str, day: date, totals: Totals, models: Sequence[ModelUsage]) -> tuple[PayloadFinding, ...]:
    """At most one finding a bucket: a stated total that is not the sum of its classes, reasoning on top."""
    summed = totals.uncached_input + (totals.cached or 0) + totals.output + (totals.reasoning or 0)
    if totals.total is not None and totals.total != summed:
        return (total_finding(f"{where}.totalTokens", day, totals.total, summed),)
    for model in models:
        if model.states_classes and model.tokens is not None:
            parts = model.uncached_input + model.cache_read + model.cache_write + model.output + (model.reasoning or 0)
            if model.tokens != parts:
                return (total_finding(f"{model.where}.tokens", day, model.tokens, parts),)
    return ()
