"""The account behind a key, as the provider tells it: in its reports, or when it is asked.

In: what the provider told a key's secret. Out: the key's account is what was told, or an error where that cannot be:
another account was stated or told before, or another workspace's key answers for the same. Nothing else is written.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from urllib.parse import urlsplit

from sqlalchemy import Connection

from usage_pipeline.credentials.accounts import refuse_stated_overlap
from usage_pipeline.credentials.claims import claims_of, comparable_keys
from usage_pipeline.errors import PermanentError, UsagePipelineError
from usage_pipeline.ledger.provider_keys import (
    ProviderKey,
    account_of,
    check_identifier,
    days_of_former_account,
    get_provider_key,
    lock_provider_keys,
    lock_registrations,
    store_account,
)
from usage_pipeline.providers.contract import Provider
from usage_pipeline.providers.http import ProviderClient

_PORTS = {"http": 80, "https": 443}


def account_of_proxy(provider: Provider, base_url: str) -> str | None:
    """The account behind a proxy's keys, which is the proxy: its host and path. None where it is no proxy."""
    if provider.role != "proxy":
        return None
    parts = urlsplit(base_url)
    port = "" if parts.port in {None, _PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.hostname}{port}{parts.path}"


def ask_account(client: ProviderClient) -> str | None:
    """Ask the provider which account the key belongs to: one request, none where there is no such question.

    None where it does not tell: what a key may be pulled for never hangs on this answer.
    """
    question = client.provider.account_question
    if question is None:
        return None
    try:
        return question.read(client.fetch(question.path, ()))
    except UsagePipelineError:
        return None


def accept_account(connection: Connection, slug: str, told: str, now: datetime) -> None:
    """Take over what the provider told a key's present secret, in the caller's transaction.

    The workspace's keys that were assumed to share the key's account go with it. Raises :class:`PermanentError`
    ``account_contradicted``, :class:`InvalidInputError` ``scope_overlaps``.
    """
    key = get_provider_key(connection, slug)
    if key.account_told == told and key.is_account_told_by_this_secret:
        return
    lock_registrations(connection)
    (key,) = lock_provider_keys(connection, (slug,))
    refuse_contradiction(key, told)
    check_identifier(told, code="account_malformed", where=slug)
    former = key.account
    if key.account_known == "assumed":
        others = [other for other in comparable_keys(connection, key.provider, key.workspace) if other.slug != slug]
        claim = replace(claims_of(connection, (key,))[slug], account=told, account_known=True)
        refuse_stated_overlap(claim, claims_of(connection, others).values())
        if former == account_of(key.workspace, None):
            _take_along(connection, others, key, told, now)
    store_account(connection, key, told, now, stated=key.account_stated, told=told)


def refuse_contradiction(key: ProviderKey, told: str) -> None:
    """Refuse another account than was stated or told before. Raises ``PermanentError`` ``account_contradicted``."""
    if key.account_told is not None and key.account_told != told:
        raise PermanentError(
            "account_contradicted",
            f"the provider says that the key belongs to {told}, and its figures so far are of {key.account_told}",
            where=key.slug,
            remedy="Register the new secret as another key with usage-pipeline keys add, and give this one its own"
            " again with usage-pipeline keys rotate.",
        )
    if key.account_stated and key.account != told:
        raise PermanentError(
            "account_contradicted",
            f"the account {key.account} was stated, and the provider says that the key belongs to {told}",
            where=key.slug,
            remedy=f"If the provider is right, run: usage-pipeline keys set {key.slug} --organization {told}; else give"
            " the key the right secret with usage-pipeline keys rotate.",
        )


def former_account_note(
    connection: Connection, key: ProviderKey, but_from: date | None = None, but_end: date | None = None
) -> str | None:
    """What to do about days that were reconciled before the key's account was known; None where there are none."""
    days = days_of_former_account(connection, key, but_from, but_end)
    if days is None:
        return None
    return (
        f"{key.slug}: its account is {key.account} since {key.account_since:%Y-%m-%d %H:%M} UTC; days from {days[0]} to"
        f" {days[1]} were reconciled under another one. Run: usage-pipeline backfill --from {days[0]} --to {days[1]}"
    )


def _take_along(
    connection: Connection, others: list[ProviderKey], key: ProviderKey, account: str, now: datetime
) -> None:
    for other in others:
        if other.workspace == key.workspace and other.account_known == "assumed" and other.account == key.account:
            store_account(connection, other, account, now, stated=False, told=None)
