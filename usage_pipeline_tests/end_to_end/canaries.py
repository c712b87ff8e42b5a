"""Secrets that nobody would write by chance, and every form of them that a text, a table or an answer could hold.

They are plain words without digits: nothing that looks for what resembles a key finds them, only what knows them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import sqlalchemy as sa
import zstandard
from dagster._serdes import serialize_value

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
HEAD_CHARACTERS = 8
"""So much of a secret tells which one it is; providers that mask a key show as much of it."""


class Canaries:
    """Secrets by what they are for; everything that is looked at, and where one of them was found."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets: dict[str, str] = {}
        self._forms: dict[str, tuple[bytes, ...]] = {}
        self.found: list[str] = []
        self.looked_at: dict[str, int] = {}
        for name, secret in secrets.items():
            self.add(name, secret)

    def __getitem__(self, name: str) -> str:
        return self.secrets[name]

    def add(self, name: str, secret: str, *also: bytes) -> None:
        """One more secret; ``also`` are other forms of it."""
        plain = secret.encode()
        self.secrets[name] = secret
        self._forms[name] = (
            plain[:HEAD_CHARACTERS],
            *(form for whole in (plain, *also) for form in (whole, whole.hex().encode(), _inner_base64(whole))),
        )

    def look(self, place: str, seen: object) -> None:
        """Look for every secret in a text, bytes, or whatever else can be written as a text."""
        text = seen if isinstance(seen, bytes) else str(seen).encode(errors="backslashreplace")
        kind = place.partition(":")[0]
        self.looked_at[kind] = self.looked_at.get(kind, 0) + len(text)
        for name, forms in self._forms.items():
            for form in forms:
                if form in text:
                    at = text.index(form)
                    around = text[max(0, at - 80) : at + 80].decode(errors="replace")
                    self.found.append(f"{name} in {place}: …{around}…")
                    break

    def look_at_database(self, engine: sa.Engine) -> None:
        """Every row of every table, bytes unpacked where they are packed."""
        with engine.connect() as connection:
            for table in sa.inspect(connection).get_table_names():
                for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')).mappings():
                    for column, value in row.items():
                        for seen in _unpacked(value):
                            self.look(f"table: {table}.{column}", seen)

    def look_at_instance(self, instance: dg.DagsterInstance) -> None:
        """Every run with its tags, configuration, snapshots and events, and every tick."""
        for record in instance.get_run_records():
            run = record.dagster_run
            self.look(f"run: {run.run_id}", serialize_value(run))
            for of_run, get in (
                (run.job_snapshot_id, instance.get_job_snapshot),
                (run.execution_plan_snapshot_id, instance.get_execution_plan_snapshot),
            ):
                if of_run is not None:
                    self.look(f"snapshot: {run.run_id}", serialize_value(get(of_run)))
            for entry in instance.all_logs(run.run_id):
                self.look(f"event: {run.run_id} {entry.dagster_event_type}", serialize_value(entry))


def _inner_base64(secret: bytes) -> bytes:
    """The secret in base64, without the ends that hang on what stands before and after it."""
    return base64.b64encode(secret)[: len(secret) // 3 * 4]


def _unpacked(value: Any) -> Iterator[object]:
    yield bytes(value) if isinstance(value, memoryview) else value
    if isinstance(value, bytes | memoryview) and bytes(value).startswith(_ZSTD_MAGIC):
        yield zstandard.decompress(bytes(value))
