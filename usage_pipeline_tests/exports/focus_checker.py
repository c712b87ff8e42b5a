"""Holds a file of FOCUS against the rules of its version."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from usage_pipeline_tests.exports.focus_rules import COLUMN_RULES, DEVIATIONS, ROW_RULES, Cells, ColumnRule


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule: in which row (1 is the first after the header, 0 the file), and what was found."""

    row: int
    rule: str
    found: str


_DATETIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(E-?\d+)?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_OURS: Final = re.compile(r"x_[A-Z][A-Za-z0-9]*", re.ASCII)


def check_focus(version: str, columns: Sequence[str], rows: Iterator[Cells]) -> Iterator[Breach]:
    """Every breach of a rule in a file of FOCUS, ``columns`` in the file's order."""
    rules = {rule.name: rule for rule in COLUMN_RULES[version]}
    yield from _breaches_of_columns(rules, columns)
    row_rules = [rule for rule in ROW_RULES if version in rule.versions]
    excused = {one.rule: one.when for one in DEVIATIONS}
    for number, row in enumerate(rows, 1):
        for name, rule in rules.items():
            if name in row and (found := _breach_of_value(rule, row[name])) is not None:
                yield Breach(number, f"{name}: {found}", row[name])
        for row_rule in row_rules:
            if not row_rule.holds(row) and not (row_rule.rule in excused and excused[row_rule.rule](row)):
                yield Breach(number, f"{row_rule.rule}: {row_rule.words}", row["ChargeDescription"])


def _breaches_of_columns(rules: Mapping[str, ColumnRule], columns: Sequence[str]) -> Iterator[Breach]:
    for name, rule in rules.items():
        if rule.present and name not in columns:
            yield Breach(0, f"{name}: must be present", "")
    ours = [name for name in columns if name not in rules]
    for name in ours:
        if not _OURS.fullmatch(name):
            yield Breach(0, "ColumnHandling-A-010-M: a column of one's own begins with x_", name)
    if list(columns[len(columns) - len(ours) :]) != ours:
        yield Breach(0, "ColumnHandling-A-013-O: columns of one's own come last", "")


def _breach_of_value(rule: ColumnRule, value: str) -> str | None:
    """What is wrong with a value of a column; None where nothing is."""
    if not value:
        return None if rule.nullable else "must not be null"
    if rule.allowed and value not in rule.allowed:
        return "is none of the allowed values"
    if rule.kind == "string" and not value.strip():
        return "is blank"
    if rule.kind == "datetime" and not _DATETIME.fullmatch(value):
        return "is no instant in UTC (YYYY-MM-DDTHH:mm:ssZ)"
    if rule.kind == "currency" and not _CURRENCY.fullmatch(value):
        return "is no currency code"
    if rule.kind == "json" and not _is_flat_object(value):
        return "is no JSON object of texts, numbers, truths and nulls"
    if rule.kind == "decimal":
        return _breach_of_number(rule, value)
    return None


def _breach_of_number(rule: ColumnRule, value: str) -> str | None:
    if not _NUMBER.fullmatch(value):
        return "is no number"
    return "is negative" if rule.least is not None and Decimal(value) < rule.least else None


def _is_flat_object(value: str) -> bool:
    try:
        found = json.loads(value)
    except ValueError:
        return False
    return isinstance(found, dict) and not any(isinstance(one, dict | list) for one in found.values())
