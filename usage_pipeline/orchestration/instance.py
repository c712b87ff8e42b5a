"""The project's Dagster instance: where runs, materialisations and check results are kept.

With ``DAGSTER_HOME`` it is the one that the variable names; without it lies in the data folder, on the settings of the
checkout's ``dagster.yaml``, so that ``dagster dev`` in the checkout shows the same runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
import sqlalchemy as sa
from dagster._core.instance.ref import InstanceRef

from usage_pipeline.errors import TransientError
from usage_pipeline.ledger.server import data_home

_CHECKOUT: Final = Path(__file__).resolve().parents[2]


@contextmanager
def open_instance(environ: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """The persistent instance for as long as the block lasts.

    Raises :class:`TransientError` ``dagster_instance_unavailable``.
    """
    instance: dg.DagsterInstance | None = None
    try:
        instance = _opened(environ)
    except (sa.exc.SQLAlchemyError, OSError, dg.DagsterError) as error:
        problem = type(error).__name__
    if instance is None:
        raise TransientError(
            "dagster_instance_unavailable",
            f"Dagster's storage could not be opened ({problem})",
            where=environ.get("DAGSTER_HOME", "").strip() or str(instance_folder(environ)),
            remedy="Check that the folder can be written and, if dagster.yaml names a database, that it runs.",
        ) from None
    with instance, _fewer_disk_waits():
        yield instance


def instance_folder(environ: Mapping[str, str]) -> Path:
    """Where the instance lies without ``DAGSTER_HOME``."""
    return data_home(environ) / "dagster"


def _opened(environ: Mapping[str, str]) -> dg.DagsterInstance:
    if environ.get("DAGSTER_HOME", "").strip():
        return dg.DagsterInstance.get()
    folder = instance_folder(environ)
    folder.mkdir(parents=True, exist_ok=True)
    # An installed package has no dagster.yaml beside it; Dagster's own defaults then do.
    settings = _CHECKOUT if (_CHECKOUT / "dagster.yaml").is_file() else folder
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(folder), config_dir=str(settings), overrides=_in_folder(folder))
    )


def _in_folder(folder: Path) -> dict[str, Any]:
    """What dagster.yaml says relative to the checkout, absolute: the data folder may be elsewhere."""
    return {
        "storage": {"sqlite": {"base_dir": str(folder)}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(folder)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(folder / "storage")},
        },
        "telemetry": {"enabled": False},
    }


@contextmanager
def _fewer_disk_waits() -> Iterator[None]:
    """Let SQLite wait for the disk at checkpoints only, not at each of the thousands of events of a backfill.

    In its write-ahead mode, which Dagster uses, this is as safe against a crash of the process; a power cut may cost
    the last events of a run, which a second backfill writes again. Other databases are not touched.
    """

    def set_pragma(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = NORMAL")

    sa.event.listen(sa.Engine, "connect", set_pragma)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", set_pragma)
