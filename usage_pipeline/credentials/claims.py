"""What the registered keys answer for, read from the ledger: the claims that ``accounts`` compares.

In: a provider, a workspace. Out: the keys whose spending could be the workspace's too, and the claim of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from usage_pipeline.credentials.accounts import Claim
from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.provider_keys import ProviderKey, account_of, list_provider_keys
from usage_pipeline.ledger.workspaces import list_workspaces


def comparable_keys(connection: Connection, provider: str, workspace: str) -> list[ProviderKey]:
    """The provider's keys whose spending could be the workspace's too: a demo's made-up spending is nobody else's."""
    demos = {one.slug for one in list_workspaces(connection) if one.demo}
    return [
        key
        for key in list_provider_keys(connection)
        if key.provider == provider and (key.workspace in demos) == (workspace in demos)
    ]


def claims_of(connection: Connection, keys: Sequence[ProviderKey]) -> Mapping[str, Claim]:
    """What each key answers for, by slug."""
    settings = list_settings(connection, [key.feed_id for key in keys])
    return {
        key.slug: Claim(
            key.slug,
            key.workspace,
            key.account,
            key.account_known != "assumed",
            settings[key.feed_id].projects_ever(),
        )
        for key in keys
    }


def assumed_account(workspace: str, keys: Sequence[ProviderKey]) -> str:
    """The account that a key of unknown account is taken for: that of the workspace's other unstated keys.

    Where the provider told one of them its account, and told no other another, it is that one; else the stand-in that
    all of them share. So nothing of one account is counted twice before the provider tells.
    """
    told = {
        key.account
        for key in keys
        if key.workspace == workspace and not key.account_stated and key.account_known == "told"
    }
    return told.pop() if len(told) == 1 else account_of(workspace, None)
