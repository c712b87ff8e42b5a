"""Findings for people: a list by cell, and one of them whole. In: the shape of ``findings --json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from usage_pipeline.cli.output import print_line, print_table
from usage_pipeline.cli.report_tables import findings_by_cell
from usage_pipeline.reconcile.families import COSTS_FAMILY
from usage_pipeline.reconcile.finding_report import evidence_commands, evidence_in_words

_COLUMNS: Final = ("ID", "day", "code", "where", "what", "since", "state")
_FIGURES: Final = {"figure_provider": "provider", "figure_hermes": "Hermes", "difference": "difference"}


def print_listed(found: Sequence[Mapping[str, Any]], state: str, as_of: str | None) -> None:
    """The findings, those of one cell on one line: what differs in several measures has one cause."""
    about = f", as of {as_of}" if as_of else ""
    if not found:
        print_line(f"No finding{'' if state == 'all' else f' is {state}'}{about}.")
        return
    rows = [
        (str(one["id"]), *place, what, one["first_seen"][:16] + "Z", _state(one))
        for place, one, what in findings_by_cell(found, apart=("closed_at",))
    ]
    shown = "open and closed" if state == "all" else state
    print_table(f"Findings ({len(found)} {shown}, by cell{about})", _COLUMNS, rows, right=("ID",))
    print_line("Next: usage-pipeline findings show ID")


def print_whole(one: Mapping[str, Any]) -> None:
    """A finding with its figures, its words, what stands behind it, and what it said before."""
    print_line(f"{one['code']} of {one['date']}, {_place(one)}")
    print_line(f"State: {_state(one)}; first seen {one['first_seen']}, last seen {one['last_seen']}")
    if one["acknowledged"]:
        noted = one["acknowledged"]
        by = f" by {noted['by']}" if noted["by"] else ""
        print_line(f"Acknowledged {noted['at']}{by}{': ' + noted['note'] if noted['note'] else ''}")
    measure = one["measure"] or ("USD" if one["family"] == COSTS_FAMILY else None)
    unit = f" ({measure})" if measure else ""
    for name, words in _FIGURES.items():
        if one[name] is not None:
            print_line(f"{words}{unit}: {_grouped(one[name])}")
    print_line("")
    print_line(one["explanation"])
    print_line("")
    print_line("Behind it:" if one["evidence"] else "Behind it: nothing is kept.")
    for record in one["evidence"]:
        print_line(f"  {evidence_in_words(record)}")
        for command in evidence_commands(record):
            print_line(f"    {command}")
        if record["kind"] == "pull" and record["pages"] > len(record["raw_pages"]):
            print_line(f"    and {record['pages'] - len(record['raw_pages'])} more pages")
    if one["former"]:
        print_line("")
        print_line("It said before:")
        for said in one["former"]:
            print_line(f"  {said['stated_at']} to {said['superseded_at']}: {said['explanation']}")


def _grouped(figure: str) -> str:
    """Exact, without zeros that say nothing."""
    text = f"{Decimal(figure):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _place(one: Mapping[str, Any]) -> str:
    names = ("workspace", "provider", "account", "route", "family", "model", "feed", "endpoint")
    return ", ".join(f"{name} {one[name]}" for name in names if one[name])


def _state(one: Mapping[str, Any]) -> str:
    if one["acknowledged"]:
        return "acknowledged"
    return "open" if one["closed_at"] is None else f"closed {one['closed_at'][:16]}Z"
