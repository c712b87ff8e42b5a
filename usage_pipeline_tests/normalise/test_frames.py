"""The canonical frames are the tables: same columns, same order, the types that each other means."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pandera.pandas as pa
import psycopg
import pytest
from sqlalchemy.engine import make_url

from usage_pipeline.normalise.frames import (
    BILLED_COSTS,
    RECONCILED_USAGE,
    USAGE_EVENTS,
    broken_rules,
    frame_of,
)

_SCHEMAS = {schema.name: schema for schema in (USAGE_EVENTS, BILLED_COSTS, RECONCILED_USAGE)}
_TYPES = {
    ("int64", False): {"bigint"},
    ("Int64", True): {"bigint"},
    ("datetime64[us, UTC]", False): {"timestamp with time zone"},
    ("datetime64[us, UTC]", True): {"timestamp with time zone"},
    ("string[python]", False): {"text"},
    ("string[python]", True): {"text"},
    ("bool", False): {"boolean"},
    ("object", False): {"uuid", "numeric", "ARRAY"},
    ("object", True): {"numeric"},
}


@pytest.mark.parametrize("table", list(_SCHEMAS))
def test_a_schema_has_the_columns_and_types_of_its_table(migrated_database: str, table: str) -> None:
    conninfo = make_url(migrated_database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as connection:
        columns = connection.execute(
            "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_name = %s ORDER BY ordinal_position",
            (table,),
        ).fetchall()
    schema = _SCHEMAS[table]
    assert [name for name, _, _ in columns] == list(schema.columns)
    for name, data_type, nullable in columns:
        column = schema.columns[name]
        assert column.nullable == nullable, name
        assert data_type in _TYPES[str(column.dtype), nullable], name


@pytest.mark.parametrize("schema", list(_SCHEMAS.values()), ids=list(_SCHEMAS))
def test_every_column_is_described(schema: pa.DataFrameSchema) -> None:
    assert all(column.description and column.description.endswith(".") for column in schema.columns.values())


def _line(**values: Any) -> list[Any]:
    row: dict[str, Any] = dict.fromkeys(BILLED_COSTS.columns)
    row |= {"slice_id": 1, "line_id": UUID(int=1), "source_id": 1, "recorded_at": "2025-03-01T00:00:00Z"}
    return list((row | {"amount_usd": Decimal("0.1234567890123456789")} | values).values())


def test_an_amount_stays_exact() -> None:
    frame = frame_of(BILLED_COSTS, [_line()])
    assert frame["amount_usd"].iloc[0] == Decimal("0.1234567890123456789")
    assert broken_rules(BILLED_COSTS, frame) == []


def test_an_amount_that_is_a_float_breaks_the_schema() -> None:
    [broken] = broken_rules(BILLED_COSTS, frame_of(BILLED_COSTS, [_line(), _line(amount_usd=0.5)]))
    assert (broken.column, broken.rule, broken.position) == ("amount_usd", "is a Decimal", 1)


def test_a_count_beyond_a_float_stays_exact_and_null_is_not_zero() -> None:
    row = dict.fromkeys(USAGE_EVENTS.columns) | {
        "slice_id": 1,
        "event_id": UUID(int=1),
        "source_id": 1,
        "window_start": "2025-03-01T00:00:00Z",
        "recorded_at": "2025-03-01T00:00:00Z",
        "output": 2**53 + 1,
        "counts": True,
    }
    frame = frame_of(USAGE_EVENTS, [list(row.values())])
    assert frame["output"].tolist() == [2**53 + 1]
    assert frame["cache_read"].isna().all()
    assert broken_rules(USAGE_EVENTS, frame) == []


@pytest.mark.parametrize("schema", list(_SCHEMAS.values()), ids=list(_SCHEMAS))
def test_a_frame_without_rows_holds(schema: pa.DataFrameSchema) -> None:
    assert broken_rules(schema, frame_of(schema, [])) == []
