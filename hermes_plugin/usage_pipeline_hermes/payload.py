"""What is sent: payload v3, and nothing beside it.

Belongs here: which days a report covers, its rows, and its bytes. In: the ledger's hours, the configuration, the
time. Out: reports, and JSON whose numbers have exactly the digits that they should have.

A report states one thing about all of its days: whether each call stands in the hour in which it was made. Days for
which that holds and days for which it doesn't therefore go in separate reports. Days are sent that changed, that the
server last heard of 20 hours ago or more (its figures become final by reports made after the day), and always today.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from .accounting import utc_day
from .config import Config
from .counts import NANO, Counts, add
from .ledger import Acknowledged, HourUsage, Ledger

SEND_AGAIN_AFTER_S: Final = 20 * 3600.0
DAYS_PER_REPORT_MAX: Final = 31
"""A report stays far below what a server takes at once, even with DAYS_BACK at its limit."""

_DAY_S = 86_400

Json = None | bool | int | str | Decimal | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Report:
    """The usage of the UTC days [start, end), and the digest of each."""

    start: datetime
    end: datetime
    hours_are_call_time: bool
    hours: tuple[HourUsage, ...]
    digests: Mapping[str, str]


def due_reports(ledger: Ledger, config: Config, now_s: float, *, full: bool) -> list[Report]:
    """The reports that are due at ``now_s``, oldest first; with ``full`` all days of the window are due."""
    today = utc_day(now_s)
    first = today - timedelta(days=config.days_back - 1)
    if since := ledger.meta("known_since"):
        # Before it, nothing is known: to cover such a day would say that it was idle.
        first = min(max(first, datetime.fromisoformat(since).replace(tzinfo=UTC)), today)
    hours: dict[str, list[HourUsage]] = {}
    for usage in ledger.usage(int(first.timestamp()), int(today.timestamp()) + _DAY_S):
        hours.setdefault(_day(usage.hour_s), []).append(usage)
    without_hours = ledger.days_without_hours()
    taken = {} if full else ledger.acknowledged(target_of(config))
    groups: list[list[_Day]] = []
    for number in range((today - first).days + 1):
        start = first + timedelta(days=number)
        name = f"{start:%Y-%m-%d}"
        day = _Day(start, name, name not in without_hours, tuple(hours.get(name, ())))
        if start != today and not _is_due(taken.get(name), day.digest, now_s):
            continue
        last = groups[-1][-1] if groups else None
        continues = last is not None and last.start + timedelta(days=1) == start and last.by_call == day.by_call
        if continues and len(groups[-1]) < DAYS_PER_REPORT_MAX:
            groups[-1].append(day)
        else:
            groups.append([day])
    return [_report(group) for group in groups]


@dataclass(frozen=True, slots=True)
class _Day:
    start: datetime
    name: str
    by_call: bool
    hours: tuple[HourUsage, ...]

    @property
    def digest(self) -> str:
        """Tells whether what is said about the day changed."""
        written = encode_json([self.by_call, *(_bucket_row(usage) for usage in self.hours)])
        hours = ",".join(str(usage.hour_s) for usage in self.hours)
        return hashlib.sha256(f"{hours}\n".encode() + written).hexdigest()


def _is_due(taken: Acknowledged | None, digest: str, now_s: float) -> bool:
    return taken is None or taken.digest != digest or not 0 <= now_s - taken.generated_s < SEND_AGAIN_AFTER_S


def _report(days: list[_Day]) -> Report:
    return Report(
        start=days[0].start,
        end=days[-1].start + timedelta(days=1),
        hours_are_call_time=days[0].by_call,
        hours=tuple(usage for day in days for usage in day.hours),
        digests={day.name: day.digest for day in days},
    )


def target_of(config: Config) -> str:
    """A name for where reports go and under which labels: with another target, everything is sent anew."""
    parts = (config.endpoint, config.token, config.workspace_slug, config.workspace_name, config.environment)
    return hashlib.sha256("\0".join((*parts, config.source_label)).encode()).hexdigest()[:32]


def payload_of(report: Report | None, config: Config, revision: int, now_s: float) -> dict[str, Json]:
    """The payload of a report; of None, a heartbeat: it says that the plugin runs, and speaks for no day."""
    payload: dict[str, Json] = {
        "schemaVersion": 3,
        "environment": config.environment,
        "generatedAt": f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "sourceLabel": config.source_label,
        "workspace": {"slug": config.workspace_slug, "name": config.workspace_name, "provider": "Hermes"},
        "revision": revision,
        "hoursAreCallTime": report is not None and report.hours_are_call_time,
        "days": [],
        "hours": [],
    }
    if report is not None:
        payload["coverage"] = {"start": f"{report.start:%Y-%m-%d}", "end": f"{report.end:%Y-%m-%d}"}
        payload["days"] = list(_buckets(_daily(report.hours), "%Y-%m-%d"))
        payload["hours"] = list(_buckets(report.hours, "%Y-%m-%dT%H:00:00Z"))
    return payload


def encode_json(value: Json) -> bytes:
    """JSON in ASCII. A Decimal is written digit for digit, which Python's own encoder cannot do."""
    return "".join(_pieces(value)).encode("ascii")


