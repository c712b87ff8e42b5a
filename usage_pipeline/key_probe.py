"""Whether a key works: one harmless request to its provider, and what the ledger knows about it, in words.

In: a runtime and a key's slug. Out: a :class:`KeyProbe`. Nothing is written but the request's place in the shared rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from usage_pipeline.credentials.discovery import former_account_note, refuse_contradiction
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.feed_settings import get_settings
from usage_pipeline.ledger.last_pulls import LastPull, last_pulls
from usage_pipeline.ledger.learned_limits import limits_in_words
from usage_pipeline.ledger.provider_keys import ProviderKey, get_provider_key
from usage_pipeline.providers.contract import Endpoint, PageQuery, Provider
from usage_pipeline.providers.http import HttpLimits
from usage_pipeline.stages import Runtime, client_of, secret_of, why_skipped

_ATTEMPTS_MAX = 2


@dataclass(frozen=True, slots=True)
class KeyProbe:
    """What was found out about a key, never with its secret.

    ``error`` is why the request was not answered (or could not be sent), None where the key works. ``secret_opens`` is
    whether the secret could be had. ``account_answered`` is the account that the answer named, where it named one.
    ``skipped`` is why the key is not pulled although it may work; ``notes`` are for its owner to act on.
    """

    key: ProviderKey
    title: str
    endpoint: str | None
    secret_opens: bool
    account_answered: str | None
    error: UsagePipelineError | None
    skipped: str | None
    limits: tuple[tuple[str, str], ...]
    pulls: tuple[LastPull, ...]
    notes: tuple[str, ...]

    @property
    def works(self) -> bool:
        """Whether the provider answered the request, for the account that the key is registered with."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class _Answer:
    endpoint: str | None = None
    secret_opens: bool = False
    account: str | None = None
    error: UsagePipelineError | None = None


def probe_key(runtime: Runtime, slug: str) -> KeyProbe:
    """Ask for one bucket of yesterday's usage with the key. Raises :class:`InvalidInputError` ``key_unknown`` and
    ``provider_unknown``; everything else that fails is in the result."""
    now = runtime.clock()
    with runtime.engine.begin() as connection:
        key = get_provider_key(connection, slug)
        settings = get_settings(connection, key.feed_id)
        limits = tuple(limits_in_words(connection, key.feed_id))
        pulls = last_pulls(connection, key.feed_id)
        note = former_account_note(connection, key)
    provider = runtime.providers[key.provider]
    answer = _ask(runtime, key, provider, settings.projects_on(now.astimezone(UTC).date()), now)
    return KeyProbe(
        key=key,
        title=provider.title,
        endpoint=answer.endpoint,
        secret_opens=answer.secret_opens,
        account_answered=answer.account,
        error=answer.error,
        skipped=why_skipped(runtime, key, settings.enabled_on(now.astimezone(UTC).date())),
        limits=limits,
        pulls=pulls,
        notes=(note,) if note else (),
    )


def _ask(runtime: Runtime, key: ProviderKey, provider: Provider, projects: tuple[str, ...], now: datetime) -> _Answer:
    endpoint = next((e for e in provider.endpoints if e.kind == "usage" and key.mode in e.modes), None)
    if endpoint is None:
        error = UsagePipelineError(
            "mode_unsupported", f"{provider.title} has no usage endpoint that a {key.mode} key may ask", where=key.slug
        )
        return _Answer(error=error)
    opens, account = False, None
    try:
        secret = secret_of(runtime, key)
        opens = True
        limits = HttpLimits(read_s=runtime.settings.http_timeout_seconds, attempts_max=_ATTEMPTS_MAX)
        page = _one_bucket(endpoint, key.grain, projects, now)
        with client_of(runtime, key, secret, limits) as client:
            body = client.fetch_page(endpoint, page)
        provider.read_page(endpoint, body, page)
        account = provider.account_told(endpoint, body)
        if account is not None:
            refuse_contradiction(key, account)
    except UsagePipelineError as problem:
        return _Answer(endpoint.name, opens, account, problem)
    return _Answer(endpoint.name, opens, account)


def _one_bucket(endpoint: Endpoint, grain: str, projects: tuple[str, ...], now: datetime) -> PageQuery:
    """The first bucket of yesterday (UTC), by no dimension: the least that the endpoint can be asked for."""
    start = datetime.combine(now.astimezone(UTC).date() - timedelta(days=1), time(), UTC)
    scope = projects if endpoint.narrows_to_projects else ()
    return PageQuery(start, start + timedelta(days=1), endpoint.width_of(grain), (), scope, page_limit=1)
