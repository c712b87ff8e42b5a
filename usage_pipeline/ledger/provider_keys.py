"""Provider keys: the registered credentials, each a feed of one workspace with an account and a scope.

In: checked fields, and the secret already sealed or its reference. Out: :class:`ProviderKey` records. Not here: sealing
and opening (``credentials.vault``), the checks across keys (``credentials.accounts``), the dated settings (``enabled``,
``projects``, in ``ledger.feed_settings``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.feed_settings import utc_day, write_first_settings
from usage_pipeline.ledger.slugs import check_part, split_slug
from usage_pipeline.ledger.workspaces import Workspace

SOURCE: Final = "provider_api_key"
MODES: Final = ("admin", "standard")
GRAINS: Final = ("1h", "1d")
"""Bucket widths of a key's usage pulls, the default first."""

AccountKnown = Literal["told", "stated", "assumed"]
"""How a key's account is known: the provider told it, a person stated it, or nobody did."""

_UNSTATED: Final = "unstated:"
_IDENTIFIER_CHARACTERS_MAX: Final = 200
_REGISTRATION_LOCK: Final = 0x6B657973  # "keys": a scope is compared with all others, so registrations go one by one

_SELECT: Final = """
    SELECT k.feed_id, f.workspace_id, w.slug, f.slug, k.provider, k.name, k.mode, k.account, k.account_stated, k.grain,
           k.base_url, k.secret_sealed, k.secret_reference, k.secret_version, f.created_at, k.account_told,
           k.account_told_version, k.account_since
    FROM provider_keys k JOIN feeds f USING (feed_id) JOIN workspaces w USING (workspace_id)
"""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A registered provider key. ``slug`` is ``workspace.provider.name``, ``workspace`` the workspace's slug.

    ``account`` is the provider's organisation where a person stated it (``account_stated``) or the provider told it
    (``account_told``, with the secret of ``account_told_version``), else what all such keys of the provider in the
    workspace are assumed to share. ``account_since`` is when it became another than it was, None where it never did.
    Exactly one of ``secret_sealed`` and ``secret_reference`` is there. Instants are in UTC.
    """

    feed_id: int
    workspace_id: int
    workspace: str
    slug: str
    provider: str
    name: str
    mode: str
    account: str
    account_stated: bool
    grain: str
    base_url: str
    secret_sealed: bytes | None = field(repr=False)
    secret_reference: str | None
    secret_version: int
    created_at: datetime
    account_told: str | None = None
    account_told_version: int | None = None
    account_since: datetime | None = None

    @property
    def account_known(self) -> AccountKnown:
        """How the account is known."""
        if self.account_told is not None and self.account_told == self.account:
            return "told"
        return "stated" if self.account_stated else "assumed"

    @property
    def is_account_told_by_this_secret(self) -> bool:
        """Whether the provider told the account to the secret that the key has now."""
        return self.account_told is not None and self.account_told_version == self.secret_version

    @property
    def registration_order(self) -> int:
        """Of two keys, the one with the lesser number was registered earlier."""
        return self.feed_id


@dataclass(frozen=True, slots=True)
class NewProviderKey:
    """A key to register: exactly one of ``secret_sealed`` and ``secret_reference`` is given.

    ``organization`` is the provider's organisation id where the caller states it. ``account`` is what the key's account
    is taken for where nobody states it, ``account_told`` what is known of it without asking; None where nothing is.
    ``projects`` narrows the scope to named projects (OpenAI) or workspaces (Anthropic); empty is the whole account.
    """

    workspace: Workspace
    provider: str
    name: str
    mode: str
    organization: str | None
    projects: tuple[str, ...]
    grain: str
    base_url: str
    secret_sealed: bytes | None = field(repr=False)
    secret_reference: str | None
    account: str | None = None
    account_told: str | None = None

    @property
    def slug(self) -> str:
        """``workspace.provider.name``."""
        return key_slug(self.workspace.slug, self.provider, self.name)


def key_slug(workspace: str, provider: str, name: str) -> str:
    """A key's slug, each part checked. Raises :class:`InvalidInputError` ``slug_malformed``."""
    check_part(workspace, where="workspace")
    check_part(provider, where="provider")
    check_part(name, where="name")
    return f"{workspace}.{provider}.{name}"


def account_of(workspace: str, organization: str | None) -> str:
    """The account that a key stands for: the stated organisation, else one that all unstated keys share.

    Two unstated keys of one provider in one workspace are taken for one account: whichever they are, nothing of one
    account is then counted twice. Raises :class:`InvalidInputError` ``organization_malformed``.
    """
    if organization is None:
        return f"{_UNSTATED}{workspace}"
    if organization.startswith(_UNSTATED):
        raise InvalidInputError(
            "organization_malformed",
            f"an organisation's id does not start with {_UNSTATED}",
            where="--organization",
            remedy="Copy the id from the provider's console.",
        )
    return check_identifier(organization, code="organization_malformed", where="--organization")