def _pieces(value: Json) -> Iterator[str]:
    if isinstance(value, Decimal):
        yield format(value, "f")
    elif isinstance(value, str) or value is None or isinstance(value, bool | int):
        yield json.dumps(value)
    elif isinstance(value, Mapping):
        yield "{"
        for index, (name, item) in enumerate(value.items()):
            yield f"{',' if index else ''}{json.dumps(name)}:"
            yield from _pieces(item)
        yield "}"
    else:
        yield "["
        for index, item in enumerate(value):
            yield "," if index else ""
            yield from _pieces(item)
        yield "]"


def _day(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d}"


def _daily(hours: Iterable[HourUsage]) -> list[HourUsage]:
    """The same usage by UTC day: the daily rows are the sums of the hours by construction."""
    totals: dict[tuple[int, object, str], HourUsage] = {}
    for usage in hours:
        day_s = usage.hour_s // _DAY_S * _DAY_S
        key = (day_s, usage.route, usage.task)
        counts = add(totals[key].counts, usage.counts) if key in totals else usage.counts
        totals[key] = HourUsage(day_s, usage.route, usage.task, counts)
    return sorted(totals.values(), key=lambda usage: (usage.hour_s, usage.route, usage.task))


def _buckets(rows: Iterable[HourUsage], pattern: str) -> Iterator[Json]:
    """Rows, in order of time, as buckets."""
    buckets: dict[int, list[Json]] = {}
    for usage in rows:
        buckets.setdefault(usage.hour_s, []).append(_bucket_row(usage))
    for start_s, usage_rows in buckets.items():
        yield {"usageDate": f"{datetime.fromtimestamp(start_s, UTC):{pattern}}", "usage": usage_rows}


def _bucket_row(usage: HourUsage) -> dict[str, Json]:
    counts: Counts = usage.counts
    return {
        "model": usage.route.model,
        "billingProvider": usage.route.billing_provider,
        "billingBaseUrl": usage.route.billing_base_url,
        "billingMode": usage.route.billing_mode,
        "task": usage.task,
        "requests": counts.requests,
        "inputTokens": counts.uncached_input,
        "cacheReadTokens": counts.cache_read,
        "cacheWriteTokens": counts.cache_write,
        "outputTokens": counts.output,
        "reasoningTokens": counts.reasoning,
        "estimatedCostUsd": _usd(counts.estimated_nano_usd),
        "actualCostUsd": _usd(counts.actual_nano_usd),
    }


def _usd(nano_usd: int | None) -> Json:
    if nano_usd is None:
        return None
    return (Decimal(nano_usd) / NANO).normalize() if nano_usd else Decimal(0)
