"""What the naive model is told: everything that came in about one provider's family ``text``, as plain records.

In and out: values. No rules here, see ``naive_model``; no code of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

Figures = dict[str, int]


@dataclass(frozen=True)
class Key:
    """A whole-account key; the earlier in a history's list, the earlier it was registered.

    ``route`` is ``account`` for a key of the vendor itself, ``off_account:openrouter`` for one of a reseller of its
    models, ``off_account:litellm`` for one of a proxy to its accounts.
    """

    name: str
    account: str
    grain: str
    route: str = "account"


@dataclass(frozen=True)
class Line:
    """Figures of a model at an instant: what a provider's pull held, or what Hermes said of an hour or a day."""

    at: datetime
    model: str
    figures: Figures
    route: str = "account"


@dataclass(frozen=True)
class Pull:
    """An attempt of a key at the half-open days; ``lines`` is all that the provider would have told at that moment."""

    key: str
    started_at: datetime
    first_day: date
    end_day: date
    complete: bool
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Batch:
    """A Hermes batch that covers the half-open days: the totals of its days, and the hours that it tells."""

    feed: str
    generated_at: datetime
    version: int
    first_day: date
    end_day: date
    days: tuple[Line, ...]
    hours: tuple[Line, ...]
    call_time: bool


@dataclass(frozen=True)
class History:
    """Everything that came in about one provider's family ``text``, in any order."""

    provider: str
    keys: tuple[Key, ...]
    pulls: tuple[Pull, ...]
    batches: tuple[Batch, ...]
    now: datetime
    passed_on_days: frozenset[date] = frozenset()
    """Days on which what these keys tell is counted elsewhere; used by the model for one route of a history."""

    @property
    def accounts(self) -> list[str]:
        return sorted({key.account for key in self.keys})
