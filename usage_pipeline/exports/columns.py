"""The columns of the exports as data: name, type, unit, meaning. Files, their documentation and ``--describe`` are made
of these and of nothing else.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from usage_pipeline.ledger.export_rows import FLOWS
from usage_pipeline.ledger.reconciled import COSTS, GROUPS
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, RECONCILED_MEASURES
from usage_pipeline.normalise.frames import RECONCILED_USAGE, USAGE_EVENTS
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS


class Type(enum.StrEnum):
    """What a column holds: an exact ``decimal`` of money, an exact ``quantity`` of anything else."""

    TEXT = "text"
    COUNT = "integer"
    DECIMAL = "decimal"
    QUANTITY = "quantity"
    INSTANT = "instant"
    DAY = "day"
    FLAG = "flag"


class Column(NamedTuple):
    """A column. ``unit`` is empty where a value has none; ``meaning`` is one or two sentences."""

    name: str
    type: Type
    unit: str
    meaning: str


USD: Final = "US dollars"

_UNIT: Final = re.compile(r"Unit: ([^.,]+)[^.]*\. Null")


def _unit_of(measure: str) -> str:
    """The unit that the canonical frame gives a measure."""
    found = _UNIT.search(USAGE_EVENTS.columns[measure].description or "")
    assert found, f"{measure} has a unit"
    return found[1]


_UNITS: Final = {name: _unit_of(name) for name in EVENT_MEASURES}
_COST_WORDS: Final = {
    "counted": "The cost that counts",
    "billed": "What the provider's bill says",
    "computed": "The measured tokens at the dated prices",
    "hermes": "What Hermes says of the cost",
}


def _words(described: str | None) -> str:
    """A frame's description without its unit, which has a place of its own."""
    return " ".join((described or "").partition(" Unit:")[0].split())


def _counts(prefix: str, measures: Iterable[str], meaning: str) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}{name}", Type.COUNT, _UNITS[name], meaning.format(name)) for name in measures)


def _of_frame(name: str) -> str:
    return _words(USAGE_EVENTS.columns[name].description).removesuffix(".")


def _of_cell(name: str) -> str:
    return f"{_words(RECONCILED_USAGE.columns[name].description).removesuffix('.')}."


_PLACE: Final = (
    Column("day", Type.DAY, "", "The UTC day."),
    Column("workspace", Type.TEXT, "", "The workspace's slug."),
)
_BASIS: Final = "What the counted cost rests on: billed, estimate, actual, estimated, included, unpriced …"

EVENT_COLUMNS: Final = (
    Column("record", Type.TEXT, "", "event, or remainder: a part of what counts that no stored event tells."),
    *_PLACE,
    Column("feed", Type.TEXT, "", "The provider key or Hermes feed that said it."),
    Column("source", Type.TEXT, "", "provider_api_key or hermes_plugin; of a remainder the source that a cut names."),
    Column("endpoint", Type.TEXT, "", "The provider's report, or Hermes' list."),
    Column("provider", Type.TEXT, "", "The provider whose key it is; empty for Hermes. Of a remainder the cell's."),
    Column("account", Type.TEXT, "", "The provider's account, where it is known."),
    Column("family", Type.TEXT, "", "The family of measures in which it is compared."),
    Column("route", Type.TEXT, "", "account, or off_account: and who bills."),
    Column("canonical_model", Type.TEXT, "", "The model's name in reconciled rows, where the row counts."),
    Column(
        "state",
        Type.TEXT,
        "",
        "counted, shadowed, informational, compared, shown, hours, repositories or not_reconciled_yet.",
    ),
    Column("provisional", Type.FLAG, "", "Whether the cell that it counts in may still change."),
    Column("event_id", Type.TEXT, "", "A stable hash of feed, endpoint, window and dimensions, as a UUID."),
    Column("window_start", Type.INSTANT, "", "The start of the window, UTC."),
    Column("window_seconds", Type.COUNT, "seconds", "The width of the window; empty where the source tells none."),
    Column("recorded_at", Type.INSTANT, "", "When this version of the event was written, UTC."),
    *(Column(name, Type.COUNT, _UNITS[name], f"{_of_frame(name)}, as the source says.") for name in EVENT_MEASURES),
    Column("estimated_cost_usd", Type.DECIMAL, USD, "What Hermes estimates of its row."),
    Column("actual_cost_usd", Type.DECIMAL, USD, "What Hermes says was charged for its row."),
    Column("counts", Type.FLAG, "", "False for a row that is shown and never counted."),
    *(Column(name, Type.TEXT, "", f"{_of_frame(name)}.") for name in EVENT_DIMENSIONS),
    *_counts("counted_", FLOWS, "How much of {0} counts by this row. The column sums to the report's total."),
    Column("cost_usd", Type.DECIMAL, USD, "The row's part of the counted cost. The column sums to the report's total."),
    Column("cost_basis", Type.TEXT, "", _BASIS),
)

