"""The payload that a Hermes plugin posts: bytes in, a typed batch out, or a refusal that names the field.

Belongs here: the head that all versions share, and which version is read by whom. In: the body, unpacked, and the
instant at which it was received. Out: :class:`HermesBatch`. No database, no clock, no network.

| schemaVersion | sent by | body read in |
| --- | --- | --- |
| absent or 1 | the plugin in use, before repositories | ``payload_rollups`` |
| 2 | the plugin in use | ``payload_rollups``, ``payload_repositories`` |
| 3 | this project's plugin | ``payload_v3``, which documents the contract |

A batch is accepted or refused as a whole. A field that nobody knows is not refused, since a newer plugin may send
more than this reads, but it is reported once per name.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Final

import msgspec

from usage_pipeline.hermes.batch import (
    REACH_MAX,
    HermesBatch,
    HermesRow,
    PayloadFinding,
    PayloadRefusedError,
    covered_days,
)
from usage_pipeline.hermes.local_days import first_hour_told, local_day_findings
from usage_pipeline.hermes.payload_fields import Fields, decode_json, exact_number, refusal
from usage_pipeline.hermes.payload_repositories import read_repositories
from usage_pipeline.hermes.payload_rollups import read_buckets
from usage_pipeline.hermes.payload_v3 import V3_FIELDS, read_v3

__all__ = [
    "BODY_BYTES_MAX",
    "HermesBatch",
    "HermesRow",
    "PayloadFinding",
    "PayloadRefusedError",
    "batch_digest",
    "covered_days",
    "parse_payload",
]

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Several times a year of days with a dozen models and repositories each, the most that the plugin in use sends."""

CLOCK_AHEAD_MAX: Final = timedelta(minutes=5)
"""How far a sender's clock may be ahead of ours. ``generatedAt`` orders batches, so one from the future would keep
out every later correction."""

_UNKNOWN_FIELDS_MAX = 50

_PLAIN_CHARACTERS_MAX = 18

_WORKSPACE_FIELDS = frozenset({"slug", "name", "provider"})
_V1_FIELDS = frozenset({"schemaVersion", "environment", "generatedAt", "sourceLabel", "workspace", "rollups"})
_V2_FIELDS = _V1_FIELDS | {"repositoryRollups"}
_FIELDS_OF_VERSION = {1: _V1_FIELDS, 2: _V2_FIELDS, 3: V3_FIELDS}

# Sums of costs must not be rounded: the default context keeps 28 digits, a cost may have more.
_EXACT = Context(prec=200)


def parse_payload(body: bytes, *, received_at: datetime) -> HermesBatch:
    """Read a payload of any known version, whole.

    ``received_at`` (aware, UTC) is the receiver's clock. Raises :class:`PayloadRefusedError`, whose docstring lists
    the codes; its ``where`` is the path of the offending field, such as ``rollups[3].models[0].inputTokens``.
    """
    if len(body) > BODY_BYTES_MAX:
        raise PayloadRefusedError(
            "payload_too_large",
            f"the body has {len(body)} bytes, at most {BODY_BYTES_MAX} are read",
            remedy="Report fewer days at a time.",
        )
    with localcontext(_EXACT):
        return _read(decode_json(body), received_at)


