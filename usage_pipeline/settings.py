"""Every setting, once, with its environment variable, its unit and its default. docs/settings.md is tested against it.

A setting is read from the environment when :meth:`Settings.from_environment` is called, never at import. Settings of
one workspace, key or feed (policy, grain, ``bills_to``, …) live in the database, not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from usage_pipeline.errors import InvalidInputError


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

    @property
    def settling_provider(self) -> timedelta:
        """Settling time of provider pulls."""
        return timedelta(hours=self.settling_provider_hours)

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
        return cls(**values)


def _parse(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise _malformed(variable, "true or false")
    if isinstance(default, int):
        if text.isdecimal():
            return int(text)
        raise _malformed(variable, "a whole number that is not negative")
    if isinstance(default, Decimal):
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise _malformed(variable, "a decimal number") from None
        if not number.is_finite() or number < 0:
            raise _malformed(variable, "a decimal number that is not negative")
        return number
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _malformed(variable: str, wanted: str) -> InvalidInputError:
    return InvalidInputError(
        "setting_malformed", f"the value is not {wanted}", where=variable, remedy="Correct or unset the variable."
    )
