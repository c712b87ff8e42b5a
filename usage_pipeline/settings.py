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

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError

TOKEN_CHARACTERS_MIN: Final = 16
TOKEN_CHARACTERS_MAX: Final = 1000
"""Bearer tokens of the service: shorter ones can be guessed, longer ones are not read from a request."""

# Entries of a list of URLs: commas may also stand within one.
_BETWEEN_URLS: Final = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*:)")
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,#-]+", re.ASCII)
_SETTLING_OF_ONE: Final = re.compile(r"([A-Z][A-Z0-9_]*)_SETTLING_HOURS", re.ASCII)


def _setting(default: Any, variable: str, doc: str, **more: Any) -> Any:
    """``choices``: the texts that are taken. ``read``: what makes the value of the text."""
    return field(default=default, metadata={"variable": variable, "doc": doc, **more})


def _urls(variable: str, text: str) -> tuple[Secret, ...]:
    return tuple(Secret(entry.strip(), where=variable) for entry in _BETWEEN_URLS.split(text.strip(" ,")))


def _secret(variable: str, text: str) -> Secret:
    return Secret(text, where=variable)


def _cron(variable: str, text: str) -> str:
    """Five fields; what each of them may say is checked where the schedule is made."""
    fields = text.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(one) for one in fields):
        raise malformed_setting(variable, "a cron string of five fields, such as 20 * * * *")
    return " ".join(fields)


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
    look_back_days: int = _setting(
        4, "USAGE_LOOK_BACK_DAYS", "How many closed days the look-back pulls anew, at least."
    )
    look_back_cron: str = _setting(
        "15 3 * * *", "USAGE_LOOK_BACK_CRON", "When the settling days are pulled anew, UTC.", read=_cron
    )
    open_day_cron: str = _setting("20 * * * *", "USAGE_OPEN_DAY_CRON", "When the open day is pulled, UTC.", read=_cron)
    schedules: bool = _setting(
        False, "USAGE_SCHEDULES", "On: the schedules and the sensor of new keys run without being turned on in the UI."
    )
    blocking_checks: tuple[str, ...] = _setting(
        (), "USAGE_BLOCKING_CHECKS", "Checks that warn by default and shall fail their day and their run."
    )
    freshness_hours: int = _setting(
        24, "USAGE_FRESHNESS_HOURS", "A closed day is expected by the check data_is_fresh this long after its end."
    )
    hermes_excess_fraction: Decimal = _setting(
        Decimal(0), "USAGE_HERMES_EXCESS_FRACTION", "Excess up to this part of P passes hermes_within_provider."
    )
    cron_secret: Secret | None = _setting(
        None, "CRON_SECRET", "The bearer token of POST /api/cron/ingest, which is closed without it.", read=_secret
    )
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
    alert_urls: tuple[Secret, ...] = _setting(
        (), "USAGE_ALERT_URLS", "Who is told of alerts: apprise URLs, or env: and file: references to one.", read=_urls
    )
    alert_severities: tuple[str, ...] = _setting(
        ("error", "warning"), "USAGE_ALERT_SEVERITIES", "Which alerts are told.", choices=("error", "warning")
    )
    alert_window_minutes: int = _setting(
        30, "USAGE_ALERT_WINDOW_MINUTES", "What repeats within this time of the last notice is told with the next."
    )
    alert_run_minutes: int = _setting(
        60, "USAGE_ALERT_RUN_MINUTES", "A run that is under way for longer raises an alert; 0 never."
    )
    alert_parity_fraction: Decimal = _setting(
        Decimal("0.02"), "USAGE_ALERT_PARITY_FRACTION", "Open differences above this part of the figure raise an alert."
    )
    unusual_factor: Decimal = _setting(
        Decimal(5),
        "USAGE_UNUSUAL_FACTOR",
        "A day is unusual above the median by so many times the median distance from it; 0 never.",
    )
    unusual_fraction: Decimal = _setting(
        Decimal("0.5"), "USAGE_UNUSUAL_FRACTION", "… and by more than this part of the median."
    )
    unusual_floor_usd: Decimal = _setting(
        Decimal(10), "USAGE_UNUSUAL_FLOOR_USD", "… and by more than so many US dollars."
    )
    dagster_url: str = _setting("", "USAGE_DAGSTER_URL", "Where people reach Dagster's UI, for links in alerts.")
    log_format: str = _setting("console", "USAGE_LOG_FORMAT", "How the log is written.", choices=("console", "json"))
    log_level: str = _setting(
        "info", "USAGE_LOG_LEVEL", "The least grave event of the log.", choices=("debug", "info", "warning", "error")
    )
    metrics_token: Secret | None = _setting(
        None, "USAGE_METRICS_TOKEN", "The bearer token that GET /metrics asks for.", read=_secret
    )
    api_requests_per_minute: int = _setting(
        300, "USAGE_API_REQUESTS_PER_MINUTE", "How many requests a read token may send in a minute; 0 is no limit."
    )
    session_hours: int = _setting(12, "USAGE_SESSION_HOURS", "How long a session lasts that was begun by a login.")
    export_dir: str = _setting(
        "", "USAGE_EXPORT_DIR", "The folder of the export assets; exports in the data folder where it is empty."
    )
    retention_raw_pages_days: int = _setting(
        0, "USAGE_RETENTION_RAW_PAGES_DAYS", "So long superseded raw pages of confirmed days are kept; 0 for ever."
    )
    retention_standing_pages_days: int = _setting(
        0, "USAGE_RETENTION_STANDING_PAGES_DAYS", "… and so long those behind today's figures; 0 for ever."
    )
    retention_history_days: int = _setting(
        0, "USAGE_RETENTION_HISTORY_DAYS", "Superseded versions of confirmed days are kept so long; 0 for ever."
    )
    retention_payloads_days: int = _setting(
        0, "USAGE_RETENTION_PAYLOADS_DAYS", "So long superseded or refused Hermes payloads are kept; 0 for ever."
    )
    retention_runs_days: int = _setting(
        0,
        "USAGE_RETENTION_RUNS_DAYS",
        "Rows of ingestion_runs, and alerts that are over, are kept so long; 0 for ever.",
    )
    retention_dagster_days: int = _setting(
        0, "USAGE_RETENTION_DAGSTER_DAYS", "Dagster's own ended runs and their events are kept so long; 0 for ever."
    )
    retention_cron: str = _setting(
        "45 4 * * *", "USAGE_RETENTION_CRON", "When the schedule retention_daily prunes, UTC.", read=_cron
    )

    @property
    def settling_provider(self) -> timedelta:
        """Settling time of the pulls of every provider that has none of its own."""
        return timedelta(hours=self.settling_provider_hours)

    def settling_of(self, provider: str) -> timedelta:
        """Settling time of the pulls of a provider (``openai``): its own, else that of all."""
        own = {_prefix(slug): hours for slug, hours in self.settling_hours_by_provider.items()}.get(_prefix(provider))
        return self.settling_provider if own is None else timedelta(hours=own)

    def look_back_of(self, provider: str) -> int:
        """How many closed days of a provider (``openai``) the look-back pulls anew: as set, but never so few that days
        would not become final by themselves, which takes the settling time in whole days and one more."""
        return max(self.look_back_days, -(-self.settling_of(provider) // timedelta(days=1)) + 1)

    @property
    def settling_hermes(self) -> timedelta:
        """Settling time of Hermes batches."""
        return timedelta(hours=self.settling_hermes_hours)

    def check_tokens(self) -> None:
        """For whoever serves: raises ``setting_malformed`` for a bearer token that may be guessed, or never be sent."""
        for variable, token in (("CRON_SECRET", self.cron_secret), ("USAGE_METRICS_TOKEN", self.metrics_token)):
            if token is None:
                continue
            told = token.reveal()
            fits = TOKEN_CHARACTERS_MIN <= len(told) <= TOKEN_CHARACTERS_MAX and told.isascii() and told.isprintable()
            if not fits:
                raise malformed_setting(
                    variable, f"{TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX:,} printable ASCII characters"
                )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting. Raises :class:`InvalidInputError` ``setting_malformed`` naming the variable."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            text = environ.get(item.metadata["variable"], "").strip()
            if text:
                values[item.name] = _value(item, text)
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


def _value(item: dataclasses.Field[Any], text: str) -> object:
    variable = item.metadata["variable"]
    if "read" in item.metadata:
        return item.metadata["read"](variable, text)
    value = _parse(variable, text, item.default)
    choices = item.metadata.get("choices")
    if choices and not set(value if isinstance(value, tuple) else (value,)) <= set(choices):
        raise malformed_setting(variable, f"one of {', '.join(choices)}")
    return value


def _parse(variable: str, text: str, default: object) -> object:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise malformed_setting(variable, "true or false")
    if isinstance(default, int):
        return _whole(variable, text)
    if isinstance(default, Decimal):
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise malformed_setting(variable, "a decimal number") from None
        if not number.is_finite() or number < 0:
            raise malformed_setting(variable, "a decimal number that is not negative")
        return number
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _whole(variable: str, text: str) -> int:
    if not text.isdecimal():
        raise malformed_setting(variable, "a whole number that is not negative")
    return int(text)


def malformed_setting(variable: str, wanted: str) -> InvalidInputError:
    """The error of a variable whose value is not ``wanted``."""
    return InvalidInputError(
        "setting_malformed", f"the value is not {wanted}", where=variable, remedy="Correct or unset the variable."
    )