def batch_digest(body: bytes) -> bytes:
    """The SHA-256 (32 bytes) of the payload as canonical JSON: the same content gives the same digest, whatever the
    order of its keys, its white space, its escapes and the trailing zeros of its numbers. The order of lists counts.

    A body that is not JSON, which can only be refused, is digested as it stands.
    """
    try:
        canonical = _CANONICAL_ENCODER.encode(_CANONICAL_DECODER.decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        canonical = body
    return hashlib.sha256(canonical).digest()


def _canonical_number(digits: str) -> int | Decimal:
    """Equal numbers written alike: 5.0 as 5, 2.50 as 2.5."""
    if len(digits) <= _PLAIN_CHARACTERS_MAX and "e" not in digits and "E" not in digits:
        short = digits.rstrip("0")  # a plain one, as nearly all are, has a point: the way below gives the same
        return int(short[:-1]) if short.endswith(".") else Decimal(short)
    number = exact_number(digits)
    if not number.is_finite():
        raise ValueError("no figure of a payload")
    normal = number.normalize(_EXACT)
    return int(normal) if normal == int(normal) and abs(normal) < 2**63 else normal


_CANONICAL_DECODER = msgspec.json.Decoder(float_hook=_canonical_number)
_CANONICAL_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")


def _read(decoded: object, received_at: datetime) -> HermesBatch:
    unknown: dict[str, str] = {}
    version = _version_of(decoded)
    payload = Fields(decoded, "", _FIELDS_OF_VERSION[version], unknown)
    if version == 1 and payload.holds("repositoryRollups"):
        raise refusal("repositoryRollups", "comes with schemaVersion 2 only")
    generated_at = payload.instant("generatedAt")
    if generated_at > received_at + CLOCK_AHEAD_MAX:
        raise PayloadRefusedError(
            "payload_from_the_future",
            "is more than 5 minutes ahead of the receiver's clock",
            where="generatedAt",
            remedy="Set the sender's clock, or the receiver's.",
        )
    if received_at - generated_at > REACH_MAX:
        raise refusal("generatedAt", "lies more than ten years back")
    workspace = payload.child("workspace", _WORKSPACE_FIELDS)
    revision: int | None = None
    stated_days: tuple[date, date] | None = None
    first_daily: date | None = None
    hours_are_call_time = False
    if version == 3:
        usage = read_v3(payload, generated_at)
        revision, stated_days, hours_are_call_time = usage.revision, usage.coverage, usage.hours_are_call_time
        rows, findings = usage.rows, usage.findings
        first_daily = min((row.start.date() for row in rows if row.kind == "day"), default=None)
        heartbeat = stated_days is None
    else:
        buckets = read_buckets(payload, generated_at, version)
        rows = tuple(row for bucket in buckets for row in bucket.rows)
        findings = tuple(finding for bucket in buckets for finding in bucket.findings)
        if version == 2:
            repository_rows, repository_findings = read_repositories(payload, buckets, generated_at)
            rows, findings = rows + repository_rows, findings + repository_findings
        first_daily = min((bucket.start.date() for bucket in buckets if bucket.kind == "day"), default=None)
        heartbeat = not buckets
    findings += local_day_findings(rows, first_hour_told(generated_at, stated_days), generated_at)
    return HermesBatch(
        schema_version=version,
        environment=payload.text("environment"),
        source_label=payload.text("sourceLabel", may_be_empty=True),
        workspace_slug=workspace.text("slug"),
        workspace_name=workspace.text("name", may_be_empty=True),
        generated_at=generated_at,
        revision=revision,
        covered_days=stated_days,
        first_daily=first_daily,
        hours_are_call_time=hours_are_call_time,
        rows=rows,
        heartbeat=heartbeat,
        findings=findings + _unknown_field_findings(unknown),
    )


def _version_of(decoded: object) -> int:
    """The schema version that decides how everything else is read; absent means the first."""
    head = Fields(decoded, "", frozenset(decoded) if isinstance(decoded, dict) else frozenset(), {})
    if not head.holds("schemaVersion"):
        return 1
    version = head.count("schemaVersion")
    if version not in _FIELDS_OF_VERSION:
        raise PayloadRefusedError(
            "payload_version_unknown",
            f"version {version} is not known",
            where="schemaVersion",
            remedy="Versions 1, 2 and 3 are read; a newer plugin needs a newer pipeline.",
        )
    return version


def _unknown_field_findings(unknown: dict[str, str]) -> tuple[PayloadFinding, ...]:
    """One finding per name, in order of the names, at most 50: a sender must not flood the findings."""
    return tuple(
        PayloadFinding(
            code="payload_unknown_field",
            where=unknown[name],
            words=f"The field {name} is not part of the contract and was not used.",
        )
        for name in sorted(unknown)[:_UNKNOWN_FIELDS_MAX]
    )
