"""Registering a provider key and giving it a new secret: the checks across keys, the sealing, the row.

In: a :class:`KeyRequest` whose words are checked, the database, the key ring. Out: the registered key, with notes for
the person. All checks come before anything is written or made. Secrets of other keys are opened in memory only, to see
whether one credential is about to be registered twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from usage_pipeline.credentials.accounts import (
    Claim,
    overlap_notes,
    refuse_shared_secret,
    refuse_stated_overlap,
)
from usage_pipeline.credentials.references import BUILT_IN_SCHEMES, SecretReference
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource, reveal, seal_for
from usage_pipeline.errors import InvalidInputError, UsagePipelineError
from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.provider_keys import (
    GRAINS,
    MODES,
    NewProviderKey,
    ProviderKey,
    account_of,
    add_provider_key,
    already_registered,
    check_identifier,
    find_provider_key,
    get_provider_key,
    key_slug,
    list_provider_keys,
    lock_provider_keys,
    lock_registrations,
    store_secret,
)
from usage_pipeline.ledger.workspaces import Workspace, get_workspace, list_workspaces
from usage_pipeline.providers.contract import Provider

SecretSource = Secret | SecretReference
"""A secret to seal, or where one is kept."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a person asks to register. ``organization`` is the provider's organisation id, None where not stated;
    ``projects`` narrows the scope; ``base_url`` None is the provider's own host.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``mode_unknown``, ``grain_unknown``,
    ``organization_malformed``, ``project_malformed``, and what the provider says about the base URL.
    """

    workspace: str
    provider: Provider
    name: str
    mode: str
    source: SecretSource
    organization: str | None = None
    projects: tuple[str, ...] = ()
    grain: str = GRAINS[0]
    base_url: str | None = None

    def __post_init__(self) -> None:
        key_slug(self.workspace, self.provider.name, self.name)
        account_of(self.workspace, self.organization)
        for project in self.projects:
            check_identifier(project, code="project_malformed", where="--project")
        if self.mode not in MODES:
            raise _not_one_of("mode_unknown", "--mode", MODES)
        if self.grain not in GRAINS:
            raise _not_one_of("grain_unknown", "--grain", GRAINS)
        self.checked_base_url()

    @property
    def slug(self) -> str:
        """``workspace.provider.name``."""
        return key_slug(self.workspace, self.provider.name, self.name)

    def checked_base_url(self) -> str:
        """The base URL as the provider writes it. Raises what :meth:`Provider.normalise_base_url` raises."""
        return self.provider.normalise_base_url(
            self.provider.default_base_url if self.base_url is None else self.base_url
        )

    def claim(self) -> Claim:
        """What the new key answers for."""
        return Claim(
            self.slug,
            self.workspace,
            account_of(self.workspace, self.organization),
            self.organization is not None,
            (tuple(sorted(set(self.projects))),),
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """A key after the change, and what its owner should know: one line each, without a secret."""

    key: ProviderKey
    notes: tuple[str, ...]


def register_key(
    connection: Connection, request: KeyRequest, rings: KeyRingSource, environ: Mapping[str, str], now: datetime
) -> Registered:
    """Register a key in the caller's transaction.

    Raises :class:`InvalidInputError`: ``workspace_unknown``, ``already_registered``, ``workspace_is_demo``,
    ``scope_overlaps``, ``account_unclear``; what loading the key ring raises.
    """
    lock_registrations(connection)
    workspace = get_workspace(connection, request.workspace)
    if find_provider_key(connection, request.slug) is not None:
        raise already_registered(request.slug)
    _keep_demo_apart(workspace, request)
    claim = request.claim()
    others = _comparable(connection, request.provider.name, request.workspace)
    claims = _claims(connection, others)
    refuse_stated_overlap(claim, claims.values())
    secret_notes = _refuse_same_secret(claim, request.source, others, claims, rings, environ)
    sealed = (
        seal_for(request.workspace, request.provider.name, request.name, 1, request.source, rings.for_sealing())
        if isinstance(request.source, Secret)
        else None
    )
    new = NewProviderKey(
        workspace=workspace,
        provider=request.provider.name,
        name=request.name,
        mode=request.mode,
        organization=request.organization,
        projects=tuple(sorted(set(request.projects))),
        grain=request.grain,
        base_url=request.checked_base_url(),
        secret_sealed=sealed,
        secret_reference=_reference_text(request.source),
    )
    key = add_provider_key(connection, new, now)
    return Registered(key, (*overlap_notes(claim, tuple(claims.values())), *secret_notes))


def replace_secret(
    connection: Connection,
    slug: str,
    source: SecretSource,
    rings: KeyRingSource,
    environ: Mapping[str, str],
    now: datetime,
) -> Registered:
    """Give a key a new secret, or another reference, as its next version; account and scope stay.

    Raises :class:`InvalidInputError`: ``key_unknown``, ``scope_overlaps``, ``account_unclear``; what loading the key
    ring raises.
    """
    lock_registrations(connection)
    get_provider_key(connection, slug)
    (key,) = lock_provider_keys(connection, (slug,))
    same_provider = _comparable(connection, key.provider, key.workspace)
    claims = _claims(connection, same_provider)
    others = [other for other in same_provider if other.slug != slug]
    notes = _refuse_same_secret(claims[slug], source, others, claims, rings, environ)
    version = key.secret_version + 1
    sealed = (
        seal_for(key.workspace, key.provider, key.name, version, source, rings.for_sealing())
        if isinstance(source, Secret)
        else None
    )
    renewed = store_secret(
        connection,
        key,
        secret_sealed=sealed,
        secret_reference=_reference_text(source),
        secret_version=version,
        now=now,
    )
    return Registered(renewed, notes)


def refuse_secret_of_another_workspace(
    connection: Connection, key: ProviderKey, secret: Secret, rings: KeyRingSource, environ: Mapping[str, str]
) -> None:
    """Refuse to use a secret with which a key of another workspace asks for the same account.

    When the key was registered its secret may not have been there to compare. Raises :class:`InvalidInputError`
    ``scope_overlaps`` or ``account_unclear`` as registration does.
    """
    others = [o for o in _comparable(connection, key.provider, key.workspace) if o.workspace != key.workspace]
    claims = _claims(connection, [key, *others])
    sharing = [claims[other.slug] for other in others if _opened(other, rings, environ) == secret]
    refuse_shared_secret(claims[key.slug], sharing)


def _keep_demo_apart(workspace: Workspace, request: KeyRequest) -> None:
    real = request.provider.normalise_base_url(request.provider.default_base_url)
    if workspace.demo and request.checked_base_url() == real:
        raise InvalidInputError(
            "workspace_is_demo",
            "the workspace holds the demo's made-up data, which must not mix with real spending",
            where=request.slug,
            remedy="Run: usage-pipeline workspace add NAME, and register the key there.",
        )


def _comparable(connection: Connection, provider: str, workspace: str) -> list[ProviderKey]:
    """The provider's keys whose spending could be the workspace's too: a demo's made-up spending is nobody else's."""
    demos = {one.slug for one in list_workspaces(connection) if one.demo}
    return [
        key
        for key in list_provider_keys(connection)
        if key.provider == provider and (key.workspace in demos) == (workspace in demos)
    ]


def _claims(connection: Connection, keys: Sequence[ProviderKey]) -> Mapping[str, Claim]:
    settings = list_settings(connection, [key.feed_id for key in keys])
    return {
        key.slug: Claim(key.slug, key.workspace, key.account, key.account_stated, settings[key.feed_id].projects_ever())
        for key in keys
    }


def _refuse_same_secret(
    claim: Claim,
    source: SecretSource,
    others: Sequence[ProviderKey],
    claims: Mapping[str, Claim],
    rings: KeyRingSource,
    environ: Mapping[str, str],
) -> tuple[str, ...]:
    """Refuse a secret that another key has (see ``accounts``); notes on what could not be compared."""
    notes = []
    plain = source if isinstance(source, Secret) else _resolved(source, environ)
    if plain is None:
        notes.append(
            f"{claim.slug}: {source} gives no secret here and now; every process that pulls needs it. It was compared"
            " with the other keys by its name alone."
        )
    sharing = []
    unopened = []
    for other in others:
        if _reference_text(source) is not None and other.secret_reference == _reference_text(source):
            sharing.append(claims[other.slug])
        elif plain is not None:
            secret = _opened(other, rings, environ)
            if secret == plain:
                sharing.append(claims[other.slug])
            elif secret is None and other.secret_sealed is not None:
                unopened.append(other.slug)
    refuse_shared_secret(claim, sharing)
    if unopened:
        notes.append(
            f"{claim.slug}: could not be compared with {', '.join(unopened)}, whose secret does not open here."
        )
    return tuple(notes)


def _resolved(reference: SecretReference, environ: Mapping[str, str]) -> Secret | None:
    try:
        return reference.resolve(environ)
    except UsagePipelineError:
        return None


def _opened(key: ProviderKey, rings: KeyRingSource, environ: Mapping[str, str]) -> Secret | None:
    """Another key's secret, None where it cannot be had. Stores elsewhere are not asked for keys that nobody named."""
    if key.secret_reference is not None and key.secret_reference.partition(":")[0] not in BUILT_IN_SCHEMES:
        return None
    try:
        return reveal(key, rings.existing() if key.secret_sealed is not None else None, environ)
    except UsagePipelineError:
        return None


def _reference_text(source: SecretSource) -> str | None:
    return str(source) if isinstance(source, SecretReference) else None


def _not_one_of(code: str, option: str, known: Sequence[str]) -> InvalidInputError:
    return InvalidInputError(code, "the value is not known", where=option, remedy=f"Choose {' or '.join(known)}.")
