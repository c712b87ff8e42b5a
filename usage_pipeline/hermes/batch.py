"""What a Hermes payload says, as typed records.

Belongs here: the rows, the batch, its findings, the refusal, and which days a batch speaks for.
In: nothing but values; ``payload.py`` builds them. Out: what the inbox stores and what rollups are made of.

Token classes are disjoint and in tokens: Hermes reports its input without the cached part, and its reasoning tokens
are a part of ``output``, never on top of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from usage_pipeline.errors import InvalidInputError

RowKind = Literal["day", "hour", "repository"]

UNALLOCATED_MODEL = "unallocated"
"""The model of the row that holds what a bucket states beyond the sum of its models."""

UNKNOWN_PROVIDER = "unknown"

DAYS_BACK_MAX = 365
"""How many days the plugin in use can be told to report, today included."""


REACH_MAX = timedelta(days=3660)
"""How far a payload may reach back. A broken clock must not make a batch speak for half a century of days."""


class PayloadRefusedError(InvalidInputError):
    """A payload that breaks the contract. Nothing of it is used; ``where`` names the offending field.

    Codes: ``payload_too_large``, ``payload_not_json``, ``payload_version_unknown``, ``payload_contract``,
    ``payload_from_the_future``, ``payload_duplicate_bucket``, ``payload_duplicate_model``,
    ``payload_models_exceed_bucket``, ``payload_repositories_differ``, ``payload_repository_key``,
    ``payload_outside_coverage``.
    """


@dataclass(frozen=True, slots=True)
class PayloadFinding:
    """Something odd in a payload that was accepted all the same.

    Codes: ``rollup_differs`` (a bucket and the sum of its models), ``model_split_missing`` (a v1 model that states
    no token classes), ``cache_split_missing`` (cached tokens that may be reads or writes), ``total_tokens_differ``
    (a stated total is not the sum of its classes), ``reasoning_exceeds_output``, ``payload_unknown_field``,
    ``day_boundary`` (days that are cut by local time).

    ``stated`` is the figure that the payload states, ``found`` the one that its parts add up to, both in the unit of
    ``measure`` (tokens, requests or US dollars); None where the finding is not about figures.
    """

    code: str
    where: str
    words: str
    day: date | None = None
    measure: str | None = None
    stated: Decimal | int | None = None
    found: Decimal | int | None = None


@dataclass(frozen=True, slots=True)
class HermesRow:
    """One model's usage in one bucket, or one repository's share of a day.

    ``kind`` ``day`` is the total of a UTC day; ``hour`` shows how that total is spread and is never added to it;
    ``repository`` cuts the same day by repository, spans providers and models (both are ``""``), and never counts.

    The billing fields and ``task`` are None in payloads v1 and v2, which have none; in v3 they are text, ``""``
    where the agent recorded nothing (for ``task``: the main loop).
    """

    kind: RowKind
    start: datetime
    provider: str
    model: str
    billing_provider: str | None
    billing_base_url: str | None
    billing_mode: str | None
    task: str | None
    counts: bool
    repository: str | None
    repository_name: str | None
    requests: int | None
    uncached_input: int
    cache_read: int
    cache_write_unsplit: int
    output: int
    reasoning: int | None
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class HermesBatch:
    """A whole accepted payload.

    ``covered_days`` is the half-open range ``[first, end)`` that a v3 payload states, None before v3; use
    :func:`covered_days` to learn what a batch speaks for. ``first_daily`` is the earliest day with a daily bucket.
    ``hours_are_call_time`` is true only where the payload states the hour of each call (v3).
    """

    schema_version: int
    environment: str
    source_label: str
    workspace_slug: str
    workspace_name: str
    generated_at: datetime
    revision: int | None
    covered_days: tuple[date, date] | None
    first_daily: date | None
    hours_are_call_time: bool
    rows: tuple[HermesRow, ...]
    heartbeat: bool
    findings: tuple[PayloadFinding, ...]


def covered_days(batch: HermesBatch, days_back: int | None) -> tuple[date, date] | None:
    """The UTC days that ``batch`` speaks for, half-open; None where it speaks for none.

    v3 states them. v1 and v2 don't: they reach to the day of ``generatedAt`` (included), from the first of the
    ``days_back`` days (a setting of the feed, today included), or, where that is not set, from the earliest daily
    bucket present, never further back by guess. A heartbeat speaks for no day.

    Raises InvalidInputError ``days_back_invalid`` where ``days_back`` is outside 1..365.
    """
    if days_back is not None and not 1 <= days_back <= DAYS_BACK_MAX:
        raise InvalidInputError(
            "days_back_invalid",
            f"days_back must be between 1 and {DAYS_BACK_MAX} days",
            remedy="Give the value of DAYS_BACK of the Hermes plugin, or leave it unset.",
        )
    if batch.covered_days is not None:
        return batch.covered_days
    if batch.heartbeat:
        return None
    end = batch.generated_at.date() + timedelta(days=1)
    if days_back is not None:
        return end - timedelta(days=days_back), end
    return None if batch.first_daily is None else (batch.first_daily, end)
