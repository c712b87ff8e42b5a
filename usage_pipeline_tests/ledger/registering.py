"""What the tests of the ledger's registry share: an instant, and a registered key with its workspace."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from usage_pipeline.ledger.provider_keys import NewProviderKey, ProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import add_workspace, find_workspace

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def register(
    connection: Connection,
    name: str = "main",
    *,
    workspace: str = "acme",
    organization: str | None = None,
    projects: tuple[str, ...] = (),
    now: datetime = NOW,
) -> ProviderKey:
    """Register an OpenAI key by reference, and its workspace where it is new."""
    owner = find_workspace(connection, workspace) or add_workspace(connection, workspace, name=None, now=now)
    new = NewProviderKey(
        workspace=owner,
        provider="openai",
        name=name,
        mode="admin",
        organization=organization,
        projects=projects,
        grain="1h",
        base_url="https://api.openai.com/v1",
        secret_sealed=None,
        secret_reference="env:OPENAI_ADMIN_KEY",
    )
    return add_provider_key(connection, new, now)
