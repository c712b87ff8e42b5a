"""Workspaces: the tenants. Each has a reconcile policy, and owns provider keys and Hermes feeds.

In: names from a person. Out: :class:`Workspace` records. A policy is not dated: changing it reconciles the past anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.slugs import check_part

POLICIES: Final = ("provider_first", "hermes_first", "provider_only", "hermes_only")
"""The reconcile policies of a workspace, the default first."""

_SELECT: Final = "SELECT workspace_id, slug, name, policy, demo, created_at FROM workspaces"
_NAME_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant. ``demo`` marks made-up data, which real keys must never join. ``created_at`` is UTC."""

    workspace_id: int
    slug: str
    name: str
    policy: str
    demo: bool
    created_at: datetime


CHOSEN_WORKSPACES: Final = (
    "(w.slug = :workspace OR (CAST(:workspace AS text) IS NULL"
    " AND (NOT w.demo OR NOT EXISTS (SELECT 1 FROM workspaces AS real WHERE NOT real.demo))))"
)
"""The SQL for which workspaces (``w``) are read: the named one; none named, all but a demo's, whose made-up figures
never stand among real ones. Where there is only the demo, it is read."""


def add_workspace(
    connection: Connection, slug: str, *, name: str | None, now: datetime, demo: bool = False
) -> Workspace:
    """Register a workspace; ``name`` is for people and defaults to the slug.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``name_malformed``, ``already_registered``.
    """
    check_part(slug, where="workspace")
    shown_name = check_name(slug if name is None else name)
    try:
        with connection.begin_nested():
            connection.execute(
                text("INSERT INTO workspaces (slug, name, demo, created_at) VALUES (:slug, :name, :demo, :now)"),
                {"slug": slug, "name": shown_name, "demo": demo, "now": now},
            )
    except IntegrityError:
        raise InvalidInputError(
            "already_registered",
            "a workspace of this name is registered already",
            where=slug,
            remedy="Choose another name, or see: usage-pipeline workspace list.",
        ) from None
    record_change(connection, now, "workspace_added", slug, {"name": shown_name, "demo": demo})
    return get_workspace(connection, slug)


def find_workspace(connection: Connection, slug: str) -> Workspace | None:
    """The workspace of that slug, None where there is none."""
    row = connection.execute(text(_SELECT + " WHERE slug = :slug"), {"slug": slug}).one_or_none()
    return Workspace(*row) if row else None


def get_workspace(connection: Connection, slug: str) -> Workspace:
    """The workspace of that slug. Raises :class:`InvalidInputError`: ``slug_malformed``, ``workspace_unknown``."""
    workspace = find_workspace(connection, check_part(slug, where="workspace"))
    if workspace is None:
        raise InvalidInputError(
            "workspace_unknown",
            "no workspace of this name is registered",
            where=slug,
            remedy=f"Run: usage-pipeline workspace add {slug}, or see: usage-pipeline workspace list.",
        )
    return workspace


def list_workspaces(connection: Connection) -> tuple[Workspace, ...]:
    """Every workspace, by slug."""
    rows = connection.execute(text(_SELECT + " ORDER BY slug"))
    return tuple(Workspace(*row) for row in rows)


def set_policy(connection: Connection, slug: str, policy: str, now: datetime) -> Workspace:
    """Set the reconcile policy; writes nothing where it is set already.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``workspace_unknown``, ``policy_unknown``.
    """
    if policy not in POLICIES:
        raise InvalidInputError(
            "policy_unknown", f"{policy!r} is no policy", where=slug, remedy=f"Choose one of {', '.join(POLICIES)}."
        )
    before = get_workspace(connection, slug)
    if before.policy == policy:
        return before
    connection.execute(
        text("UPDATE workspaces SET policy = :policy WHERE slug = :slug"), {"slug": slug, "policy": policy}
    )
    record_change(connection, now, "policy_set", slug, {"from": before.policy, "to": policy})
    return get_workspace(connection, slug)


def check_name(name: str) -> str:
    stripped = name.strip()
    if not stripped or len(stripped) > _NAME_CHARACTERS_MAX or not stripped.isprintable():
        raise InvalidInputError(
            "name_malformed",
            f"the name is empty, longer than {_NAME_CHARACTERS_MAX} characters, or has control characters",
            where="--name",
            remedy="Write a short name on one line.",
        )
    return stripped
