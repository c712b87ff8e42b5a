"""Hermes feeds: the plugin installs, each a feed of one workspace.

In: names from a person, labels from a first batch. Out: :class:`HermesFeed` records. Not here: what a feed sent
(``hermes``), its dated settings (``enabled``, ``bills_to``, in ``ledger.feed_settings``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.feed_settings import utc_day, write_first_settings
from usage_pipeline.ledger.slugs import check_part, split_slug
from usage_pipeline.ledger.workspaces import Workspace

SOURCE: Final = "hermes_plugin"
PRODUCTION: Final = "production"
"""The only environment whose feeds count unless their setting says so."""

DAYS_BACK_MAX: Final = 365
PLUGIN_LABEL_CHARACTERS_MAX: Final = 500

_PLUGIN_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*\S[^\x00-\x1f\x7f\ud800-\udfff]*")

_SELECT: Final = """
    SELECT h.feed_id, f.workspace_id, w.slug, f.slug, h.label, h.environment, h.days_back, h.counts,
           h.bound_workspace_slug, h.bound_environment, f.created_at
    FROM hermes_feeds h JOIN feeds f USING (feed_id) JOIN workspaces w USING (workspace_id)
"""


@dataclass(frozen=True, slots=True)
class HermesFeed:
    """A registered Hermes install. ``slug`` is ``workspace.label``, ``workspace`` the workspace's slug.

    ``days_back`` is how many UTC days each of its batches covers, None where nobody said. ``counts`` is whether its
    figures count or are only shown. The bound labels are the plugin's own, as stated at the registration or told by its
    first batch, None before it. ``created_at`` is UTC.
    """

    feed_id: int
    workspace_id: int
    workspace: str
    slug: str
    label: str
    environment: str
    days_back: int | None
    counts: bool
    bound_workspace_slug: str | None
    bound_environment: str | None
    created_at: datetime


def check_days_back(days_back: int | None) -> int | None:
    """``days_back`` if it is a number of days that the plugin can send.

    Raises :class:`InvalidInputError` ``days_back_malformed``.
    """
    if days_back is not None and not 1 <= days_back <= DAYS_BACK_MAX:
        raise InvalidInputError(
            "days_back_malformed",
            f"{days_back} is no number of days from 1 to {DAYS_BACK_MAX}",
            where="--days-back",
            remedy="Give the plugin's own setting of how many days it sends, or leave the option out.",
        )
    return days_back


def check_plugin_label(label: str | None, *, where: str) -> str | None:
    """``label`` if a payload can say it: printable, not blank, at most 500 characters; None stays None.

    Raises :class:`InvalidInputError` ``plugin_label_malformed``.
    """
    if label is not None and (len(label) > PLUGIN_LABEL_CHARACTERS_MAX or not _PLUGIN_LABEL.fullmatch(label)):
        raise InvalidInputError(
            "plugin_label_malformed",
            f"it is blank, not printable, or longer than {PLUGIN_LABEL_CHARACTERS_MAX} characters",
            where=where,
            remedy="Give it as the plugin's show-config prints it, or leave the option out.",
        )
    return label


def add_hermes_feed(
    connection: Connection,
    workspace: Workspace,
    label: str,
    environment: str,
    *,
    days_back: int | None,
    now: datetime,
    plugin_workspace: str | None = None,
    plugin_environment: str | None = None,
) -> HermesFeed:
    """Register a Hermes feed with its first settings from the UTC day of ``now``; it counts if it is in production.

    ``plugin_workspace`` and ``plugin_environment`` are the plugin's own labels, bound now instead of by the first
    batch. Raises :class:`InvalidInputError`: ``slug_malformed``, ``days_back_malformed``, ``plugin_label_malformed``,
    ``already_registered``.
    """
    check_plugin_label(plugin_workspace, where="--plugin-workspace")
    check_plugin_label(plugin_environment, where="--plugin-environment")
    check_part(label, where="--label")
    check_part(environment, where="--environment")
    check_days_back(days_back)
    slug = f"{workspace.slug}.{label}"
    try:
        with connection.begin_nested():
            feed_id = connection.execute(
                text(
                    "INSERT INTO feeds (workspace_id, source, slug, created_at)"
                    " VALUES (:workspace_id, :source, :slug, :now) RETURNING feed_id"
                ),
                {"workspace_id": workspace.workspace_id, "source": SOURCE, "slug": slug, "now": now},
            ).scalar_one()
    except IntegrityError:
        raise InvalidInputError(
            "already_registered",
            "a Hermes feed of this name is registered already",
            where=slug,
            remedy="Choose another label.",
        ) from None
    connection.execute(
        text(
            "INSERT INTO hermes_feeds (feed_id, label, environment, days_back, counts, bound_workspace_slug,"
            " bound_environment)"
            " VALUES (:feed_id, :label, :environment, :days_back, :counts, :plugin_workspace, :plugin_environment)"
        ),
        {
            "feed_id": feed_id,
            "label": label,
            "environment": environment,
            "days_back": days_back,
            "counts": environment == PRODUCTION,
            "plugin_workspace": plugin_workspace,
            "plugin_environment": plugin_environment,
        },
    )
    write_first_settings(connection, feed_id, now)
    detail = {"environment": environment, "days_back": days_back, "effective_from": utc_day(now).isoformat()}
    record_change(connection, now, "hermes_feed_added", slug, detail)
    return get_hermes_feed(connection, slug)


def find_hermes_feed(connection: Connection, slug: str) -> HermesFeed | None:
    """The feed of that slug, None where there is none."""
    row = connection.execute(text(_SELECT + " WHERE f.slug = :slug"), {"slug": slug}).one_or_none()
    return HermesFeed(*row) if row else None


def get_hermes_feed(connection: Connection, slug: str) -> HermesFeed:
    """The feed of that slug. Raises :class:`InvalidInputError`: ``slug_malformed``, ``feed_unknown``."""
    workspace, label = split_slug(slug, parts=2, where="feed")
    feed = find_hermes_feed(connection, slug)
    if feed is None:
        raise InvalidInputError(
            "feed_unknown",
            "no Hermes feed of this name is registered",
            where=slug,
            remedy=f"Run: usage-pipeline hermes add-feed --workspace {workspace} --label {label}"
            f" --environment {PRODUCTION}.",
        )
    return feed


def list_hermes_feeds(connection: Connection, workspace: str | None = None) -> tuple[HermesFeed, ...]:
    """Every feed, or those of one workspace (its slug), in the order of registration."""
    rows = connection.execute(
        text(_SELECT + " WHERE CAST(:workspace AS text) IS NULL OR w.slug = :workspace ORDER BY h.feed_id"),
        {"workspace": workspace},
    )
    return tuple(HermesFeed(*row) for row in rows)


def lock_hermes_feed(connection: Connection, feed: HermesFeed) -> HermesFeed:
    """The feed as it stands now, and as no other transaction changes it until this one ends."""
    row = connection.execute(
        text(_SELECT + " WHERE h.feed_id = :feed_id FOR NO KEY UPDATE OF h"), {"feed_id": feed.feed_id}
    ).one()
    return HermesFeed(*row)


def bind_feed(connection: Connection, feed: HermesFeed, workspace_slug: str | None, environment: str) -> None:
    """Bind the plugin's own labels to the feed, as its first batch told them; what is bound already stays.

    Not in the audit log: the batch that binds is kept, and says when.
    """
    connection.execute(
        text(
            "UPDATE hermes_feeds SET bound_workspace_slug = COALESCE(bound_workspace_slug, :workspace_slug),"
            " bound_environment = COALESCE(bound_environment, :environment)"
            " WHERE feed_id = :feed_id AND (bound_workspace_slug IS NULL OR bound_environment IS NULL)"
        ),
        {"feed_id": feed.feed_id, "workspace_slug": workspace_slug, "environment": environment},
    )


def set_counts(connection: Connection, feed: HermesFeed, counts: bool, now: datetime) -> HermesFeed:
    """Let a feed's figures count, or only be shown; writes nothing where it is so already. Not dated."""
    if feed.counts != counts:
        connection.execute(
            text("UPDATE hermes_feeds SET counts = :counts WHERE feed_id = :feed_id"),
            {"feed_id": feed.feed_id, "counts": counts},
        )
        record_change(connection, now, "counts_set", feed.slug, {"from": feed.counts, "to": counts})
    return get_hermes_feed(connection, feed.slug)


def set_days_back(connection: Connection, feed: HermesFeed, days_back: int | None, now: datetime) -> HermesFeed:
    """Say how many UTC days each batch covers from now on, None for as far as it names days; not dated.

    Writes nothing where it is so already. A batch that was taken in keeps the days that it was taken to cover. Raises
    :class:`InvalidInputError` ``days_back_malformed``.
    """
    check_days_back(days_back)
    if feed.days_back != days_back:
        connection.execute(
            text("UPDATE hermes_feeds SET days_back = :days_back WHERE feed_id = :feed_id"),
            {"feed_id": feed.feed_id, "days_back": days_back},
        )
        record_change(connection, now, "days_back_set", feed.slug, {"from": feed.days_back, "to": days_back})
    return get_hermes_feed(connection, feed.slug)
