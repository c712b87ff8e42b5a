"""How the command line shows a Hermes feed: as a row, as lines, and as JSON. Never a token, only its prefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from usage_pipeline.ledger.feed_settings import FeedSettings
from usage_pipeline.ledger.feed_tokens import FeedToken
from usage_pipeline.ledger.hermes_feeds import HermesFeed

FEED_COLUMNS: Final = (
    "feed",
    "environment",
    "state",
    "counts",
    "days back",
    "bills to",
    "plugin says",
    "token",
    "newest batch",
)


@dataclass(frozen=True, slots=True)
class FeedView:
    """A feed with its living tokens, its dated settings, the UTC day on which it is looked at, and when its newest
    batch was generated (UTC)."""

    feed: HermesFeed
    tokens: tuple[FeedToken, ...]
    settings: FeedSettings
    today: date
    newest_batch: datetime | None

    def row(self) -> tuple[str, ...]:
        """The cells under :data:`FEED_COLUMNS`."""
        return (
            self.feed.slug,
            self.feed.environment,
            self._state,
            counts_in_words(self.feed),
            self._days_back,
            routes_in_words(self.settings.bills_to_on(self.today)),
            self._bound,
            ", ".join(self._token(token) for token in self.tokens) or "none",
            _instant(self.newest_batch) or "none",
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """What there is to say, a word and its value."""
        yield "feed", self.feed.slug
        yield "environment", self.feed.environment
        yield "state", self._state
        yield "counts", counts_in_words(self.feed)
        yield "days back", self._days_back
        for place, (day, routes) in enumerate(self._routes()):
            yield "bills to", f"{routes_in_words(routes)}{f', from {day} (UTC) on' if place else ''}"
        yield "plugin says", self._bound
        for token in self.tokens:
            yield "token", f"{self._token(token)}, issued {_instant(token.created_at)}"
        if not self.tokens:
            yield "token", "none"
        yield "newest batch", _instant(self.newest_batch) or "none"
        yield "registered", _instant(self.feed.created_at)

    def as_json(self) -> dict[str, object]:
        """For a script."""
        return {
            "slug": self.feed.slug,
            "workspace": self.feed.workspace,
            "label": self.feed.label,
            "environment": self.feed.environment,
            "days_back": self.feed.days_back,
            "enabled": self._enabled,
            "counts": self.feed.counts,
            "bills_to": dict(self.settings.bills_to_on(self.today)),
            "bills_to_by_day": [{"from": day.isoformat(), "bills_to": dict(routes)} for day, routes in self._routes()],
            "plugin_workspace": self.feed.bound_workspace_slug,
            "plugin_environment": self.feed.bound_environment,
            "tokens": [
                {
                    "prefix": token.prefix,
                    "created_at": token.created_at.isoformat(),
                    "ends_at": token.ends_at.isoformat() if token.ends_at else None,
                }
                for token in self.tokens
            ],
            "newest_batch_generated_at": self.newest_batch.isoformat() if self.newest_batch else None,
            "created_at": self.feed.created_at.isoformat(),
        }

    def _routes(self) -> Iterator[tuple[date, Mapping[str, str]]]:
        """The routes by the UTC day from which they hold, the oldest first, which hold before their day too."""
        for day, _ in self.settings.bills_to.values:
            yield day, self.settings.bills_to_on(day)

    @property
    def _enabled(self) -> bool:
        return self.settings.enabled_on(self.today)

    @property
    def _state(self) -> str:
        return "enabled" if self._enabled else "disabled"

    @property
    def _days_back(self) -> str:
        return str(self.feed.days_back or "by batch")

    @property
    def _bound(self) -> str:
        labels = (self.feed.bound_workspace_slug, self.feed.bound_environment)
        return " / ".join(label or "(not yet)" for label in labels)

    @staticmethod
    def _token(token: FeedToken) -> str:
        return f"{token.prefix}_…{f' until {_instant(token.ends_at)}' if token.ends_at else ''}"


def counts_in_words(feed: HermesFeed) -> str:
    """Whether the feed's figures count."""
    return "yes" if feed.counts else "no, only shown"


def routes_in_words(routes: Mapping[str, str]) -> str:
    """The routes by provider as a person writes them; a provider that is not among them is on ``account``."""
    return ", ".join(f"{provider}={route}" for provider, route in sorted(routes.items())) or "account"


def _instant(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
