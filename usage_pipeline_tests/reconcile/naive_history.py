"""What the naive model is told: everything that came in about one provider's family ``text``, as plain records.

In and out: values. No rules here, see ``naive_model``; no code of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

Figures = dict[str, int]
Switch = tuple[tuple[date, bool], ...]
"""A dated setting: from which UTC day on which value holds; before the first it is on."""


@dataclass(frozen=True)
class Key:
    """A provider key; the earlier in a history's list, the earlier it was registered.

    ``route`` is ``account`` for a key of the vendor itself, ``off_account:openrouter`` for one of a reseller of its
    models, ``off_account:litellm`` for one of a proxy to its accounts. It answers for its whole account, or for
    ``projects`` of it, or (``standard``) for itself alone.
    """

    name: str
    account: str
    grain: str
    route: str = "account"
    standard: bool = False
    projects: tuple[str, ...] = ()
    enabled: Switch = ()

    @property
    def whole(self) -> bool:
        return not self.standard and not self.projects


@dataclass(frozen=True)
class Feed:
    """A Hermes install. ``bills_to``: from which UTC day on which route (``""``: silent), before the first silent."""

    name: str
    environment: str = "production"
    counts: bool = True
    days_back: int | None = None
    bills_to: tuple[tuple[date, str], ...] = ()


@dataclass(frozen=True)
class Line:
    """Figures of a model at an instant: what a provider's pull held, or what Hermes said of an hour or a day.

    ``route`` is None where Hermes did not say who billed (v2). ``api_key`` is the standard key that used it.
    ``included``: a subscription pays for it.
    """

    at: datetime
    model: str
    figures: Figures
    route: str | None = "account"
    project: str | None = None
    api_key: str | None = None
    estimated: Decimal | None = None
    actual: Decimal | None = None
    included: bool = False


@dataclass(frozen=True)
class Billed:
    """A line of the bill of a UTC day, in exact dollars; ``model`` where it names one, else its ``words``."""

    day: date
    usd: Decimal
    words: str
    model: str | None = None


@dataclass(frozen=True)
class Pull:
    """An attempt of a key at the half-open days, at its usage or at its ``costs``.

    ``lines`` and ``bills`` are all that the provider would have told at that moment. ``digests`` of the days' answers
    decide between two pulls that started at one instant: the package is asked for them, the model knows no hashing.
    """

    key: str
    started_at: datetime
    first_day: date
    end_day: date
    complete: bool
    lines: tuple[Line, ...] = ()
    costs: bool = False
    bills: tuple[Billed, ...] = ()
    digests: Mapping[date, bytes] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Batch:
    """A Hermes batch: the totals of its days, and the hours that it tells. ``stated`` are the half-open days that a v3
    batch says it covers. ``digest`` as in :class:`Pull`."""

    feed: str
    generated_at: datetime
    version: int
    stated: tuple[date, date] | None
    days: tuple[Line, ...]
    hours: tuple[Line, ...]
    call_time: bool
    digest: bytes = field(default=b"", compare=False)


@dataclass(frozen=True)
class History:
    """Everything that came in about one provider's family ``text`` in one workspace, in any order."""

    provider: str
    keys: tuple[Key, ...]
    feeds: tuple[Feed, ...]
    pulls: tuple[Pull, ...]
    batches: tuple[Batch, ...]
    now: datetime
    policy: str = "provider_first"

    def accounts(self, route: str) -> list[str]:
        return sorted({key.account for key in self.keys if key.route == route})
