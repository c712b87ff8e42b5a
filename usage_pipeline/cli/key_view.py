"""A provider key as a person or a script sees it: everything but the secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from usage_pipeline.ledger.feed_settings import FeedSettings
from usage_pipeline.ledger.provider_keys import ProviderKey

KEY_COLUMNS = ("key", "mode", "account", "projects", "grain", "secret", "state")


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its dated settings, seen on the UTC day ``today``."""

    key: ProviderKey
    settings: FeedSettings
    today: date

    @property
    def secret(self) -> str:
        """Where the secret is: ``sealed``, or the reference's text."""
        return self.key.secret_reference or "sealed"

    @property
    def state(self) -> str:
        """Whether the key is pulled today, and what is planned."""
        today = "enabled" if self.settings.enabled_on(self.today) else "disabled"
        planned = [(day, value) for day, value in self.settings.enabled.values if day > self.today]
        return "; ".join((today, *(f"{'enabled' if value else 'disabled'} from {day}" for day, value in planned)))

    @property
    def projects(self) -> tuple[str, ...]:
        """The scope today; empty for the whole account."""
        return self.settings.projects_on(self.today)

    def row(self) -> tuple[str, ...]:
        """The key as a row of a table, by ``KEY_COLUMNS``."""
        scope = ", ".join(self.projects) or "all"
        key = self.key
        return (key.slug, key.mode, key.account, scope, key.grain, self.secret, self.state)

    def lines(self) -> tuple[tuple[str, str], ...]:
        """The key as pairs of a word and its value."""
        key = self.key
        return (
            ("key", key.slug),
            ("workspace", key.workspace),
            ("provider", key.provider),
            ("mode", key.mode),
            ("account", key.account if key.account_stated else f"{key.account} (no --organization was given)"),
            ("projects", ", ".join(self.projects) or "all of the account"),
            ("grain", key.grain),
            ("base URL", key.base_url),
            ("secret", f"{self.secret}, version {key.secret_version}"),
            ("state", self.state),
            ("registered", key.created_at.isoformat()),
        )

    def as_json(self) -> dict[str, object]:
        """The key as a JSON object."""
        key = self.key
        return {
            "slug": key.slug,
            "workspace": key.workspace,
            "provider": key.provider,
            "name": key.name,
            "mode": key.mode,
            "account": key.account,
            "account_stated": key.account_stated,
            "projects": list(self.projects),
            "grain": key.grain,
            "base_url": key.base_url,
            "secret": self.secret,
            "secret_version": key.secret_version,
            "enabled": self.settings.enabled_on(self.today),
            "enabled_from": {day.isoformat(): value for day, value in self.settings.enabled.values},
            "created_at": key.created_at.isoformat(),
        }
