"""What a key answers for, and whether two keys answer for the same: the rules that keep spending from counting twice.

In: claims (account and projects) of a new key and of the registered ones. Out: an error where two workspaces would
share a scope, notes where one workspace has it twice. Pure: no secret and no database here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from usage_pipeline.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Claim:
    """What one key of a provider answers for.

    ``account_known`` is whether a person stated the account or the provider told it. ``scopes`` holds every set of
    projects that the key ever had, one of them for a new key; an empty set is the whole account.
    """

    slug: str
    workspace: str
    account: str
    account_known: bool
    scopes: tuple[tuple[str, ...], ...]

    def meets(self, other: Claim) -> bool:
        """Whether some projects of both are the same, the accounts aside."""
        pairs = ((ours, theirs) for ours in self.scopes for theirs in other.scopes)
        return any(not ours or not theirs or not set(ours).isdisjoint(theirs) for ours, theirs in pairs)

    def shares_named_project(self, other: Claim) -> bool:
        """Whether both name one project: a project's id belongs to one account, whether that is known or not."""
        return any(not set(ours).isdisjoint(theirs) for ours in self.scopes for theirs in other.scopes)

    def denies(self, other: Claim) -> bool:
        """Whether the two accounts are known to differ."""
        return self.account_known and other.account_known and self.account != other.account

    def has_the_same_account(self, other: Claim) -> bool:
        """Whether the two accounts are known to be one."""
        return self.account_known and other.account_known and self.account == other.account


def refuse_stated_overlap(new: Claim, registered: Iterable[Claim]) -> None:
    """Refuse a scope that another workspace has, as far as known accounts and named projects tell.

    Disabled keys count too: their history does. Raises :class:`InvalidInputError` ``scope_overlaps``.
    """
    for other in registered:
        if other.workspace == new.workspace or new.denies(other) or not new.meets(other):
            continue
        if new.has_the_same_account(other):
            raise _overlaps(new, other, f"answers for the account {new.account} as well")
        if new.shares_named_project(other):
            raise _overlaps(new, other, "answers for one of these projects as well")


def refuse_shared_secret(new: Claim, sharing: Iterable[Claim]) -> None:
    """Refuse a secret that another key has, where both would report the same spending as that of two accounts.

    ``sharing`` are the registered keys with the same secret. Raises :class:`InvalidInputError`: ``scope_overlaps`` (in
    another workspace), ``account_unclear`` (in the same one, where the account of only one of the two is known).
    """
    for other in sharing:
        if new.denies(other) or not new.meets(other):
            continue
        if other.workspace != new.workspace:
            raise _overlaps(new, other, "has the same secret")
        if new.account != other.account:
            raise InvalidInputError(
                "account_unclear",
                f"{other.slug} has the same secret, but the account of only one of the two is known, so that their"
                " spending would count twice",
                where=new.slug,
                remedy=f"Add it with --organization {other.account}."
                if other.account_known
                else "Add it without --organization.",
            )


def overlap_notes(new: Claim, registered: Sequence[Claim]) -> tuple[str, ...]:
    """What a person should know about a new key beside the others of its workspace and provider."""
    ours = [other for other in registered if other.workspace == new.workspace and other.slug != new.slug]
    overlapping = [other.slug for other in ours if other.account == new.account and new.meets(other)]
    notes = []
    if not new.account_known:
        notes.append(
            f"{new.slug}: no account was stated, so all keys of this provider in workspace {new.workspace} without one"
            " are taken for one account and nothing of it counts twice, until the provider tells; if it does not and"
            " they belong to several organisations, state each one's with --organization."
        )
    if overlapping:
        notes.append(
            f"{new.slug}: its scope overlaps that of {', '.join(overlapping)}; reconciliation lets one of them lead on"
            " each day, and shows the others without counting them."
        )
    if any(other.account_known != new.account_known and other.account != new.account for other in ours):
        notes.append(
            f"{new.slug}: the account of only some keys of this provider in workspace {new.workspace} is known; the"
            " others are taken for another account, so state it for all of them with --organization."
        )
    return tuple(notes)


def _overlaps(new: Claim, other: Claim, how: str) -> InvalidInputError:
    return InvalidInputError(
        "scope_overlaps",
        f"the key {other.slug} of workspace {other.workspace} {how}, and spending must belong to one workspace",
        where=new.slug,
        remedy="Give both workspaces scopes that do not overlap with --project, or state different accounts with"
        " --organization if they are different.",
    )
