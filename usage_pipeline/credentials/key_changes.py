"""Changing a registered key: its grain, its scope, the account that a person states for it.

In: a :class:`KeyChange`. Out: the key after it, with notes on what that means for days that were read already. All
checks come before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from usage_pipeline.credentials.accounts import Claim, overlap_notes, refuse_stated_overlap
from usage_pipeline.credentials.claims import claims_of, comparable_keys
from usage_pipeline.credentials.discovery import former_account_note
from usage_pipeline.credentials.registration import Registered, refuse_organization_of_proxy
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.feed_settings import FeedSettings, get_settings, set_projects, utc_day
from usage_pipeline.ledger.provider_keys import (
    GRAINS,
    ProviderKey,
    account_of,
    check_identifier,
    get_provider_key,
    lock_provider_keys,
    lock_registrations,
    set_grain,
    store_account,
    was_ever_observed,
)
from usage_pipeline.providers.contract import Provider


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What a person asks to change of a key; None leaves it as it is.

    ``projects`` empty is the whole account. Raises :class:`InvalidInputError`: ``nothing_to_change``,
    ``grain_unknown``, ``project_malformed``, ``organization_malformed``.
    """

    grain: str | None = None
    projects: tuple[str, ...] | None = None
    organization: str | None = None

    def __post_init__(self) -> None:
        if self.grain is None and self.projects is None and self.organization is None:
            raise InvalidInputError(
                "nothing_to_change",
                "it was not said what to change",
                where="usage-pipeline keys set",
                remedy="Give --grain, --project, --whole-account or --organization.",
            )
        if self.grain is not None and self.grain not in GRAINS:
            raise InvalidInputError(
                "grain_unknown", "the value is not known", where="--grain", remedy=f"Choose {' or '.join(GRAINS)}."
            )
        for project in self.projects or ():
            check_identifier(project, code="project_malformed", where="--project")
        if self.organization is not None:
            account_of("", self.organization)


def change_key(connection: Connection, slug: str, provider: Provider, change: KeyChange, now: datetime) -> Registered:
    """Change a key in the caller's transaction.

    A scope holds from the next UTC day on; where no day of the key was read yet, for every day. Raises
    :class:`InvalidInputError`: ``key_unknown``, ``scope_overlaps``, ``account_contradicted``,
    ``organization_not_taken``.
    """
    lock_registrations(connection)
    get_provider_key(connection, slug)
    (key,) = lock_provider_keys(connection, (slug,))
    refuse_organization_of_proxy(provider, change.organization, slug)
    _refuse_what_was_told(key, change.organization)
    was_read = was_ever_observed(connection, key)
    from_day = _scope_from(get_settings(connection, key.feed_id), was_read, now)
    claim = _claim(connection, key, change, replaces=not was_read)
    others = [other for other in comparable_keys(connection, key.provider, key.workspace) if other.slug != slug]
    claims = tuple(claims_of(connection, others).values())
    if change.projects is not None or change.organization is not None:
        refuse_stated_overlap(claim, claims)
    notes = [*_write(connection, key, change, from_day, was_read, now)]
    changed = get_provider_key(connection, slug)
    if note := former_account_note(connection, changed):
        notes.append(note)
    if change.projects is not None or change.organization is not None:
        notes.extend(overlap_notes(claim, claims))
    return Registered(changed, tuple(notes))


def _write(
    connection: Connection, key: ProviderKey, change: KeyChange, from_day: date, was_read: bool, now: datetime
) -> list[str]:
    notes = []
    if change.grain is not None and change.grain != key.grain:
        set_grain(connection, key, change.grain, now)
        if was_read:
            notes.append(
                f"{key.slug}: usage is asked for in buckets of {change.grain} from the next pull on; days that were"
                " read before keep theirs until they are pulled again, and are replaced then."
            )
    if change.projects is not None:
        day = set_projects(connection, key.feed_id, key.slug, change.projects, from_day, now)
        if day is not None and was_read:
            notes.append(f"{key.slug}: the scope holds from {day} (UTC) on; earlier days keep the former one.")
    if change.organization is not None and not (key.account_stated and key.account == change.organization):
        store_account(connection, key, change.organization, now, stated=True, told=None)
    return notes


def _claim(connection: Connection, key: ProviderKey, change: KeyChange, *, replaces: bool) -> Claim:
    """What the key will answer for; ``replaces`` is whether a new scope holds for every day."""
    claim = claims_of(connection, (key,))[key.slug]
    if change.projects is not None:
        scope = tuple(sorted(set(change.projects)))
        claim = replace(claim, scopes=(scope,) if replaces else (*claim.scopes, scope))
    if change.organization is not None:
        claim = replace(claim, account=change.organization, account_known=True)
    return claim


def _scope_from(settings: FeedSettings, was_read: bool, now: datetime) -> date:
    return utc_day(now) + timedelta(days=1) if was_read else settings.projects.values[0][0]


def _refuse_what_was_told(key: ProviderKey, organization: str | None) -> None:
    if organization is not None and key.account_told is not None and key.account_told != organization:
        raise InvalidInputError(
            "account_contradicted",
            f"the provider says that the key belongs to {key.account_told}",
            where="--organization",
            remedy="Leave it out; a key of another account is registered with usage-pipeline keys add.",
        )
