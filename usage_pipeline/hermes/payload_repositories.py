"""Payload v2: the same usage cut by repository.

Belongs here: reading ``repositoryRollups``, checking that the cut adds up to the buckets, and that a repository's key
holds no address with credentials and no path of somebody's machine. In: the fields of a payload and its buckets.
Out: one :class:`HermesRow` per repository and day. The hours are checked and then left: the cut is by day.

A repository's models state only ``tokens``, so its row has no model. A repository that was recognised in two ways on
one day (by its root and by a working directory) becomes one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from usage_pipeline.hermes.batch import HermesRow, PayloadFinding, PayloadRefusedError, RowKind
from usage_pipeline.hermes.payload_bucket_check import cost_tolerance_usd, total_finding
from usage_pipeline.hermes.payload_fields import Fields, refusal
from usage_pipeline.hermes.payload_rollups import Bucket, read_bucket_start

UNATTRIBUTED: Final = "unattributed"

_FIELDS = frozenset(
    {
        "usageDate",
        "repository",
        "attributionStatus",
        "requests",
        "totalTokens",
        "inputTokens",
        "outputTokens",
        "cachedTokens",
        "reasoningTokens",
        "estimatedCostUsd",
        "models",
    }
)
_IDENTITY_FIELDS = frozenset({"key", "name"})
_MODEL_FIELDS = frozenset({"model", "provider", "requests", "tokens", "estimatedCostUsd"})

_ATTRIBUTIONS = frozenset({"exact", "cwd-derived", "unknown"})
_LOCAL_KEY = re.compile(r"local:[0-9a-f]{64}")
_REMOTE_KEY = re.compile(r"[^/\s]+/.+")

_BucketKey = tuple[RowKind, datetime]


@dataclass(frozen=True, slots=True)
class _Share:
    """One entry of ``repositoryRollups``. ``cached`` is reads plus writes."""

    where: str
    bucket: _BucketKey
    key: str
    name: str
    attribution: str
    requests: int
    total: int
    uncached_input: int
    cached: int
    output: int
    reasoning: int
    estimated_cost_usd: Decimal


def read_repositories(
    payload: Fields, buckets: Sequence[Bucket], generated_at: datetime
) -> tuple[tuple[HermesRow, ...], tuple[PayloadFinding, ...]]:
    """The rows by repository and day, and findings about totals that disagree with their classes.

    Raises PayloadRefusedError: ``payload_repositories_differ`` where the cut does not add up, both down to its models
    and up to the buckets; ``payload_repository_key`` for a key that may not leave its machine or two names of one
    key; ``payload_duplicate_bucket`` for the same repository twice.
    """
    shares = _read_shares(payload, generated_at)
    by_bucket: dict[_BucketKey, list[_Share]] = {}
    for share in shares:
        by_bucket.setdefault(share.bucket, []).append(share)
    _check_buckets(buckets, by_bucket)
    findings = tuple(finding for share in shares for finding in _total_findings(share))
    return _rows_by_day(by_bucket), findings


def _read_shares(payload: Fields, generated_at: datetime) -> tuple[_Share, ...]:
    shares: dict[tuple[_BucketKey, str, str], _Share] = {}
    names: dict[str, str] = {}
    for fields in payload.children("repositoryRollups", _FIELDS):
        share = _read_share(fields, generated_at)
        identity = (share.bucket, share.attribution, share.key)
        if identity in shares:
            raise refusal(fields.at("repository.key"), "came before in this bucket", "payload_duplicate_bucket")
        if names.setdefault(share.key, share.name) != share.name:
            raise refusal(fields.at("repository.name"), "differs from the key's other name", "payload_repository_key")
        shares[identity] = share
    return tuple(shares.values())


def _read_share(fields: Fields, generated_at: datetime) -> _Share:
    attribution = fields.text("attributionStatus")
    if attribution not in _ATTRIBUTIONS:
        raise refusal(fields.at("attributionStatus"), "must be exact, cwd-derived or unknown")
    identity = fields.child("repository", _IDENTITY_FIELDS)
    key, name = _read_identity(identity)
    if (attribution == "unknown") != (key == UNATTRIBUTED):
        raise refusal(identity.at("key"), f"must be {UNATTRIBUTED!r} exactly where the attribution is unknown")
    share = _Share(
        where=fields.path,
        bucket=read_bucket_start(fields, generated_at),
        key=key,
        name=name,
        attribution=attribution,
        requests=fields.count("requests"),
        total=fields.count("totalTokens"),
        uncached_input=fields.count("inputTokens"),
        cached=fields.count("cachedTokens"),
        output=fields.count("outputTokens"),
        reasoning=fields.count("reasoningTokens"),
        estimated_cost_usd=fields.quantity("estimatedCostUsd"),
    )
    _check_models(fields, share)
    return share


def _read_identity(identity: Fields) -> tuple[str, str]:
    """The key and the name, neither of which may tell more than which repository it is."""
    key, name = identity.text("key"), identity.text("name")
    remote = not any(sign in key for sign in ("://", "@", "\\")) and _REMOTE_KEY.fullmatch(key)
    if not (key == UNATTRIBUTED or _LOCAL_KEY.fullmatch(key) or remote):
        raise refusal(
            identity.at("key"),
            "must be host/path without scheme, user or backslash, or local: with 64 hexadecimal digits",
            "payload_repository_key",
        )
    if "/" in name or "\\" in name:
        raise refusal(identity.at("name"), "must be a name, not a path", "payload_repository_key")
    return key, name


def _check_models(fields: Fields, share: _Share) -> None:
    """The models of a repository add up to its row: requests and tokens exactly, costs within the rounding."""
    requests, tokens, cost = 0, 0, Decimal(0)
    seen: set[tuple[str, str]] = set()
    for model in fields.children("models", _MODEL_FIELDS):
        name = (model.optional_text("provider"), model.text("model"))
        if name in seen:
            raise refusal(model.at("model"), "is a model that came before", "payload_duplicate_model")
        seen.add(name)
        requests += model.count("requests")
        tokens += model.count("tokens")
        cost += model.quantity("estimatedCostUsd")
    if requests != share.requests:
        raise _difference(fields.at("requests"), share.requests, requests, "its models")
    if tokens != share.total:
        raise _difference(fields.at("totalTokens"), share.total, tokens, "its models")
    if abs(cost - share.estimated_cost_usd) > cost_tolerance_usd(len(seen)):
        raise _difference(fields.at("estimatedCostUsd"), share.estimated_cost_usd, cost, "its models")


def _check_buckets(buckets: Sequence[Bucket], by_bucket: Mapping[_BucketKey, Sequence[_Share]]) -> None:
    """The repositories of a bucket add up to it, and neither side has a bucket that the other lacks."""
    for bucket in buckets:
        shares = by_bucket.get((bucket.kind, bucket.start), ())
        if not shares:
            raise refusal(bucket.where, "has no repositories in repositoryRollups", "payload_repositories_differ")
        totals = bucket.totals
        for name, stated, parts in (
            ("requests", totals.requests, [share.requests for share in shares]),
            ("inputTokens", totals.uncached_input, [share.uncached_input for share in shares]),
            ("outputTokens", totals.output, [share.output for share in shares]),
            ("cachedTokens", totals.cached, [share.cached for share in shares]),
            ("reasoningTokens", totals.reasoning, [share.reasoning for share in shares]),
        ):
            if stated != sum(parts):
                raise _difference(f"{bucket.where}.{name}", stated, sum(parts), "its repositories")
        cost = sum((share.estimated_cost_usd for share in shares), Decimal(0))
        stated_cost = totals.estimated_cost_usd or Decimal(0)
        if abs(stated_cost - cost) > cost_tolerance_usd(len(shares)):
            raise _difference(f"{bucket.where}.estimatedCostUsd", stated_cost, cost, "its repositories")
    known = {(bucket.kind, bucket.start) for bucket in buckets}
    for key, shares in by_bucket.items():
        if key not in known:
            raise refusal(f"{shares[0].where}.usageDate", "has no bucket in rollups", "payload_repositories_differ")


def _difference(where: str, stated: Decimal | int | None, found: Decimal | int, parts: str) -> PayloadRefusedError:
    return refusal(where, f"states {stated}, and {parts} add up to {found}", "payload_repositories_differ")


def _total_findings(share: _Share) -> Iterable[PayloadFinding]:
    summed = share.uncached_input + share.cached + share.output + share.reasoning
    if share.total != summed:
        yield total_finding(f"{share.where}.totalTokens", share.bucket[1].date(), share.total, summed)


def _rows_by_day(by_bucket: Mapping[_BucketKey, Sequence[_Share]]) -> tuple[HermesRow, ...]:
    """One row per repository and day, in the payload's order; its attributions are added up."""
    rows: list[HermesRow] = []
    for (kind, start), shares in by_bucket.items():
        if kind == "day":
            grouped: dict[str, list[_Share]] = {}
            for share in shares:
                grouped.setdefault(share.key, []).append(share)
            rows.extend(_row_of(start, group) for group in grouped.values())
    return tuple(rows)


def _row_of(start: datetime, group: Sequence[_Share]) -> HermesRow:
    """The row of one repository. Its cached tokens are not split, and stand as reads: the cut never counts."""
    return HermesRow(
        kind="repository",
        start=start,
        provider="",
        model="",
        billing_provider=None,
        billing_base_url=None,
        billing_mode=None,
        task=None,
        counts=False,
        repository=group[0].key,
        repository_name=group[0].name,
        requests=sum(share.requests for share in group),
        uncached_input=sum(share.uncached_input for share in group),
        cache_read=sum(share.cached for share in group),
        cache_write_unsplit=0,
        output=sum(share.output for share in group),
        reasoning=sum(share.reasoning for share in group),
        estimated_cost_usd=sum((share.estimated_cost_usd for share in group), Decimal(0)),
        actual_cost_usd=None,
    )
