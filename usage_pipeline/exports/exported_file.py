"""A month's exports as files in a folder, each from one snapshot of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from usage_pipeline.errors import PermanentError
from usage_pipeline.exports.csv_file import csv_chunks
from usage_pipeline.exports.export import open_export
from usage_pipeline.exports.files import write_file
from usage_pipeline.exports.parquet_file import parquet_chunks
from usage_pipeline.exports.query import ExportQuery
from usage_pipeline.exports.table import Control
from usage_pipeline.ledger.server import data_home
from usage_pipeline.ledger.snapshot import snapshot


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A written file, its size in bytes, and what it came to."""

    path: Path
    size: int
    control: Control


def export_folder(setting: str, environ: Mapping[str, str]) -> Path:
    """The folder of exports: as set, else ``exports`` in the data folder."""
    return Path(setting).expanduser() if setting else data_home(environ) / "exports"


def write_export(engine: Engine, query: ExportQuery, folder: Path, *, parquet: bool) -> ExportedFile:
    """Write an export into a folder, which is made, under the query's name; an older file of it is replaced at once.

    Raises what :func:`open_export`, the writers and :func:`write_file` raise, and :class:`PermanentError`
    ``out_not_written`` where the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(
            "out_not_written",
            f"the folder cannot be made: {error.strerror}",
            where=str(folder),
            remedy="Set USAGE_EXPORT_DIR to a folder that can be written.",
        ) from None
    path = folder / f"{query.name}.{'parquet' if parquet else 'csv'}"
    with snapshot(engine) as connection:
        table = open_export(connection, query)
        size = write_file(path, parquet_chunks(table) if parquet else csv_chunks(table))
    return ExportedFile(path, size, table.control)
