"""The outcome of a comparison as JSON: stable keys, counts as numbers, money as exact texts.

In: a :class:`ParityReport`. Out: one value that ``json`` can write. docs/parity.md describes the shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from usage_pipeline.parity.check import ParityReport
from usage_pipeline.parity.comparison import Difference, FamilyComparison, Figure
from usage_pipeline.parity.export_format import AMOUNT
from usage_pipeline.parity.file_reading import ExportFile, Number
from usage_pipeline.parity.windows import Window, in_words
from usage_pipeline.pricing.rates import exact_arithmetic


def as_json(report: ParityReport) -> dict[str, Any]:
    """The whole report."""
    return {
        "verdict": "equal" if report.is_equal else "different",
        "compared_at": _instant(report.at),
        "parity_check_id": report.check_id,
        "provider": report.account.provider,
        "account": report.account.account,
        "workspaces": list(report.account.workspaces),
        "kind": report.kind,
        "notes": [{"code": code, "file": where, "what": what} for code, where, what in report.notes],
        "reports": [_family(one) for one in report.families],
    }


def number_text(value: Number) -> str:
    """An exact number as people write it: no exponent, no zeros at the end."""
    with exact_arithmetic():
        return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _family(one: FamilyComparison) -> dict[str, Any]:
    statuses = [found.status for found in one.differences]
    return {
        "family": one.family,
        "verdict": "equal" if one.is_equal else "different",
        "range": _window(one.span),
        "files": [_file(read) for read in one.export.files],
        "dimensions": list(one.dimensions),
        "measures": list(one.measures),
        "left_out": [{"what": what, "name": name, "why": why} for what, name, why in one.left_out],
        "totals": {name: _figure(name, figure) for name, figure in one.totals.items()},
        "rows": {
            "equal": one.equal_rows,
            "within_tolerance": one.within_tolerance,
            **{status: statuses.count(status) for status in ("mismatched", "missing_here", "missing_there")},
        },
        "windows": {
            "compared": len(one.windows),
            "provisional": one.provisional,
            "not_covered": [{**_window(window), "why": why} for window, why in one.not_covered],
            "cut": [_window(window) for window in one.cut],
            "outside_of_the_range": one.outside,
        },
        "differences": [_difference(one, found) for found in one.differences],
    }


def _file(read: ExportFile) -> dict[str, Any]:
    return {
        "name": read.file.name,
        "sha256": read.file.sha256,
        "rows": read.rows,
        "empty_rows": read.empty_rows,
        "range": _window(read.span) if read.span else None,
    }


def _difference(one: FamilyComparison, found: Difference) -> dict[str, Any]:
    return {
        **_window(found.window),
        "dimensions": dict(zip(one.dimensions, found.dimensions, strict=True)),
        "status": found.status,
        "reason": found.reason,
        "measures": {name: _figure(name, figure) for name, figure in found.figures.items()},
    }


def _figure(name: str, figure: Figure) -> Mapping[str, Any]:
    values: dict[str, Number] = {"here": figure.here, "there": figure.there, "difference": figure.difference}
    if name == AMOUNT:
        return {side: number_text(value) for side, value in values.items()}
    return {side: int(value) for side, value in values.items()}


def _window(window: Window) -> dict[str, Any]:
    return {"from": _instant(window.start), "to": _instant(window.end), "words": in_words(window)}


def _instant(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
