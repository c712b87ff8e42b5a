"""The report for people: a table of rows, one of totals, in the report's own words.

In: the report as its JSON has it. Out: tables on standard output. Tokens are summed over the disjoint classes; what no
source reports is a dash, never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from usage_pipeline.cli.output import print_line, print_table
from usage_pipeline.measures import TOKEN_CLASSES

GROUPS: Final = (
    ("counted", "counted"),
    ("explained", "explained"),
    ("unattributed", "unattributed"),
    ("excess", "excess"),
    ("stand_in", "stand-in"),
    ("reported_by_provider", "provider"),
    ("reported_by_hermes", "Hermes"),
)
"""The measure groups of a row, and their words in the tables, in this order."""

NOTHING: Final = "–"
_PLACE: Final = ("date", "workspace", "provider", "route", "model", "decision")
_MONEY: Final = ("USD", "basis")


def print_report(report: Mapping[str, Any]) -> None:
    """Print the rows (tokens and cost) and, below, the totals with every measure."""
    rows = report["rows"]
    if not rows:
        if as_of := report.get("as_of"):
            print_line(f"Nothing was reconciled as of {as_of} about {report['from']} to {report['to']}.")
        else:
            print_line(f"Nothing is reconciled from {report['from']} to {report['to']} (both included).")
            print_line("Next: usage-pipeline backfill --from DAY --to DAY")
        if report["findings"]:
            print_findings(report)
        return
    words = tuple(word for _, word in GROUPS)
    about = f", as of {report['as_of']}" if report.get("as_of") else ""
    print_table(
        f"Tokens and cost, {report['from']} to {report['to']} (UTC days, both included){about}; * is provisional",
        (*_PLACE, *words, *_MONEY, "findings"),
        [(*_place(row), *_tokens(row), *_cost(row), ", ".join(row["findings"])) for row in rows],
        right=(*words, "USD"),
    )
    totals = report["totals"]
    print_table("Totals", ("measure", *words), _measure_rows(totals), right=words)
    print_line(f"Counted cost: {' '.join(_cost(totals)).strip()}")
    print_findings(report)


def print_findings(report: Mapping[str, Any]) -> None:
    """The open findings, those of one cell on one line: what differs in several measures has one cause."""
    rows = [(*place, what) for place, _, what in findings_by_cell(report["findings"])]
    print_table(f"Findings ({len(report['findings'])} open, by cell)", ("day", "code", "where", "what"), rows)


def findings_by_cell(
    findings: Iterable[Mapping[str, Any]], apart: Sequence[str] = ()
) -> list[tuple[tuple[str, str, str], Mapping[str, Any], str]]:
    """Findings of one cell and code together: (day, code, where), the one that differs most, and what is said.

    Those that differ in a field of ``apart`` stay apart.
    """
    cells: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for found in findings:
        where = " ".join(part for part in (found["provider"], found["model"], found["endpoint"]) if part)
        cells[(found["date"], found["code"], where, *(found[name] for name in apart))].append(found)
    told = []
    for (day, code, where, *_), group in cells.items():
        widest = max(group, key=lambda found: abs(Decimal(found["difference"] or 0)))
        others = sorted(found["measure"] for found in group if found is not widest and found["measure"])
        also = f" Also: {', '.join(others)}." if others else ""
        told.append(((day, code, where), widest, f"{widest['explanation']}{also}"))
    return told


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    decision = f"{row['decision']}{'*' if row['provisional'] else ''}"
    model = row["model"] or f"({row['family']})"
    return (row["date"], row["workspace"], row["provider"], row["route"], model, decision)


def _tokens(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(number(known_sum((row[group].get("tokens") or {}).values())) for group, _ in GROUPS)


def _cost(row: Mapping[str, Any]) -> tuple[str, str]:
    counted = (row["cost"] or {}).get("counted") or {}
    return (str(counted.get("usd") or NOTHING), str(counted.get("basis") or ""))


def _measure_rows(totals: Mapping[str, Any]) -> list[Sequence[str]]:
    """One row per measure that somebody reports, token classes first."""
    columns = [_flat(totals[group]) for group, _ in GROUPS]
    # Not the fixed list of classes: one that joins with a new cache lifetime shows too.
    names = dict.fromkeys((*TOKEN_CLASSES, *(name for column in columns for name in column)))
    return [
        (name, *(number(column.get(name)) for column in columns))
        for name in names
        if any(column.get(name) is not None for column in columns)
    ]


def _flat(measures: Mapping[str, Any]) -> dict[str, int | None]:
    own = {name: measures.get(name) for name in ("reasoning", "requests")}
    return {**(measures.get("tokens") or {}), **own, **(measures.get("other") or {})}


def known_sum(values: Iterable[int | None]) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def number(value: int | None) -> str:
    """A figure with separators; a dash where nobody reports it."""
    return NOTHING if value is None else f"{value:,}"