_CELL_WORDS: Final = {
    name: _words(RECONCILED_USAGE.columns[name].description)
    for name in ("provider", "route", "family", "model", "decision", "provisional", "covered_until", "policy")
}
CELL_COLUMNS: Final = (
    *_PLACE,
    *(
        Column(
            name,
            {"provisional": Type.FLAG, "covered_until": Type.INSTANT}.get(name, Type.TEXT),
            "",
            words,
        )
        for name, words in _CELL_WORDS.items()
    ),
    Column("rules_version", Type.TEXT, "", "The version of the rules that decided."),
    Column("alias_version", Type.TEXT, "", "The version of the table of model names."),
    Column("lower_bound", Type.TEXT, "", "Measures of which the counted figure is a lower bound, by commas."),
    *(
        Column(f"{group}_{name}", Type.COUNT, _UNITS[name], _of_cell(f"{group}_{name}"))
        for group in GROUPS
        for name in RECONCILED_MEASURES
    ),
    *(
        column
        for cost in COSTS
        for column in (
            Column(f"cost_{cost}_usd", Type.DECIMAL, USD, f"{_COST_WORDS[cost]}."),
            Column(f"cost_{cost}_basis", Type.TEXT, "", f"What the {cost} cost rests on."),
        )
    ),
    Column("cost_computed_version", Type.TEXT, "", "The versions of the prices behind the computed cost."),
)

_CUT_FIGURES: Final = (
    *_counts("", FLOWS, "How much of {0} counts. The column sums to the report's total."),
    Column("cost_usd", Type.DECIMAL, USD, "The counted cost. The column sums to the report's total."),
    Column("cost_basis", Type.TEXT, "", _BASIS),
    Column("provisional", Type.FLAG, "", "Whether any cell in it may still change."),
)
_HOUR: Final = Column("hour", Type.INSTANT, "", "The start of the UTC hour; empty where the source tells days only.")
_DIMENSION_WORDS: Final = {
    "cost_center": "The cost centre that the rules of showback give, or unassigned.",
    "team": "The team that the rules of showback give, or unassigned.",
    "source": "provider, or what tells it instead: unattributed, hermes_stand_in, billed_line …",
}


def cut_columns(dimensions: Iterable[str]) -> tuple[Column, ...]:
    """The columns of a cut by these dimensions; ``hour`` is one too, and brings ``day`` with it."""
    found: list[Column] = []
    for name in dimensions:
        if name == "hour":
            found += [_PLACE[0], _HOUR]
        elif name == "day":
            found.append(_PLACE[0])
        else:
            words = f"The {name.replace('_', ' ')}; empty where the source does not tell it."
            found.append(Column(name, Type.TEXT, "", _DIMENSION_WORDS.get(name, words)))
    return (*found, *_CUT_FIGURES)


ALL_CUT_COLUMNS: Final = cut_columns(("hour", *(name for name in DIMENSIONS if name != "day")))
"""Every column that a cut may have."""
