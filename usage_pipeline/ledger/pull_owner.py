"""Whose pull it is: before anything of it is shown to a reader of one workspace."""

from __future__ import annotations

from sqlalchemy import Connection, text


def is_pull_of(connection: Connection, pull_id: int, workspace_id: int) -> bool:
    """Whether the pull was made with a key of the workspace. ``pull_id`` is below 2**63."""
    found = connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM pulls JOIN feeds USING (feed_id)"
            " WHERE pull_id = :pull_id AND workspace_id = :workspace_id)"
        ),
        {"pull_id": pull_id, "workspace_id": workspace_id},
    )
    return bool(found.scalar_one())
