"""What an account's projects, keys and users are called: dimensions for people to read.

In: things with a name, as a provider lists them. Out: their newest names, by account. Nothing here is needed to count:
an identifier without a name stays an identifier. Rows are never deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Named:
    """A project, key, user or service account and its name. ``dimension`` is ours (``project_id``, …), ``id`` is what
    usage rows carry; ``detail`` are a few plain facts beside the name."""

    dimension: str
    id: str
    name: str
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DimensionName:
    """A stored name; ``fetched_at`` (UTC) is when the provider last told it."""

    provider: str
    account: str
    named: Named
    fetched_at: datetime


def store_names(connection: Connection, provider: str, account: str, names: Iterable[Named], now: datetime) -> int:
    """Keep the newest name of each thing; the number of names. A name that was told later is not overwritten."""
    rows = [
        {
            "provider": provider,
            "account": account,
            "dimension": named.dimension,
            "id": named.id,
            # PostgreSQL takes no NUL in a text; a name is for people, so it is left out.
            "name": named.name.replace("\0", ""),
            "detail": msgspec.json.encode(
                {fact: value.replace("\0", "") for fact, value in named.detail.items()}, order="sorted"
            ).decode(),
            "now": now,
        }
        # In one order, so that two processes that refresh at once never wait for each other in a circle.
        for _, named in sorted({(named.dimension, named.id): named for named in names}.items())
    ]
    if rows:
        connection.execute(
            text(
                "INSERT INTO dimension_names AS n (provider, account, dimension, id, name, detail, fetched_at)"
                " VALUES (:provider, :account, :dimension, :id, :name, CAST(:detail AS jsonb), :now)"
                " ON CONFLICT (provider, account, dimension, id) DO UPDATE SET name = excluded.name,"
                " detail = excluded.detail, fetched_at = excluded.fetched_at"
                " WHERE n.fetched_at <= excluded.fetched_at"
            ),
            rows,
        )
    return len(rows)


def list_names(connection: Connection, workspace: str | None = None) -> tuple[DimensionName, ...]:
    """Every name, or those of the accounts behind one workspace's keys; by provider, account, dimension and name."""
    rows = connection.execute(
        text(
            "SELECT n.provider, n.account, n.dimension, n.id, n.name, n.detail, n.fetched_at FROM dimension_names n"
            " WHERE CAST(:workspace AS text) IS NULL OR EXISTS (SELECT 1 FROM provider_keys k"
            " JOIN feeds f USING (feed_id) JOIN workspaces w USING (workspace_id)"
            " WHERE w.slug = :workspace AND k.provider = n.provider AND k.account = n.account)"
            " ORDER BY n.provider, n.account, n.dimension, n.name, n.id"
        ),
        {"workspace": workspace},
    )
    return tuple(DimensionName(row[0], row[1], Named(row[2], row[3], row[4], row[5]), row[6]) for row in rows)


def known_names(connection: Connection, workspace: str | None = None) -> dict[tuple[str, str], str]:
    """The same names by dimension (``project_id``, …) and id: for words about an id whose account is not at hand."""
    return {(one.named.dimension, one.named.id): one.named.name for one in list_names(connection, workspace)}


def names_by_id(connection: Connection, provider: str, account: str, dimension: str) -> dict[str, str]:
    """The names of one dimension of an account, by id."""
    rows = connection.execute(
        text(
            "SELECT id, name FROM dimension_names"
            " WHERE provider = :provider AND account = :account AND dimension = :dimension"
        ),
        {"provider": provider, "account": account, "dimension": dimension},
    )
    return {row[0]: row[1] for row in rows}


def names_asked_since(
    connection: Connection, provider: str, account: str, *, whole_since: datetime, failed_since: datetime
) -> bool:
    """Whether an account was asked for its names: wholly since one instant, or in vain since another (UTC)."""
    found = connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM ingestion_runs WHERE stage = 'dimension_names'"
            " AND figures ->> 'provider' = :provider AND figures ->> 'account' = :account"
            " AND (finished_at > :failed_since OR finished_at > :whole_since AND outcome = 'processed'))"
        ),
        {"provider": provider, "account": account, "whole_since": whole_since, "failed_since": failed_since},
    )
    return bool(found.scalar_one())
