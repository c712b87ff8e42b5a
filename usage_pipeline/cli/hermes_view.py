"""How the command line shows a Hermes feed: as a row, as lines, and as JSON. Never a token, only its prefix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from usage_pipeline.ledger.feed_tokens import FeedToken
from usage_pipeline.ledger.hermes_feeds import HermesFeed

FEED_COLUMNS: Final = ("feed", "environment", "state", "counts", "plugin says", "token", "newest batch")


@dataclass(frozen=True, slots=True)
class FeedView:
    """A feed with its living tokens, whether it is enabled today, and when its newest batch was generated (UTC)."""

    feed: HermesFeed
    tokens: tuple[FeedToken, ...]
    enabled: bool
    newest_batch: datetime | None

    def row(self) -> tuple[str, ...]:
        """The cells under :data:`FEED_COLUMNS`."""
        return (
            self.feed.slug,
            self.feed.environment,
            self._state,
            self._counts,
            self._bound,
            ", ".join(self._token(token) for token in self.tokens) or "none",
            _instant(self.newest_batch) or "none",
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """What there is to say, a word and its value."""
        yield "feed", self.feed.slug
        yield "environment", self.feed.environment
        yield "state", self._state
        yield "counts", self._counts
        yield "days back", str(self.feed.days_back or "not stated")
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
            "enabled": self.enabled,
            "counts": self.feed.counts,
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

    @property
    def _state(self) -> str:
        return "enabled" if self.enabled else "disabled"

    @property
    def _counts(self) -> str:
        return "yes" if self.feed.counts else "no, only shown"

    @property
    def _bound(self) -> str:
        labels = (self.feed.bound_workspace_slug, self.feed.bound_environment)
        return " / ".join(label or "(not yet)" for label in labels)

    @staticmethod
    def _token(token: FeedToken) -> str:
        return f"{token.prefix}_…{f' until {_instant(token.ends_at)}' if token.ends_at else ''}"


def _instant(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
