"""Reading fixtures the way a pull does, with measures and dimensions by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, TOKEN_CLASSES
from usage_pipeline.providers.contract import BilledLine, Drift, Endpoint, Page, PageQuery, Provider, UsageRow
from usage_pipeline.pulls.asking import default_dimensions

ASKED = PageQuery(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), "1d", ())
"""A day: for answers that do not hang on what was asked for."""

FIXTURES = Path(__file__).parents[2] / "fixtures"


def fixture_page(provider: Provider, endpoint: Endpoint, name: str) -> Page:
    return provider.read_page(endpoint, (FIXTURES / provider.name / name).read_bytes(), ASKED)


def raw(*rows: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(rows).encode())


def rows_of(provider: Provider, endpoint: Endpoint, results: msgspec.Raw, drift: Drift | None = None) -> list[UsageRow]:
    return list(provider.usage_rows(endpoint, results, default_dimensions(endpoint), drift or Drift()))


def lines_of(
    provider: Provider, endpoint: Endpoint, results: msgspec.Raw, drift: Drift | None = None
) -> list[BilledLine]:
    return list(provider.billed_lines(endpoint, results, default_dimensions(endpoint), drift or Drift()))


def measures(row: UsageRow) -> dict[str, int]:
    """The measures that the row reports, by name."""
    return {name: n for name, n in zip(EVENT_MEASURES, row.measures, strict=True) if n is not None}


def dimensions(row: UsageRow) -> dict[str, str]:
    """The dimensions that the row has, by name."""
    return {name: text for name, text in zip(EVENT_DIMENSIONS, row.dimensions, strict=True) if text is not None}


def tokens(row: UsageRow) -> int:
    """All tokens of the row: the sum of the disjoint classes."""
    return sum(measures(row).get(name, 0) for name in TOKEN_CLASSES)
