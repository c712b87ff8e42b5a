"""Hermes payloads from a few words: rows with a day (v2, v3) or the hour of the call (v3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from usage_pipeline_tests.hermes.payload_building import bucket, head, model, repository

Json = dict[str, Any]
_VENDORS = {"gpt": "OpenAI", "claude": "Anthropic"}


@dataclass(frozen=True)
class Call:
    """What Hermes says that a model used, at an hour (``datetime``), in tokens and requests; ``billing`` is v3's."""

    at: datetime
    model: str = "gpt-5"
    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    requests: int = 0
    reasoning: int = 0
    billing: str = "openai"
    billing_mode: str = "official_models_api"
    estimated_usd: float | None = None
    actual_usd: float | None = None

    @property
    def vendor(self) -> str:
        return _VENDORS[self.model.partition("-")[0]]


def v2_payload(generated_at: datetime, calls: Sequence[Call], idle_days: Sequence[date] = ()) -> Json:
    """A batch of the plugin in use: daily buckets, and hourly ones that show the hours of ``calls`` as they are.

    ``idle_days`` get a daily bucket without models, so that the batch reaches back to them.
    """
    days: dict[str, list[Call]] = {day.isoformat(): [] for day in idle_days}
    hours: dict[str, list[Call]] = {}
    for call in calls:
        days.setdefault(call.at.date().isoformat(), []).append(call)
        hours.setdefault(f"{call.at:%Y-%m-%dT%H}:00:00Z", []).append(call)
    daily = [bucket(day, *_models(of_day)) for day, of_day in sorted(days.items())]
    hourly = [bucket(hour, *_models(of_hour)) for hour, of_hour in sorted(hours.items())]
    return {
        "schemaVersion": 2,
        **head(generatedAt=_instant(generated_at)),
        "rollups": [*daily, *hourly],
        "repositoryRollups": [repository(one) for one in (*daily, *hourly)],
    }


def _models(calls: Sequence[Call]) -> list[Json]:
    by_name: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        by_name[call.vendor, call.model].append(call)
    return [
        model(
            name,
            vendor,
            requests=_sum(of_model, "requests"),
            uncached=_sum(of_model, "uncached_input"),
            read=_sum(of_model, "cache_read"),
            write=_sum(of_model, "cache_write"),
            output=_sum(of_model, "output"),
            reasoning=_sum(of_model, "reasoning"),
            estimated=sum(call.estimated_usd or 0.0 for call in of_model),
        )
        for (vendor, name), of_model in sorted(by_name.items())
    ]


def v3_payload(
    generated_at: datetime,
    calls: Sequence[Call],
    first_day: date,
    end_day: date,
    *,
    hours: Sequence[Call] | None = None,
    call_time: bool = True,
    revision: int = 1,
) -> Json:
    """A batch of this project's plugin covering the half-open days; ``hours`` replaces the calls in ``hours``."""
    return {
        "schemaVersion": 3,
        **{name: value for name, value in head(generatedAt=_instant(generated_at)).items() if name != "workspace"},
        "workspace": {"slug": "acme", "name": "Acme"},
        "revision": revision,
        "coverage": {"start": first_day.isoformat(), "end": end_day.isoformat()},
        "hoursAreCallTime": call_time,
        "days": _buckets(calls, "%Y-%m-%d"),
        "hours": _buckets(calls if hours is None else hours, "%Y-%m-%dT%H:00:00Z"),
    }


def _buckets(calls: Sequence[Call], written: str) -> list[Json]:
    starts: dict[str, dict[tuple[str, ...], list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        key = (call.model, call.vendor, call.billing, call.billing_mode)
        starts[call.at.strftime(written)][key].append(call)
    return [
        {"usageDate": start, "usage": [_v3_row(key, of_key) for key, of_key in sorted(rows.items())]}
        for start, rows in sorted(starts.items())
    ]


def _v3_row(key: tuple[str, ...], calls: Sequence[Call]) -> Json:
    name, vendor, billing, mode = key
    return {
        "model": name,
        "provider": vendor,
        "billingProvider": billing,
        "billingBaseUrl": "",
        "billingMode": mode,
        "task": "",
        "requests": _sum(calls, "requests"),
        "inputTokens": _sum(calls, "uncached_input"),
        "cacheReadTokens": _sum(calls, "cache_read"),
        "cacheWriteTokens": _sum(calls, "cache_write"),
        "outputTokens": _sum(calls, "output"),
        "reasoningTokens": _sum(calls, "reasoning"),
        "estimatedCostUsd": _usd([call.estimated_usd for call in calls]),
        "actualCostUsd": _usd([call.actual_usd for call in calls]),
    }


def _sum(calls: Sequence[Call], measure: str) -> int:
    return sum(getattr(call, measure) for call in calls)


def _usd(amounts: Sequence[float | None]) -> float | None:
    """Their sum, None where one is not known."""
    return None if None in amounts else sum(amount for amount in amounts if amount is not None)


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
