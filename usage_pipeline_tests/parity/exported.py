"""Dashboard exports as the tests write them: what a scripted account used, in the words of OpenAI's own files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline_tests.scripted.account import Bill, Use

USAGE_COLUMNS = (
    "start_time", "end_time", "start_time_iso", "end_time_iso", "project_id", "num_model_requests", "user_id",
    "api_key_id", "model", "batch", "service_tier", "input_tokens", "output_tokens", "input_cached_tokens",
    "input_uncached_tokens",
)  # fmt: skip
COST_COLUMNS = (
    "start_time", "end_time", "start_time_iso", "end_time_iso", "amount_value", "amount_currency", "line_item",
    "project_id", "api_key_id", "organization_id", "organization_name",
)  # fmt: skip
EMPTY_COLUMNS = USAGE_COLUMNS[:4]

Row = Mapping[str, object]


def times(start: datetime, width: timedelta) -> dict[str, object]:
    """The four columns of time of a window."""
    end = start + width
    return {
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "start_time_iso": start.isoformat(),
        "end_time_iso": end.isoformat(),
    }


def usage_row(use: Use, width: timedelta) -> dict[str, object]:
    """A row of the completions export: the window of ``width`` that holds the use."""
    seconds = int(width.total_seconds())
    start = datetime.fromtimestamp(int(use.at.timestamp()) // seconds * seconds, UTC)
    total = use.uncached_input + use.cache_read + use.cache_write
    return {
        **times(start, width),
        "project_id": use.project,
        "num_model_requests": f"{use.requests}.0",
        "user_id": use.user,
        "api_key_id": use.api_key,
        "model": use.model,
        "batch": "False",
        "service_tier": "default",
        "input_tokens": f"{total}.0",
        "output_tokens": f"{use.output}.0",
        "input_cached_tokens": f"{use.cache_read}.0",
        "input_uncached_tokens": f"{use.uncached_input}.0",
    }


def usage_rows(uses: Iterable[Use], first: datetime, end: datetime, width: timedelta) -> list[dict[str, object]]:
    """Every window of the range, those without usage too."""
    rows = [usage_row(use, width) for use in uses]
    used = {row["start_time"] for row in rows}
    at = first
    while at < end:
        if int(at.timestamp()) not in used:
            rows.append(times(at, width))
        at += width
    return sorted(rows, key=lambda row: str(row["start_time"]))


def cost_rows(bills: Iterable[Bill], **more: str) -> list[dict[str, object]]:
    """Rows of the cost export."""
    return [
        {
            **times(datetime(bill.day.year, bill.day.month, bill.day.day, tzinfo=UTC), timedelta(days=1)),
            "amount_value": f"{bill.usd:f}000",
            "amount_currency": "usd",
            "line_item": bill.label,
            "project_id": bill.project,
            "api_key_id": bill.api_key,
            "organization_id": "org-acme",
            "organization_name": 'Acme, "the" company\nof two lines',
            **more,
        }
        for bill in bills
    ]


def text_of(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """The rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\r\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return stream.getvalue()


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> Path:
    """Write a file as the dashboard does, with a byte-order mark."""
    path.write_text(text_of(columns, rows), encoding="utf-8-sig", newline="")
    return path


def moved(rows: Sequence[Row], number: int, column: str, by: Decimal) -> list[dict[str, Any]]:
    """The rows with one figure of one of them moved."""
    changed = [dict(row) for row in rows]
    with exact_arithmetic():
        changed[number][column] = f"{Decimal(str(changed[number][column])) + by:f}"
    return changed
