"""What the columns of each asset's table are, as Dagster's column metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import dagster as dg
import pandera.pandas as pa

from usage_pipeline.orchestration.lineage import Source, made_from

_RAW_PAGES: Final = (
    ("pull_id", "bigint", "The pull (key, endpoint, range of days) that read the page; its row is in pulls."),
    ("page_number", "integer", "The page's place in the pull, from 0."),
    ("first_day", "date", "The first UTC day that was asked for with the page."),
    ("last_day", "date", "The last UTC day that was asked for with the page, itself included."),
    ("query", "jsonb", "The parameters of the request, never a header or a secret."),
    ("fetched_at", "timestamptz", "When the page was read, UTC."),
    ("digest", "bytea", "SHA-256 of the page."),
    ("body_bytes", "bigint", "The page's size before compression. Unit: bytes."),
    ("body_zstd", "bytea", "The page as the provider sent it, compressed with zstd; empty once retention pruned it."),
)
_HERMES_DAYS: Final = (
    ("feed_id", "integer", "The Hermes feed."),
    ("day", "date", "The UTC day."),
    ("batch_id", "bigint", "The batch that speaks for the day; its payload is in hermes_batches."),
    ("generated_at", "timestamptz", "When Hermes made the batch, UTC."),
    ("batch_digest", "bytea", "A digest of what the batch says."),
)


_SQL_TYPES: Final = {
    "Int64": "bigint",
    "int64": "bigint",
    "datetime64": "timestamptz",
    "string": "text",
    "bool": "boolean",
    "object": "numeric",
}
_EXACT_TYPES: Final = {"event_id": "uuid", "line_id": "uuid", "cell_id": "uuid", "lower_bound": "text[]"}
"""What an exact object is in the table; every other one is ``numeric``."""


def table_schema(schema: pa.DataFrameSchema, lineage: Mapping[str, Iterable[Source]]) -> dg.TableSchema:
    """The columns of a pandera schema: names, types, descriptions with what they are made from, and rules."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=_sql_type(name, column),
                description=_with_sources(column.description or "", lineage.get(name, ())),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=column.unique, other=[_rule(check) for check in column.checks]
                ),
            )
            for name, column in schema.columns.items()
        ]
    )


def _sql_type(name: str, column: pa.Column) -> str:
    return _EXACT_TYPES.get(name) or _SQL_TYPES[str(column.dtype).partition("[")[0]]


def _rule(check: pa.Check) -> str:
    least = (check.statistics or {}).get("min_value")
    return str(check.name) if least is None else f"at least {least}"


def _with_sources(description: str, sources: Iterable[Source]) -> str:
    words = made_from(sources)
    return f"{description} Made from {words}." if words else description


def _stored(columns: Iterable[tuple[str, str, str]]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, kind, words, constraints=dg.TableColumnConstraints(nullable=False))
            for name, kind, words in columns
        ]
    )


RAW_PAGES_SCHEMA: Final = _stored(_RAW_PAGES)
HERMES_DAYS_SCHEMA: Final = _stored(_HERMES_DAYS)
"""The columns of the two tables before anything is canonical."""
