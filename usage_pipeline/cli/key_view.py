"""A provider key as a person or a script sees it: everything but the secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from usage_pipeline.ledger.feed_settings import FeedSettings
from usage_pipeline.ledger.provider_keys import ProviderKey

KEY_COLUMNS = ("key", "mode", "account", "known", "projects", "grain", "secret", "state")


def account_in_words(key: ProviderKey) -> str:
    """The key's account and how it is known."""
    if key.account_known == "told":
        return f"{key.account} (told by the provider{', as stated' if key.account_stated else ''})"
    if key.account_known == "stated":
        return f"{key.account} (stated; the provider has not told it)"
    return f"{key.account} (assumed: no --organization was given, and the provider has not told it)"


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its dated settings, seen on the UTC day ``today``.

    ``note`` is what its owner should do, if anything; ``project_names`` are the names of projects by id, where known.
    """

    key: ProviderKey
    settings: FeedSettings
    today: date
    note: str | None = None
    project_names: Mapping[str, str] = field(default_factory=dict)

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
        return (key.slug, key.mode, key.account, key.account_known, scope, key.grain, self.secret, self.state)

    def lines(self) -> tuple[tuple[str, str], ...]:
        """The key as pairs of a word and its value."""
        key = self.key
        return (
            ("key", key.slug),
            ("workspace", key.workspace),
            ("provider", key.provider),
            ("mode", key.mode),
            ("account", account_in_words(key)),
            ("projects", ", ".join(map(self._named, self.projects)) or "all of the account"),
            ("grain", key.grain),
            ("base URL", key.base_url),
            ("secret", f"{self.secret}, version {key.secret_version}"),
            ("state", self.state),
            ("registered", key.created_at.isoformat()),
            *((("to do", self.note),) if self.note else ()),
        )

    def _named(self, project: str) -> str:
        name = self.project_names.get(project)
        return f"{project} ({name})" if name else project

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
            "account_known": key.account_known,
            "account_stated": key.account_stated,
            "account_told": key.account_told,
            "projects": list(self.projects),
            "grain": key.grain,
            "base_url": key.base_url,
            "secret": self.secret,
            "secret_version": key.secret_version,
            "enabled": self.settings.enabled_on(self.today),
            "enabled_from": {day.isoformat(): value for day, value in self.settings.enabled.values},
            "created_at": key.created_at.isoformat(),
            "note": self.note,
        }
