"""The canonical frames: what usage events, billed costs and reconciled usage look like as pandas frames.

Here: one pandera schema per table, its columns in the table's order with type, nullability, checks, and a description
with the unit. In: rows as the database gives them. Out: typed frames, and the schemas themselves, from which Dagster's
column metadata, the checks and the exports are made. The load path does not pass through here; a test ties the schemas
to the tables. Not built as classes with a line per field, since the measures come from ``measures`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pandas as pd
import pandera.pandas as pa

from usage_pipeline.measures import (
    EVENT_DIMENSIONS,
    EVENT_MEASURES,
    MODALITY_PARTS,
    OTHER_MEASURES,
    RECONCILED_MEASURES,
    TOKEN_CLASSES,
)

COUNT: Final = "Int64"
"""Tokens and other counts: 64-bit integers that may be null (not reported)."""

INSTANT: Final = "datetime64[us, UTC]"
TEXT: Final = "string[python]"  # the same whether pyarrow is installed or not
FLAG: Final = "bool"
EXACT: Final = "object"
"""Objects of an exact kind: Decimal for money and quantities, UUID for keys, a list of texts."""

_UNITS: Final = {
    **dict.fromkeys((*TOKEN_CLASSES, "reasoning", *MODALITY_PARTS), "tokens"),
    "requests": "requests",
    "images": "images",
    "characters": "characters",
    "seconds": "seconds of audio",
    "sessions": "sessions",
    "searches": "searches",
    "usage_bytes": "bytes, a level and never summed over time",
}
_MEANINGS: Final = {
    "uncached_input": "Input that was not served from a cache",
    "cache_read": "Input that was read from a cache",
    "cache_write_5m": "Input written to a cache for 5 minutes",
    "cache_write_30m": "Input written to a cache for 30 minutes",
    "cache_write_1h": "Input written to a cache for 1 hour",
    "cache_write_12h": "Input written to a cache for 12 hours",
    "cache_write_unsplit": "Input written to a cache, where the source tells no lifetime",
    "output": "Output, reasoning included",
    "reasoning": "The part of the output that was reasoning; never added to it",
    "requests": "Calls of a model",
    "images": "Images made",
    "characters": "Characters spoken",
    "seconds": "Audio transcribed",
    "sessions": "Sessions of a code interpreter",
    "searches": "Searches made",
    "usage_bytes": "Storage in use",
}
_DIMENSIONS: Final = {
    "project_id": "OpenAI's project, Anthropic's workspace",
    "user_id": "OpenAI's user, Anthropic's account of an OAuth user",
    "service_account_id": "The service account",
    "api_key_id": "The API key's id, never the key",
    "model": "The model's name as reported",
    "service_tier": "The service tier",
    "batch": "Whether it came through the batch API: true or false",
    "context_window": "The class of context length that the price depends on",
    "inference_geo": "Where the model ran",
    "speed": "The speed class",
    "api_source": "The API that was called",
    "line_detail": "Canonical JSON of what only one endpoint or source has",
    "upstream_provider": "The vendor whose model a reseller or a proxy passed the call on to",
}


def _column(kind: str, description: str, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, list(checks), nullable=nullable, description=description)


def _measure(name: str, prefix: str = "") -> pa.Column:
    words = _MEANINGS.get(name) or f"The part of {name.rsplit('_', 1)[0]} that is {name.rsplit('_', 1)[1]}"
    return _column(COUNT, f"{prefix}{words}. Unit: {_UNITS[name]}. Null: not reported.", pa.Check.ge(0), nullable=True)


def _dimensions(names: Sequence[str]) -> dict[str, pa.Column]:
    return {
        name: _column(TEXT, f"{_DIMENSIONS[name]}. Null: not told or not asked for.", nullable=True) for name in names
    }


def _is_decimal(value: object) -> bool:
    return isinstance(value, Decimal)


def _exact(description: str, *, nullable: bool = True) -> pa.Column:
    return _column(EXACT, description, pa.Check(_is_decimal, element_wise=True, name="is a Decimal"), nullable=nullable)


_SLICE_ID = _column("int64", "The slice (feed, endpoint, UTC day) that the row belongs to.", pa.Check.ge(1))
_SOURCE_ID = _column("int64", "The pull or the Hermes batch whose words these are.", pa.Check.ge(1))
_RECORDED_AT = _column(INSTANT, "When this version of the row was written, UTC.")

USAGE_EVENTS: Final = pa.DataFrameSchema(
    {
        "slice_id": _SLICE_ID,
        "event_id": _column(EXACT, "A stable hash of feed, endpoint, window and dimensions, as a UUID."),
        "source_id": _SOURCE_ID,
        "window_start": _column(INSTANT, "The start of the window, UTC; its width is the slice's window_seconds."),
        "recorded_at": _RECORDED_AT,
        **{name: _measure(name) for name in EVENT_MEASURES},
        "estimated_cost_usd": _exact("What Hermes estimates. Unit: US dollars, exact."),
        "actual_cost_usd": _exact("What Hermes says was charged. Unit: US dollars, exact."),
        "counts": _column(FLAG, "False for a row that is shown and never counted."),
        **_dimensions(EVENT_DIMENSIONS),
    },
    name="usage_events",
    strict=True,
    ordered=True,
)

_BILL_TEXTS: Final = {
    "label": "The provider's own words for the line",
    "model": "The model, where the line names one",
    "cost_type": "What kind of thing is billed",
    "token_type": "Which tokens are billed",
    **{name: _DIMENSIONS[name] for name in ("project_id", "user_id", "api_key_id", "service_tier")},
    **{name: _DIMENSIONS[name] for name in ("context_window", "inference_geo")},
}

BILLED_COSTS: Final = pa.DataFrameSchema(
    {
        "slice_id": _SLICE_ID,
        "line_id": _column(EXACT, "A stable hash of feed, endpoint, day and the line's dimensions, as a UUID."),
        "source_id": _SOURCE_ID,
        "recorded_at": _RECORDED_AT,
        "amount_usd": _exact("What the provider bills; a credit is negative. Unit: US dollars, exact.", nullable=False),
        **{
            name: _column(TEXT, f"{words}. Null: not told or not asked for.", nullable=True)
            for name, words in _BILL_TEXTS.items()
        },
        "quantity": _exact("How much is billed, in quantity_unit, exact."),
        "quantity_unit": _column(TEXT, "The unit of quantity.", nullable=True),
    },
    name="billed_costs",
    strict=True,
    ordered=True,
)

_GROUPS: Final = {
    "reported_by_provider": "The provider reports: ",
    "reported_by_hermes": "Hermes reports: ",
    "counted": "What counts: ",
    "explained": "Counted and explained by Hermes: ",
    "unattributed": "Counted, and Hermes does not say by whom: ",
    "excess": "Reported by Hermes beyond what counts: ",
    "stand_in": "Counted on Hermes' word until the provider reports: ",
}
_COSTS: Final = {
    "counted": "The cost that counts",
    "billed": "What the provider bills",
    "computed": "Counted tokens times the dated price",
    "hermes": "What Hermes says",
}


def _costs() -> dict[str, pa.Column]:
    found: dict[str, pa.Column] = {}
    for name, words in _COSTS.items():
        found[f"cost_{name}_usd"] = _exact(f"{words}. Unit: US dollars, exact. Null: not known.")
        found[f"cost_{name}_basis"] = _column(TEXT, f"What cost_{name}_usd rests on.", nullable=True)
    words = "The versions of the prices behind cost_computed_usd. Null: there is none."
    found["cost_computed_version"] = _column(TEXT, words, nullable=True)
    return found


RECONCILED_USAGE: Final = pa.DataFrameSchema(
    {
        "reconciliation_id": _column("int64", "The reconciled day of a workspace.", pa.Check.ge(1)),
        "cell_id": _column(EXACT, "A stable hash of provider, route, family and model, as a UUID."),
        "recorded_at": _RECORDED_AT,
        "provider": _column(TEXT, "The provider, by the model's vendor; unknown where nobody knows."),
        "route": _column(TEXT, "account, or off_account:NAME."),
        "family": _column(TEXT, "What kind of thing is used, like text or embeddings."),
        "model": _column(TEXT, "The canonical model; empty where no source names one."),
        "decision": _column(TEXT, "Which side counts."),
        "provisional": _column(FLAG, "Whether a later answer of a source may still change the figures."),
        "covered_until": _column(INSTANT, "Up to when the side that counts has spoken, UTC.", nullable=True),
        "policy": _column(TEXT, "The workspace's policy under which it was decided."),
        "rules_version": _column(TEXT, "The version of the rules."),
        "alias_version": _column(TEXT, "The version of the table of model aliases."),
        "lower_bound": _column(EXACT, "Measures that only Hermes reports, so that the count is a lower bound."),
        **{
            f"{group}_{name}": _measure(name, words) for group, words in _GROUPS.items() for name in RECONCILED_MEASURES
        },
        **_costs(),
    },
    name="reconciled_usage",
    strict=True,
    ordered=True,
)

assert set(_UNITS) == {*EVENT_MEASURES}, "every measure has a unit"
assert set(OTHER_MEASURES) <= set(_MEANINGS), "every measure has a meaning"


def frame_of(schema: pa.DataFrameSchema, rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame with the schema's columns and types from rows in the table's order; money stays Decimal."""
    kinds = {name: str(column.dtype) for name, column in schema.columns.items()}
    table = pd.DataFrame(list(rows), columns=list(kinds), dtype=object)
    return pd.DataFrame({name: _typed(table[name], kind) for name, kind in kinds.items()})


def _typed(values: pd.Series[Any], kind: str) -> pd.Series[Any]:
    if kind == INSTANT:
        return pd.to_datetime(values, utc=True).dt.as_unit("us")
    return values if kind == EXACT else values.astype(pd.api.types.pandas_dtype(kind))


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule of a schema that a row breaks: the column, the rule in words, and the row's position (None: all rows).

    The value itself is not repeated.
    """

    column: str
    rule: str
    position: int | None


def broken_rules(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> list[BrokenRule]:
    """What of the schema the frame breaks; empty where it holds."""
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "index"]].itertuples(index=False)
        return [
            BrokenRule(str(column), str(rule), None if pd.isna(position) else int(position))
            for column, rule, position in cases
        ]
    return []
