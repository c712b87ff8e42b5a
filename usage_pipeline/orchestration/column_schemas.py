"""Canonical schemas as Dagster's column metadata."""

from __future__ import annotations

import dagster as dg
import pandera.pandas as pa


def table_schema(schema: pa.DataFrameSchema) -> dg.TableSchema:
    """The columns of a pandera schema: names, types, descriptions and rules."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=column.unique, other=[check.name for check in column.checks]
                ),
            )
            for name, column in schema.columns.items()
        ]
    )
