"""Every setting, once, with its environment variable, its unit and its default. docs/settings.md is tested against it.

A setting is read from the environment when :meth:`Settings.from_environment` is called, never at import. Settings of
one workspace, key or feed (policy, grain, ``bills_to``, …) live in the database, not here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from usage_pipeline.errors import InvalidInputError

_SETTLING_OF_ONE: Final = re.compile(r"([A-Z][A-Z0-9_]*)_SETTLING_HOURS", re.ASCII)


def _setting(default: Any, variable: str, doc: str) -> Any:
    return field(default=default, metadata={"variable": variable, "doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set. Durations are in the unit that the variable's name ends with."""

    tolerance_fraction: Decimal = _setting(
        Decimal("0.02"), "USAGE_TOLERANCE_FRACTION", "Hermes may exceed the provider by this part without a finding."
    )
    tolerance_floor: int = _setting(
        10, "USAGE_TOLERANCE_FLOOR", "… or by this many units of the measure, whichever is more."
    )
    settling_provider_hours: int = _setting(
        72, "USAGE_SETTLING_PROVIDER_HOURS", "A pull started this long after the day's end makes the day final."
    )
    settling_hours_by_provider: Mapping[str, int] = field(
        default_factory=dict,
        metadata={"variable": "<PROVIDER>_SETTLING_HOURS", "doc": "The settling time of one provider's pulls."},
    )
    settling_hermes_hours: int = _setting(
        72, "USAGE_SETTLING_HERMES_HOURS", "A batch generated this long after the day's end makes Hermes' day final."
    )
    window_missing_hours: int = _setting(
        24, "USAGE_WINDOW_MISSING_HOURS", "A day without any pull is missing this long after its end."
    )
    bill_tolerance_fraction: Decimal = _setting(
        Decimal("0.02"),
        "USAGE_BILL_TOLERANCE_FRACTION",
        "Computed and billed cost of an account-day may differ so far.",
    )
    backfill_days_first: int = _setting(
        30, "USAGE_BACKFILL_DAYS_FIRST", "How many days the first pull of a new key reaches back."
    )
    look_back_days: int = _setting(4, "USAGE_LOOK_BACK_DAYS", "How many closed days the daily schedule pulls anew.")
    http_timeout_seconds: int = _setting(60, "USAGE_HTTP_TIMEOUT_SECONDS", "How long one answer may keep us waiting.")
    http_attempts: int = _setting(4, "USAGE_HTTP_ATTEMPTS", "How often one request is tried before the pull fails.")
    admin_ingestion_enabled: bool = _setting(
        True, "USAGE_ADMIN_INGESTION_ENABLED", "Off: no provider is asked for anything; runs say that they skipped."
    )
    disabled_providers: tuple[str, ...] = _setting(
        (), "USAGE_DISABLED_PROVIDERS", "Providers that are not asked, separated by commas."
    )
    ingest_body_bytes_max: int = _setting(
        8_388_608, "USAGE_INGEST_BODY_BYTES_MAX", "The largest Hermes payload over HTTP, in bytes, unpacked."
    )
    ingest_buckets_max: int = _setting(
        20_000, "USAGE_INGEST_BUCKETS_MAX", "How many buckets a Hermes payload over HTTP may have, all lists together."
    )
    ingest_read_seconds: int = _setting(
        30, "USAGE_INGEST_READ_SECONDS", "How long a sender may take to send a request's body."
    )
    ingest_batches_per_minute: int = _setting(
        120, "USAGE_INGEST_BATCHES_PER_MINUTE", "How many new batches a feed may send in any minute; 0 is no limit."
    )
    ingest_refusals_per_day: int = _setting(
        100, "USAGE_INGEST_REFUSALS_PER_DAY", "How many refused payloads are kept per feed and UTC day."
    )
    ingest_refusal_bytes_per_day: int = _setting(
        33_554_432, "USAGE_INGEST_REFUSAL_BYTES_PER_DAY", "… and how many bytes of them, unpacked."
    )

    @property
    def settling_provider(self) -> timedelta:
        """Settling time of the pulls of every provider that has none of its own."""
        return timedelta(hours=self.settling_provider_hours)

    def settling_of(self, provider: str) -> timedelta:
        """Settling time of the pulls of a provider (``openai``): its own, else that of all."""
        own = {_prefix(slug): hours for slug, hours in self.settling_hours_by_provider.items()}.get(_prefix(provider))
        return self.settling_provider if own is None else timedelta(hours=own)

    @property
    def settling_hermes(self) -> timedelta:
        """Settling time of Hermes batches."""
        return timedelta(hours=self.settling_hermes_hours)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting. Raises :class:`InvalidInputError` ``setting_malformed`` naming the variable."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            text = environ.get(item.metadata["variable"], "").strip()
            if text:
                values[item.name] = _parse(item.metadata["variable"], text, item.default)
        return cls(**{**values, "settling_hours_by_provider": _settling_hours(environ)})


def _prefix(provider: str) -> str:
    """How the names of a provider's own variables begin."""
    return provider.upper().replace("-", "_")


def _settling_hours(environ: Mapping[str, str]) -> dict[str, int]:
    """Hours by provider. Any prefix is taken: a provider may come from an installed package."""
    found: dict[str, int] = {}
    for variable, text in environ.items():
        named = _SETTLING_OF_ONE.fullmatch(variable)
        if named and (written := text.strip()):
            found[named[1].lower()] = _whole(variable, written)
    return found


def _parse(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise _malformed(variable, "true or false")
    if isinstance(default, int):
        return _whole(variable, text)
    if isinstance(default, Decimal):
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise _malformed(variable, "a decimal number") from None
        if not number.is_finite() or number < 0:
            raise _malformed(variable, "a decimal number that is not negative")
        return number
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _whole(variable: str, text: str) -> int:
    if not text.isdecimal():
        raise _malformed(variable, "a whole number that is not negative")
    return int(text)


def _malformed(variable: str, wanted: str) -> InvalidInputError:
    return InvalidInputError(
        "setting_malformed", f"the value is not {wanted}", where=variable, remedy="Correct or unset the variable."
    )
