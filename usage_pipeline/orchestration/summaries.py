"""What a materialisation says of itself, in Markdown and metadata: what was asked, what changed, what stands now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from usage_pipeline.ledger.offences import Offence

if TYPE_CHECKING:
    from usage_pipeline.ledger.day_figures import DayFigures
    from usage_pipeline.ledger.replacement import Changes
    from usage_pipeline.ledger.stored_rows import TokenTotals
    from usage_pipeline.stages import PullSummary

OFFENDING = "offending"
"""The metadata entry in which a check lists the rows that break its rule."""

SKIPPED = "skipped"
"""The metadata entry of a pull that says why nothing was asked, or ``NOT_SKIPPED``."""

NOT_SKIPPED = "none"

_ROWS_SHOWN = 20
_DAYS_SHOWN = 10
_SHOWN_GROUPS = ("reported_by_provider", "counted", "explained", "unattributed", "stand_in", "excess")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are texts, the others numbers."""
    rule = [":--" if position < left else "--:" for position in range(len(columns))]
    lines = [columns, rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pull_summary(summaries: Sequence[PullSummary]) -> str:
    """What pulling did, key by key: endpoints, rows, pages, requests, waiting, and the days that changed."""
    return "\n\n".join(_pull(one) for one in summaries)


def _pull(summary: PullSummary) -> str:
    title = f"**{summary.key}**, {summary.first_day} up to {summary.end_day} (not included)"
    if summary.skipped:
        return f"{title}: skipped, {summary.skipped}. Nothing was asked and nothing changed."
    rows = [
        (
            one.endpoint,
            one.rows,
            one.pages,
            one.requests,
            f"{one.seconds_waited:.1f}",
            len(one.days),
            len(one.changed_days),
        )
        for one in summary.endpoints
    ]
    columns = ("endpoint", "rows read", "pages", "requests", "waited, s", "days", "days changed")
    changed = _days(summary.changed_days) if summary.changed_days else "none: every answer is what stood before"
    note = f"\n\n{summary.account_note}" if summary.account_note else ""
    return f"{title}\n\n{markdown_table(columns, rows)}\n\nDays that changed: {changed}.{note}"


def changes_summary(what: str, changes: Changes, moved: Sequence[date]) -> str:
    """What a stage over days did to its rows."""
    columns = (what, "stored", "updated", "removed", "unchanged")
    row = ("rows", changes.stored, changes.updated, changes.removed, changes.unchanged)
    if not moved:
        return f"{markdown_table(columns, [row])}\n\nNo source has a newer word on these days."
    return f"{markdown_table(columns, [row])}\n\nDays with a newer word: {_days(moved)}."


def totals_summary(totals: Sequence[TokenTotals]) -> str:
    """Tokens by provider, route and model: what was reported, what counts, and how it is explained."""
    columns = ("provider", "route", "model", *(name.replace("_", " ") for name in _SHOWN_GROUPS), "cost, USD", "")
    rows = [
        (
            one.provider,
            one.route,
            one.model or "(none named)",
            *(one.tokens[group] for group in _SHOWN_GROUPS),
            None if one.cost_usd is None else f"{one.cost_usd:,.2f}",
            "provisional" if one.provisional else "final",
        )
        for one in totals
    ]
    return f"Tokens of these days, every class:\n\n{markdown_table(columns, rows, left=3)}"


def figures_metadata(figures: DayFigures) -> dict[str, int | str]:
    """A day's tokens and money as figures that Dagster plots; what nobody says has none.

    Money is plotted as integer nano-USD, rounded once; the exact amount in US dollars stands beside it as text.
    """
    from usage_pipeline.reconcile.report import nano_usd, plain

    found: dict[str, int | str] = {f"tokens_{name}": n for name, n in figures.tokens.items() if n is not None}
    for name, usd in figures.cost_usd.items():
        if usd is not None:
            found[f"cost_{name}_nano_usd"] = nano_usd(usd)
            found[f"cost_{name}_usd"] = plain(usd)
    return found


def offences_metadata(offences: Sequence[Offence]) -> Mapping[str, dg.MetadataValue]:
    """How many rows offend, which Dagster plots over time, and the first of them as a table where there are any.

    The columns that some offences have beside day, where and what are columns of the table too.
    """
    if not offences:
        return {"offences": dg.MetadataValue.int(0)}
    shown = offences[:_ROWS_SHOWN]
    more = dict.fromkeys(name for one in shown for name, _ in one.details)
    empty = dict.fromkeys(more, "")
    records = [
        dg.TableRecord({"day": one.day.isoformat(), "where": one.where, "what": one.what, **empty, **dict(one.details)})
        for one in shown
    ]
    columns = [dg.TableColumn(name) for name in ("day", "where", "what", *more)]
    left = len(offences) - len(shown)
    return {
        OFFENDING: dg.MetadataValue.table(records, schema=dg.TableSchema(columns)),
        "offences": dg.MetadataValue.int(len(offences)),
        **({"not_shown": dg.MetadataValue.text(f"and {left} more")} if left else {}),
    }


def _days(days: Sequence[date]) -> str:
    shown = ", ".join(day.isoformat() for day in days[:_DAYS_SHOWN])
    return f"{shown} and {len(days) - _DAYS_SHOWN} more" if len(days) > _DAYS_SHOWN else shown


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
