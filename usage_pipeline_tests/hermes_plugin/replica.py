"""What a server that replaces by range has after each report, read with the pipeline's own parser."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType

from usage_pipeline.hermes.payload import HermesBatch, HermesRow, parse_payload
from usage_pipeline_hermes.accounting import Absorbed, absorb
from usage_pipeline_hermes.config import Config, load_config
from usage_pipeline_hermes.ledger import open_ledger
from usage_pipeline_hermes.payload import due_reports, encode_json, payload_of, target_of
from usage_pipeline_hermes.state_db import read_snapshot

Key = tuple[str, str, str]  # hour, model, task
MEASURES: dict[str, Callable[[HermesRow], int | Decimal]] = {
    "requests": lambda row: row.requests or 0,
    "input": lambda row: row.uncached_input,
    "cache_read": lambda row: row.cache_read,
    "cache_write": lambda row: row.cache_write_unsplit,
    "output": lambda row: row.output,
    "reasoning": lambda row: row.reasoning or 0,
    "estimated": lambda row: row.estimated_cost_usd or Decimal(0),
}


def moment(text: str) -> float:
    """Seconds since 1970 of an ISO time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Server:
    """The last report of each day wins."""

    def __init__(self) -> None:
        self.days: dict[date, list[HermesRow]] = {}
        self.by_call_time: dict[date, bool] = {}
        self.batches: list[HermesBatch] = []

    def take(self, body: bytes, received_s: float) -> HermesBatch:
        batch = parse_payload(body, received_at=datetime.fromtimestamp(received_s, UTC))
        assert batch.findings == ()
        if self.batches:
            assert batch.revision is not None
            assert self.batches[-1].revision is not None
            assert batch.revision > self.batches[-1].revision
        self.batches.append(batch)
        if batch.covered_days is not None:
            start, end = batch.covered_days
            for number in range((end - start).days):
                day = start + timedelta(days=number)
                self.days[day] = [row for row in batch.rows if row.start.date() == day]
                self.by_call_time[day] = batch.hours_are_call_time
                assert _sums(self.days[day], "day") == _sums(self.days[day], "hour")
        return batch

    def figures(self, measure: str = "input") -> dict[Key, int | Decimal]:
        """Σ of a measure by hour, model and task, without zeros."""
        found: Counter[Key] = Counter()
        for rows in self.days.values():
            for row in rows:
                if row.kind == "hour":
                    key = (row.start.strftime("%Y-%m-%dT%H"), row.model, row.task or "")
                    found[key] += MEASURES[measure](row)  # type: ignore[assignment]
        return {key: value for key, value in found.items() if value}

    def rows(self) -> list[HermesRow]:
        """All hourly rows, in order."""
        rows = [row for day in sorted(self.days) for row in self.days[day] if row.kind == "hour"]
        return sorted(rows, key=lambda row: (row.start, row.model, row.task or ""))


def _sums(rows: list[HermesRow], kind: str) -> dict[tuple[object, ...], int | Decimal]:
    found: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        if row.kind == kind:
            for name, value in MEASURES.items():
                found[row.model, row.billing_provider, row.billing_base_url, row.task, name] += value(row)  # type: ignore[assignment]
    return {key: value for key, value in found.items() if value}


class Plugin:
    """The plugin without its network: reads, accounts, and hands each report to a :class:`Server`."""

    def __init__(self, database: Path, server: Server, **settings: str) -> None:
        self.server = server
        self.config: Config = load_config({"HERMES_HOME": str(database.parent)} | settings)
        self._stack = ExitStack()
        self.ledger = self._stack.enter_context(open_ledger(database.parent / "none" / "ledger.db", in_memory=True))

    def __enter__(self) -> Plugin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def sync(self, now_s: float, *, full: bool = False) -> Absorbed:
        absorbed = absorb(read_snapshot(self.config.db_path, 5), self.ledger, now_s)
        for report in due_reports(self.ledger, self.config, now_s, full=full):
            payload = payload_of(report, self.config, self.ledger.next_revision(now_s), now_s)
            self.server.take(encode_json(payload), now_s)
            self.ledger.put_acknowledged(target_of(self.config), report.digests, now_s)
        return absorbed


def text_of(path: Path) -> str:
    """Everything in an SQLite file, as text."""
    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()
