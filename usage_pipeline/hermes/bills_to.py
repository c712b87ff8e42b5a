"""What a person may write as a feed's ``bills_to``: who bills the calls of one vendor's models.

Here: one ``PROVIDER=ROUTE`` after the other, checked. In: text. Out: the route by provider, as
``ledger.feed_settings`` keeps it. Not here: from which day it holds, and what it decides (``reconcile.hermes_rows``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT, UNKNOWN, provider_slug, vendor_of_model

# As `hermes.routes` writes who bills: another spelling would make a route of its own that meets nothing.
_BILLER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
# A provider's own id of an account or a project, or several of them.
_PART_OF_ACCOUNT: Final = re.compile(r"[!-~]{1,200}")
_SHOWN_CHARACTERS_MAX: Final = 80


def read_bills_to(written: Sequence[str], *, where: str) -> Mapping[str, str]:
    """The routes by provider, of texts like ``openai=off_account:openai-codex``.

    | route | means |
    | --- | --- |
    | ``account`` | the vendor itself bills, through its own API |
    | ``account:NAME`` | the same, and NAME says which account or project of it |
    | ``off_account:NAME`` | NAME bills: a subscription, a router, a cloud, ``local`` |

    Raises :class:`InvalidInputError` ``bills_to_malformed``; ``where`` names the option.
    """
    routes: dict[str, str] = {}
    for text in written:
        provider, equals, route = text.partition("=")
        if not equals:
            raise _malformed(f"{_shown(text)} is no PROVIDER=ROUTE", where)
        if provider_slug(provider) != provider:
            canonical = provider_slug(provider)
            raise _malformed(f"{_shown(provider)} is no vendor's name; the figures call it {canonical!r}", where)
        if not _is_route(route):
            raise _malformed(f"{_shown(route)} is no route", where)
        if provider == UNKNOWN and not route.startswith(OFF_ACCOUNT):
            raise _malformed("a model of an unknown vendor is on nobody's account", where)
        if routes.setdefault(provider, route) != route:
            raise _malformed(f"{provider!r} is given two routes", where)
    return routes


def is_known_vendor(provider: str) -> bool:
    """Whether the prefixes of model names know the vendor; a payload may name another one all the same."""
    return provider == UNKNOWN or vendor_of_model(f"{provider}/model") == provider


def _is_route(route: str) -> bool:
    if route.startswith(OFF_ACCOUNT):
        return _BILLER.fullmatch(route.removeprefix(OFF_ACCOUNT)) is not None
    if route.startswith(f"{ACCOUNT}:"):
        return _PART_OF_ACCOUNT.fullmatch(route.removeprefix(f"{ACCOUNT}:")) is not None
    return route == ACCOUNT


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS_MAX else f"a text of {len(text)} characters"


def _malformed(what: str, where: str) -> InvalidInputError:
    return InvalidInputError(
        "bills_to_malformed",
        what,
        where=where,
        remedy="Write it like openai=account, openai=account:proj_1 or openai=off_account:openai-codex.",
    )
