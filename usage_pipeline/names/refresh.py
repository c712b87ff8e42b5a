"""Asking a provider for the names of an account, and keeping what it tells.

In: a key, a client, the time. Out: stored names, and a row of telemetry that says what failed. A list that is refused
leaves the others; nothing is raised for what a provider answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from usage_pipeline.credentials.pseudonyms import Pseudonyms
from usage_pipeline.errors import TransientError, UsagePipelineError
from usage_pipeline.ledger.dimension_names import Named, names_asked_since, store_names
from usage_pipeline.ledger.erased_ids import require_hashes
from usage_pipeline.ledger.ingestion_runs import IngestionRun, record_run
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.names import anthropic, openai
from usage_pipeline.names.lists import NameList
from usage_pipeline.providers.http import HttpLimits, ProviderClient

STAGE: Final = "dimension_names"
FRESH: Final = timedelta(days=1)
"""Names that are younger are not asked for again beside a pull."""

RETRY: Final = timedelta(hours=1)
"""After a refusal, names are not asked for again beside a pull before this."""

SECONDS_BESIDE_A_PULL: Final = 60.0
"""How long asking for names may hold up the end of a pull."""

LIMITS: Final = HttpLimits(read_s=10.0, answer_s=30.0, total_s=30.0, attempts_max=1)
"""Bounds of one request for a name: one attempt, since figures do not need it."""

_LISTS: Final[Mapping[str, Sequence[NameList]]] = {"openai": openai.LISTS, "anthropic": anthropic.LISTS}

UNNAMED: Final[Mapping[tuple[str, str], str]] = {("anthropic", "project_id"): "Default"}
"""What a null stands for where the dimension was asked for, by provider and dimension."""


@dataclass(frozen=True, slots=True)
class NamesSummary:
    """What asking for an account's names gave: how many names by list, and which lists failed (list, code, line).

    ``is_cut_off`` is whether the time was up before the end.
    """

    key: str
    provider: str
    account: str
    names: Mapping[str, int]
    failures: tuple[tuple[str, str, str], ...]
    requests: int
    is_cut_off: bool


class _TimeIsUpError(Exception):
    pass


def has_names(key: ProviderKey) -> bool:
    """Whether the key may ask its provider for names: an admin key of a provider whose lists are known."""
    return key.mode == "admin" and key.provider in _LISTS


def names_are_due(connection: Connection, key: ProviderKey, now: datetime) -> bool:
    """Whether the names of the key's account are older than :data:`FRESH`, or were refused longer ago than
    :data:`RETRY`."""
    return has_names(key) and not names_asked_since(
        connection, key.provider, key.account, whole_since=now - FRESH, failed_since=now - RETRY
    )


def refresh_account_names(
    engine: Engine,
    key: ProviderKey,
    client: ProviderClient,
    clock: Callable[[], datetime],
    *,
    seconds_max: float | None = None,
    run_id: str | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> NamesSummary:
    """Ask for every list of the account behind ``key`` and store what is told; ``seconds_max`` bounds the asking.

    Whose id is erased (``pseudonyms``) is kept as the pseudonym alone.
    """
    started_at = clock()
    deadline = None if seconds_max is None else time.monotonic() + seconds_max

    def fetch(path: str, query: Sequence[tuple[str, str]]) -> bytes:
        if deadline is not None and time.monotonic() > deadline:
            raise _TimeIsUpError
        return client.fetch(path, query)

    counted: dict[str, int] = {}
    failures: list[tuple[str, str, str]] = []
    cut_off = False
    for listed in _LISTS.get(key.provider, ()):
        told: list[Named] = []
        try:
            told.extend(listed.read(fetch))  # what was told before a refusal stays in the list
        except UsagePipelineError as error:
            failures.append((listed.what, error.code, error.line()))
        except _TimeIsUpError:
            cut_off = True
        if pseudonyms is not None:
            told = [_without_erased(named, pseudonyms) for named in told]
        try:
            with engine.begin() as connection:
                require_hashes(connection, key.provider, pseudonyms.hashes if pseudonyms else frozenset())
                counted[listed.what] = store_names(connection, key.provider, key.account, told, started_at)
        except TransientError as error:
            failures.append((listed.what, error.code, error.line()))
    summary = NamesSummary(
        key.slug, key.provider, key.account, counted, tuple(failures), client.counters.requests, cut_off
    )
    note_names(engine, key, summary, started_at, clock(), run_id)
    return summary


def _without_erased(named: Named, pseudonyms: Pseudonyms) -> Named:
    pseudonym = pseudonyms.of(named.id)
    if pseudonym is not None:
        return Named(named.dimension, pseudonym, pseudonym)
    detail = {fact: pseudonyms.of(told) or told for fact, told in named.detail.items()}
    return Named(named.dimension, named.id, pseudonyms.of(named.name) or named.name, detail)


def note_names(
    engine: Engine,
    key: ProviderKey,
    summary: NamesSummary,
    started_at: datetime,
    finished_at: datetime,
    run_id: str | None = None,
) -> None:
    """Record the telemetry of asking for names."""
    day = started_at.astimezone(UTC).date()
    first = summary.failures[0] if summary.failures else None
    with engine.begin() as connection:
        record_run(
            connection,
            IngestionRun(
                orchestrator_run_id=run_id,
                feed_id=key.feed_id,
                stage=STAGE,
                first_day=day,
                end_day=day + timedelta(days=1),
                started_at=started_at,
                finished_at=max(finished_at, started_at),
                outcome="failed" if first else "processed",
                figures={
                    "provider": summary.provider,
                    "account": summary.account,
                    "names": dict(summary.names),
                    "requests": summary.requests,
                    "cut_off": summary.is_cut_off,
                    "failed": [what for what, _, _ in summary.failures],
                },
                error=first[1:] if first else None,
            ),
        )
