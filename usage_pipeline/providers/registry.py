"""Which providers there are: the built-in ones, and those that other packages bring by entry point.

Comes in: a provider's slug. Goes out: its ``PROVIDER`` object. A package adds a provider with an entry point in the
group ``usage_pipeline.providers`` whose name is the slug and whose value is ``module:PROVIDER``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.providers.contract import Provider

GROUP: Final = "usage_pipeline.providers"

# Named here too, so that a checkout that was never installed works, and so that no other package can put itself in
# the place of a built-in provider and receive its credentials.
_BUILT_IN: Final = {
    "anthropic": "usage_pipeline.providers.anthropic",
    "litellm": "usage_pipeline.providers.litellm",
    "openai": "usage_pipeline.providers.openai",
    "openrouter": "usage_pipeline.providers.openrouter",
}


def provider_names() -> tuple[str, ...]:
    """The slugs of every known provider, sorted."""
    return tuple(sorted({*_BUILT_IN, *_brought()}))


def providers() -> tuple[Provider, ...]:
    """Every known provider, by slug. Raises what :func:`provider` raises."""
    return tuple(provider(name) for name in provider_names())


def provider(name: str) -> Provider:
    """The provider with this slug.

    Raises ``InvalidInputError``: ``provider_unknown`` (the message lists the known ones), ``provider_broken`` (a
    package names a provider that cannot be imported or calls itself otherwise).
    """
    module = _BUILT_IN.get(name)
    if module is not None:
        return cast(Provider, import_module(module).PROVIDER)
    entry = _brought().get(name)
    if entry is None:
        raise InvalidInputError(
            "provider_unknown",
            f"there is no provider {name!r}",
            remedy=f"Known providers: {', '.join(provider_names())}.",
        )
    return _load(entry)


def _brought() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in _BUILT_IN}


def _load(entry: EntryPoint) -> Provider:
    problem = ""
    try:
        loaded = entry.load()
        if loaded.name != entry.name:
            problem = f"it calls itself {loaded.name!r}"
    except (ImportError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise InvalidInputError(
            "provider_broken",
            f"the provider {entry.name!r} cannot be used: {problem}",
            where=entry.value,
            remedy="Repair or remove the package that brings it.",
        )
    return cast(Provider, loaded)