def check_identifier(written: str, *, code: str, where: str) -> str:
    """``written`` if it may be a provider's id: printable, without blanks, at most 200 characters.

    Raises :class:`InvalidInputError` with ``code``.
    """
    blank = any(character.isspace() for character in written)
    if not written or blank or len(written) > _IDENTIFIER_CHARACTERS_MAX or not written.isprintable():
        raise InvalidInputError(
            code,
            f"the id is empty, longer than {_IDENTIFIER_CHARACTERS_MAX} characters, or has blanks or the like",
            where=where,
            remedy="Copy the id from the provider's console.",
        )
    return written


def lock_registrations(connection: Connection) -> None:
    """Let registrations of keys pass one by one until the caller's transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _REGISTRATION_LOCK})


def add_provider_key(connection: Connection, new: NewProviderKey, now: datetime) -> ProviderKey:
    """Register a key with its first settings (enabled, its projects) from the UTC day of ``now``.

    The caller has compared its scope (``credentials.accounts``) under :func:`lock_registrations`. Raises
    :class:`InvalidInputError`: ``slug_malformed``, ``already_registered``, ``organization_malformed``.
    """
    account = account_of(new.workspace.slug, new.organization)
    if new.organization is None and new.account is not None:
        account = new.account
    try:
        with connection.begin_nested():
            feed_id = connection.execute(
                text(
                    "INSERT INTO feeds (workspace_id, source, slug, created_at)"
                    " VALUES (:workspace_id, :source, :slug, :now) RETURNING feed_id"
                ),
                {"workspace_id": new.workspace.workspace_id, "source": SOURCE, "slug": new.slug, "now": now},
            ).scalar_one()
    except IntegrityError:
        raise already_registered(new.slug) from None
    connection.execute(
        text(
            "INSERT INTO provider_keys (feed_id, provider, name, mode, account, account_stated, account_told,"
            " account_told_version, grain, base_url, secret_sealed, secret_reference) VALUES (:feed_id, :provider,"
            " :name, :mode, :account, :account_stated, CAST(:account_told AS text),"
            " CASE WHEN CAST(:account_told AS text) IS NOT NULL THEN 1 END, :grain, :base_url, :secret_sealed,"
            " :secret_reference)"
        ),
        {
            "feed_id": feed_id,
            "provider": new.provider,
            "name": new.name,
            "mode": new.mode,
            "account": account,
            "account_stated": new.organization is not None,
            "account_told": new.account_told,
            "grain": new.grain,
            "base_url": new.base_url,
            "secret_sealed": new.secret_sealed,
            "secret_reference": new.secret_reference,
        },
    )
    write_first_settings(connection, feed_id, now, projects=new.projects)
    detail = {
        "mode": new.mode,
        "account": account,
        "grain": new.grain,
        "base_url": new.base_url,
        "projects": sorted(set(new.projects)),
        "secret": _where_secret_is(new.secret_reference),
        "effective_from": utc_day(now).isoformat(),
    }
    record_change(connection, now, "key_added", new.slug, detail)
    return get_provider_key(connection, new.slug)


def find_provider_key(connection: Connection, slug: str) -> ProviderKey | None:
    """The key of that slug, None where there is none."""
    row = connection.execute(text(_SELECT + " WHERE f.slug = :slug"), {"slug": slug}).one_or_none()
    return ProviderKey(*row) if row else None


def get_provider_key(connection: Connection, slug: str) -> ProviderKey:
    """The key of that slug. Raises :class:`InvalidInputError`: ``slug_malformed``, ``key_unknown``."""
    split_slug(slug, parts=3, where="key")
    key = find_provider_key(connection, slug)
    if key is None:
        raise InvalidInputError(
            "key_unknown",
            "no provider key of this name is registered",
            where=slug,
            remedy="See: usage-pipeline keys list.",
        )
    return key


def list_provider_keys(connection: Connection, workspace: str | None = None) -> tuple[ProviderKey, ...]:
    """Every key, or those of one workspace (its slug), in the order of registration."""
    rows = connection.execute(
        text(_SELECT + " WHERE CAST(:workspace AS text) IS NULL OR w.slug = :workspace ORDER BY k.feed_id"),
        {"workspace": workspace},
    )
    return tuple(ProviderKey(*row) for row in rows)


def lock_provider_keys(connection: Connection, slugs: Sequence[str] | None = None) -> tuple[ProviderKey, ...]:
    """The keys, all or those of these slugs, locked against another change until the caller's transaction ends."""
    rows = connection.execute(
        text(
            _SELECT + " WHERE CAST(:slugs AS text[]) IS NULL OR f.slug = ANY(:slugs) ORDER BY k.feed_id FOR UPDATE OF k"
        ),
        {"slugs": None if slugs is None else list(slugs)},
    )
    return tuple(ProviderKey(*row) for row in rows)


