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
from usage_pipeline.credentials.claims import assumed_account, claims_of, comparable_keys
from usage_pipeline.credentials.discovery import account_of_proxy
from usage_pipeline.credentials.references import BUILT_IN_SCHEMES, SecretReference
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource, reveal, seal_for
from usage_pipeline.errors import InvalidInputError, UsagePipelineError
from usage_pipeline.ledger.learned_limits import forget_learned_limits
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
    lock_provider_keys,
    lock_registrations,
    store_secret,
)
from usage_pipeline.ledger.workspaces import Workspace, get_workspace
from usage_pipeline.providers.contract import Provider

SecretSource = Secret | SecretReference
"""A secret to seal, or where one is kept."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a person asks to register. ``organization`` is the provider's organisation id, None where not stated;
    ``projects`` narrows the scope; ``base_url`` None is the provider's own host.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``mode_unknown``, ``mode_unsupported``, ``grain_unknown``,
    ``organization_malformed``, ``organization_not_taken``, ``project_malformed``, ``base_url_missing``, and what the
    provider says about the base URL.
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
        self._check_mode()
        if self.grain not in GRAINS:
            raise _not_one_of("grain_unknown", "--grain", GRAINS)
        self.checked_base_url()
        refuse_organization_of_proxy(self.provider, self.organization, self.slug)

    @property
    def slug(self) -> str:
        """``workspace.provider.name``."""
        return key_slug(self.workspace, self.provider.name, self.name)

    def checked_base_url(self) -> str:
        """The base URL as the provider writes it. Raises what :meth:`Provider.normalise_base_url` raises."""
        if self.base_url is None and not self.provider.default_base_url:
            raise InvalidInputError(
                "base_url_missing",
                f"{self.provider.title} has no host of its own",
                where="--base-url",
                remedy="Give the address of yours.",
            )
        return self.provider.normalise_base_url(
            self.provider.default_base_url if self.base_url is None else self.base_url
        )

    def account_told(self) -> str | None:
        """The account as far as it is known without asking: a proxy is its own account."""
        return account_of_proxy(self.provider, self.checked_base_url())

    def claim(self, others: Sequence[ProviderKey]) -> Claim:
        """What the new key answers for, beside the registered keys of its provider."""
        known = self.organization or self.account_told()
        return Claim(
            self.slug,
            self.workspace,
            known or assumed_account(self.workspace, others),
            known is not None,
            (tuple(sorted(set(self.projects))),),
        )

    def _check_mode(self) -> None:
        taken = sorted(set().union(*(endpoint.modes for endpoint in self.provider.endpoints)))
        if self.mode not in taken:
            raise InvalidInputError(
                "mode_unsupported",
                f"{self.provider.title} has no endpoint that a {self.mode} key may ask",
                where="--mode",
                remedy=f"It takes keys of the mode {' or '.join(taken)}.",
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
    others = comparable_keys(connection, request.provider.name, request.workspace)
    claim = request.claim(others)
    claims = claims_of(connection, others)
    refuse_stated_overlap(claim, claims.values())
    secret_notes = _refuse_same_secret(claim, request.source, others, claims, rings, environ)
    sealed = None
    if isinstance(request.source, Secret):
        ring = rings.for_sealing(connection)
        sealed = seal_for(request.workspace, request.provider.name, request.name, 1, request.source, ring)
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
        account=claim.account,
        account_told=request.account_told(),
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

    What refusals taught about the former secret is forgotten: the new one may have other rights. Raises
    :class:`InvalidInputError`: ``key_unknown``, ``scope_overlaps``, ``account_unclear``; what loading the key ring
    raises.
    """
    lock_registrations(connection)
    get_provider_key(connection, slug)
    (key,) = lock_provider_keys(connection, (slug,))
    same_provider = comparable_keys(connection, key.provider, key.workspace)
    claims = claims_of(connection, same_provider)
    others = [other for other in same_provider if other.slug != slug]
    notes = _refuse_same_secret(claims[slug], source, others, claims, rings, environ)
    version = key.secret_version + 1
    sealed = (
        seal_for(key.workspace, key.provider, key.name, version, source, rings.for_sealing(connection))
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
    forget_learned_limits(connection, key.feed_id)
    return Registered(renewed, notes)


def refuse_secret_of_another_workspace(
    connection: Connection, key: ProviderKey, secret: Secret, rings: KeyRingSource, environ: Mapping[str, str]
) -> None:
    """Refuse to use a secret with which a key of another workspace asks for the same account.

    When the key was registered its secret may not have been there to compare. Raises :class:`InvalidInputError`
    ``scope_overlaps`` or ``account_unclear`` as registration does.
    """
    others = [o for o in comparable_keys(connection, key.provider, key.workspace) if o.workspace != key.workspace]
    claims = claims_of(connection, [key, *others])
    sharing = [claims[other.slug] for other in others if _opened(other, rings, environ) == secret]
    refuse_shared_secret(claims[key.slug], sharing)


def refuse_organization_of_proxy(provider: Provider, organization: str | None, where: str) -> None:
    """Refuse a stated account for a proxy's key. Raises ``InvalidInputError`` ``organization_not_taken``."""
    if organization is not None and provider.role == "proxy":
        raise InvalidInputError(
            "organization_not_taken",
            f"a {provider.title} proxy is an account of its own, known by its base URL",
            where=where,
            remedy="Leave --organization out.",
        )


def _keep_demo_apart(workspace: Workspace, request: KeyRequest) -> None:
    real = request.provider.default_base_url
    if workspace.demo and real and request.checked_base_url() == request.provider.normalise_base_url(real):
        raise InvalidInputError(
            "workspace_is_demo",
            "the workspace holds the demo's made-up data, which must not mix with real spending",
            where=request.slug,
            remedy="Run: usage-pipeline workspace add NAME, and register the key there.",
        )


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
