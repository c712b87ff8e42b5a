"""Cuts, shadowed rows, events and billed lines for people: bounded tables in the report's own words.

In: objects as the report's JSON has them. Out: tables on standard output; what a source does not tell is "(not told)",
what nobody reports is a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from usage_pipeline.cli.output import print_line, print_table
from usage_pipeline.cli.report_tables import NOTHING, known_sum, number
from usage_pipeline.measures import CACHE_WRITES, TOKEN_CLASSES

SHOWN_MAX: Final = 200
"""How many rows a table has at most; JSON has all of them."""

_NOT_TOLD: Final = "(not told)"
_NO_MODEL: Final = "(of no model)"
_FIGURES: Final = ("input", "cache read", "cache write", "output", "reasoning", "tokens", "requests")
_DAY_HEAD: Final = ("date", "workspace", "feed")


def print_cut(told: Mapping[str, Any]) -> None:
    """The rows of a cut and their total."""
    by = told["by"]
    others = sorted({name for row in told["rows"] for name in row["counted"]["other"]})
    columns = (*(name.replace("_", " ") for name in by), *_FIGURES, *others, "USD", "basis")
    rows = [(*(_value(row, name) for name in by), *_counted(row, others)) for row in told["rows"][:SHOWN_MAX]]
    total = ("total", *([""] * (len(by) - 1)), *_counted(told["totals"], others))
    about = f", as of {told['as_of']}" if told.get("as_of") else ""
    print_table(
        f"What counts, {told['from']} to {told['to']} (UTC days, both included){about}",
        columns,
        [*rows, total],
        right=(*_FIGURES, *others, "USD"),
    )
    _print_more(len(told["rows"]) - SHOWN_MAX)
    for note in told["notes"]:
        print_line(f"Note: {note}.")


def print_shadowed(told: Mapping[str, Any]) -> None:
    """What is stored and not counted."""
    found = told["shadowed"]
    if not found:
        print_line("Everything that is stored counts.")
        return
    columns = (*_DAY_HEAD, "endpoint", "family", "why", "counted instead", *_FIGURES)
    rows = [
        (
            *(row[name] for name in _DAY_HEAD),
            row["endpoint"],
            row["family"] or NOTHING,
            row["reason"].replace("_", " "),
            ", ".join(row["led_by"]) or NOTHING,
            *_figures(row["stored"]),
        )
        for row in found[:SHOWN_MAX]
    ]
    print_table("Stored and not counted", columns, rows, right=_FIGURES)
    _print_more(len(found) - SHOWN_MAX)


def print_events(rows: Iterator[Mapping[str, Any]], names: Mapping[tuple[str, str], str]) -> None:
    """The first usage events; ``names`` are by column and id."""
    columns = ("window", "workspace", "feed", "endpoint", "state", "model", "project", "user", "output", "tokens")
    shown = [
        (
            row["window_start"],
            row["workspace"],
            row["feed"],
            row["endpoint"],
            row["state"].replace("_", " "),
            row["model"] or _NOT_TOLD,
            _named(row, "project_id", names),
            _named(row, "user_id", names),
            number(row["output"]),
            number(known_sum(row[name] for name in TOKEN_CLASSES)),
        )
        for row in islice(rows, SHOWN_MAX)
    ]
    _print_single("Usage events", columns, shown, rows, ("output", "tokens"))


def print_bills(rows: Iterator[Mapping[str, Any]], names: Mapping[tuple[str, str], str]) -> None:
    """The first billed lines; ``names`` are by column and id."""
    columns = (*_DAY_HEAD, "account", "state", "line", "model", "project", "USD")
    shown = [
        (
            *(row[name] for name in _DAY_HEAD),
            row["account"] or _NOT_TOLD,
            row["state"].replace("_", " "),
            row["label"] or row["cost_type"] or _NOT_TOLD,
            row["model"] or _NOT_TOLD,
            _named(row, "project_id", names),
            row["amount_usd"],
        )
        for row in islice(rows, SHOWN_MAX)
    ]
    _print_single("Billed lines", columns, shown, rows, ("USD",))


def _print_single(
    title: str,
    columns: Sequence[str],
    shown: Sequence[Sequence[str]],
    rest: Iterable[object],
    right: Sequence[str],
) -> None:
    if not shown:
        print_line("Nothing is stored.")
        return
    print_table(title, columns, shown, right=right)
    _print_more(sum(1 for _ in rest))


def _print_more(rows: int) -> None:
    if rows > 0:
        print_line(f"… and {rows:,} more; --json has all of them.")


def _value(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return _NOT_TOLD
    called = row["names"].get(name)
    shown = value.replace("_", " ") if name == "source" else value
    return f"{called} ({shown})" if called else shown or _NO_MODEL


def _named(row: Mapping[str, Any], column: str, names: Mapping[tuple[str, str], str]) -> str:
    """An id of a single row, with what it is called."""
    id_: str | None = row[column]
    if id_ is None:
        return _NOT_TOLD
    called = names.get((column, id_))
    return f"{called} ({id_})" if called else id_


def _counted(row: Mapping[str, Any], others: Sequence[str]) -> tuple[str, ...]:
    cost = row["cost"]["counted"]
    other = (number(row["counted"]["other"].get(name)) for name in others)
    return (*_figures(row["counted"]), *other, cost["usd"] or NOTHING, cost["basis"] or "")


def _figures(measures: Mapping[str, Any]) -> tuple[str, ...]:
    tokens = measures["tokens"]
    return (
        number(tokens["uncached_input"]),
        number(tokens["cache_read"]),
        number(known_sum(tokens[name] for name in CACHE_WRITES)),
        number(tokens["output"]),
        number(measures["reasoning"]),
        number(known_sum(tokens.values())),
        number(measures["requests"]),
    )