def store_secret(
    connection: Connection,
    key: ProviderKey,
    *,
    secret_sealed: bytes | None,
    secret_reference: str | None,
    secret_version: int,
    now: datetime,
) -> ProviderKey:
    """Put another secret (sealed, or its reference) into the key's row. A new version is a new secret."""
    connection.execute(
        text(
            "UPDATE provider_keys SET secret_sealed = :sealed, secret_reference = :reference, secret_version = :version"
            " WHERE feed_id = :feed_id"
        ),
        {
            "feed_id": key.feed_id,
            "sealed": secret_sealed,
            "reference": secret_reference,
            "version": secret_version,
        },
    )
    what = "secret_rewrapped" if secret_version == key.secret_version else "secret_rotated"
    detail = {"secret": _where_secret_is(secret_reference), "version": secret_version}
    record_change(connection, now, what, key.slug, detail)
    return get_provider_key(connection, key.slug)


def store_account(
    connection: Connection, key: ProviderKey, account: str, now: datetime, *, stated: bool, told: str | None
) -> ProviderKey:
    """Write which account the key has: ``stated`` by a person or not, and what the provider ``told`` the key's present
    secret (None: what it told before stays). The caller has compared the scopes (``credentials.accounts``)."""
    connection.execute(
        text(
            "UPDATE provider_keys SET account = :account, account_stated = :stated,"
            " account_told = coalesce(CAST(:told AS text), account_told),"
            " account_told_version = CASE WHEN CAST(:told AS text) IS NULL THEN account_told_version"
            " ELSE secret_version END, account_since = CASE WHEN account = :account THEN account_since ELSE :now END"
            " WHERE feed_id = :feed_id"
        ),
        {"feed_id": key.feed_id, "account": account, "stated": stated, "told": told, "now": now},
    )
    changed = get_provider_key(connection, key.slug)
    detail = {"from": key.account, "to": account, "known": changed.account_known}
    record_change(
        connection, now, "account_confirmed" if key.account == account else "account_changed", key.slug, detail
    )
    return changed


def days_of_former_account(
    connection: Connection, key: ProviderKey, but_from: date | None = None, but_end: date | None = None
) -> tuple[date, date] | None:
    """The first and the last UTC day that hold figures of the key and were reconciled under its former account.

    Days of the half-open range ``but_from`` to ``but_end`` are left out. None where there is no such day.
    """
    first, last = connection.execute(
        text(
            "SELECT min(s.day), max(s.day) FROM slices s JOIN reconciliations c"
            " ON c.workspace_id = :workspace_id AND c.day = s.day"
            " WHERE s.feed_id = :feed_id AND s.observed_at IS NOT NULL AND c.now < :since"
            " AND NOT coalesce(s.day >= CAST(:but_from AS date) AND s.day < CAST(:but_end AS date), false)"
        ),
        {
            "workspace_id": key.workspace_id,
            "feed_id": key.feed_id,
            "since": key.account_since,
            "but_from": but_from,
            "but_end": but_end,
        },
    ).one()
    return None if first is None else (first, last)


def set_grain(connection: Connection, key: ProviderKey, grain: str, now: datetime) -> ProviderKey:
    """Ask for usage in buckets of another width from the next pull on; one of :data:`GRAINS`."""
    if grain != key.grain:
        connection.execute(
            text("UPDATE provider_keys SET grain = :grain WHERE feed_id = :feed_id"),
            {"feed_id": key.feed_id, "grain": grain},
        )
        record_change(connection, now, "grain_changed", key.slug, {"from": key.grain, "to": grain})
    return get_provider_key(connection, key.slug)


def was_ever_observed(connection: Connection, key: ProviderKey) -> bool:
    """Whether any day of the key was read, ever."""
    found = connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM slices WHERE feed_id = :feed_id AND observed_at IS NOT NULL)"),
        {"feed_id": key.feed_id},
    )
    return bool(found.scalar_one())


def set_base_url(connection: Connection, key: ProviderKey, base_url: str, now: datetime) -> ProviderKey:
    """Point the key at another host (a sandbox that moved to another port). The caller has normalised the address."""
    if base_url != key.base_url:
        connection.execute(
            text("UPDATE provider_keys SET base_url = :base_url WHERE feed_id = :feed_id"),
            {"feed_id": key.feed_id, "base_url": base_url},
        )
        record_change(connection, now, "base_url_changed", key.slug, {"from": key.base_url, "to": base_url})
    return get_provider_key(connection, key.slug)


def already_registered(slug: str) -> InvalidInputError:
    """The error for a key or feed whose name is taken."""
    return InvalidInputError(
        "already_registered",
        "it is registered already",
        where=slug,
        remedy="Choose another name; for a new secret of this key run: usage-pipeline keys rotate.",
    )


def _where_secret_is(reference: str | None) -> str:
    return "sealed" if reference is None else reference
