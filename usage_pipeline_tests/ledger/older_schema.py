"""Rows for a database of an older schema, for which today's functions are too new."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text


def workspace_of_before(connection: Connection, now: datetime) -> int:
    """The number of a workspace ``acme``, in any version of the schema."""
    added = text("INSERT INTO workspaces (slug, name, created_at) VALUES ('acme', 'acme', :now) RETURNING workspace_id")
    return int(connection.execute(added, {"now": now}).scalar_one())
