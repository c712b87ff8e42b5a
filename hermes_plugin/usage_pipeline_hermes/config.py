"""Where the settings come from, and whether they are usable.

Belongs here: environment variables, the configuration file, defaults, checks. In: the environment. Out:
:class:`Config`. An environment variable wins over the file, the file over the default. The Hermes home decides which
profile is reported: each profile is a feed of its own, with its own ledger, file and token.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .errors import Exit, PluginError

INGEST_PATH: Final = "/api/ingest/hermes-usage"
DAYS_BACK_MAX: Final = 365
TEXT_CHARACTERS_MAX: Final = 500
_CONFIG_BYTES_MAX = 64 * 1024
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_TRUE = frozenset({"1", "true", "yes", "on"})

# name in config.json → environment variable
VARIABLES: Final = {
    "endpoint": "USAGE_PIPELINE_ENDPOINT",
    "token": "USAGE_PIPELINE_TOKEN",
    "workspaceSlug": "USAGE_PIPELINE_WORKSPACE_SLUG",
    "workspaceName": "USAGE_PIPELINE_WORKSPACE_NAME",
    "environment": "USAGE_PIPELINE_ENVIRONMENT",
    "daysBack": "USAGE_PIPELINE_DAYS_BACK",
    "sourceLabel": "USAGE_PIPELINE_SOURCE_LABEL",
    "dbPath": "USAGE_PIPELINE_DB_PATH",
    "timeout": "USAGE_PIPELINE_TIMEOUT",
    "disabled": "USAGE_PIPELINE_DISABLED",
}


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. ``origins`` says for each where it came from: ``environment``, ``file`` or ``default``."""

    home: Path
    profile: str
    endpoint: str
    token: str = field(repr=False)
    workspace_slug: str
    workspace_name: str
    environment: str
    days_back: int
    source_label: str
    db_path: Path
    timeout_s: float
    disabled: bool
    origins: Mapping[str, str]

    @property
    def data_folder(self) -> Path:
        """Where the ledger, the lock and the configuration file are."""
        return self.home / "usage-pipeline"

    @property
    def ledger_path(self) -> Path:
        return self.data_folder / "ledger.db"

    @property
    def health_url(self) -> str:
        """The server's health page, beside the ingest path."""
        return self.endpoint.removesuffix(INGEST_PATH) + "/healthz"

    def require_delivery(self) -> None:
        """Raise PluginError ``endpoint_missing`` or ``token_missing`` where nothing could be sent."""
        if not self.endpoint:
            raise _invalid("endpoint_missing", "no endpoint is set", "Set USAGE_PIPELINE_ENDPOINT to the server's URL.")
        if not self.token:
            raise _invalid(
                "token_missing",
                "no token is set",
                "Set USAGE_PIPELINE_TOKEN to the token that `usage-pipeline hermes add-feed` printed.",
            )

    def shown(self) -> dict[str, object]:
        """For people: every setting and its origin; of the token only whether it is there."""
        values: dict[str, object] = {
            "endpoint": self.endpoint or None,
            "token": "set" if self.token else None,
            "workspaceSlug": self.workspace_slug,
            "workspaceName": self.workspace_name,
            "environment": self.environment,
            "daysBack": self.days_back,
            "sourceLabel": self.source_label,
            "dbPath": str(self.db_path),
            "timeout": self.timeout_s,
            "disabled": self.disabled,
        }
        settings = {name: {"value": value, "from": self.origins[name]} for name, value in values.items()}
        return {"hermesHome": str(self.home), "profile": self.profile, "settings": settings}


def hermes_home(environ: Mapping[str, str]) -> Path:
    """The home of the profile that is running: as Hermes says inside Hermes, else HERMES_HOME, else ~/.hermes."""
    constants = sys.modules.get("hermes_constants")
    ask = getattr(constants, "get_hermes_home", None)
    if callable(ask):
        return Path(str(ask()))
    given = environ.get("HERMES_HOME", "").strip()
    return Path(given).expanduser() if given else Path.home() / ".hermes"


def load_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read and check all settings.

    Raises PluginError with exit status 2: ``config_file_unreadable``, ``config_file_open`` (a token that others may
    read), ``setting_invalid``, ``endpoint_invalid``. A missing endpoint or token is no error yet.
    """
    environ = os.environ if environ is None else environ
    home = hermes_home(environ)
    profile = home.name if home.parent.name == "profiles" else "default"
    suffix = "" if profile == "default" else f"-{profile}"
    defaults: dict[str, str] = {
        "endpoint": "",
        "token": "",
        "workspaceSlug": f"hermes-usage{suffix}",
        "workspaceName": "Hermes Usage" if profile == "default" else f"Hermes Usage {profile}",
        "environment": "production",
        "daysBack": "30",
        "sourceLabel": f"hermes{suffix}",
        "dbPath": str(home / "state.db"),
        "timeout": "30",
        "disabled": "0",
    }
    stored = _read_file(home / "usage-pipeline" / "config.json")
    values, origins = dict(defaults), dict.fromkeys(defaults, "default")
    for name, variable in VARIABLES.items():
        given = environ.get(variable, "").strip()
        if given:
            values[name], origins[name] = given, "environment"
        elif name in stored:
            values[name], origins[name] = stored[name], "file"
    return Config(
        home=home,
        profile=profile,
        endpoint=_endpoint(values["endpoint"]),
        token=_token(values["token"]),
        workspace_slug=_text(values, "workspaceSlug"),
        workspace_name=_text(values, "workspaceName"),
        environment=_text(values, "environment"),
        days_back=int(_number(values, "daysBack", 1, DAYS_BACK_MAX, whole=True)),
        source_label=_text(values, "sourceLabel"),
        db_path=Path(values["dbPath"]).expanduser(),
        timeout_s=_number(values, "timeout", 1, 600, whole=False),
        disabled=values["disabled"].lower() in _TRUE,
        origins=origins,
    )


def _invalid(code: str, what: str, remedy: str) -> PluginError:
    return PluginError(code, what, remedy, Exit.CONFIGURATION)


def _read_file(path: Path) -> dict[str, str]:
    """The settings in config.json as texts; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            written = json.loads(file.read(_CONFIG_BYTES_MAX))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise _invalid("config_file_unreadable", f"{path} cannot be read as JSON", "Repair it or remove it.") from None
    if not isinstance(written, dict):
        raise _invalid("config_file_unreadable", f"{path} is no JSON object", "Repair it or remove it.")
    if unknown := sorted(set(written) - set(VARIABLES)):
        name = _UNPRINTABLE.sub("?", unknown[0])[:40]
        raise _invalid("setting_invalid", f"{path} has a setting {name!r} that does not exist", "Remove it.")
    if os.name == "posix" and written.get("token") and stat.S_IMODE(mode) & 0o077:
        raise _invalid(
            "config_file_open", f"{path} holds a token and other users may read it", f"Run: chmod 600 {path}"
        )
    return {name: str(value).strip() for name, value in written.items() if value is not None and str(value).strip()}


def _endpoint(written: str) -> str:
    if not written:
        return ""
    try:
        parts = urlsplit(written)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    plain = not (parts.query or parts.fragment or "@" in parts.netloc or _UNPRINTABLE.search(written) or " " in written)
    if not (host and plain and parts.scheme in ("https", "http")):
        raise _invalid(
            "endpoint_invalid", "the endpoint is no plain URL", f"Write it like https://usage.example.com{INGEST_PATH}"
        )
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
        raise _invalid(
            "endpoint_invalid",
            "the endpoint is not https, so anybody on the way could read the token",
            "Use https; plain http is for this machine itself only.",
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or INGEST_PATH}"


def _token(written: str) -> str:
    if not written.isascii() or _UNPRINTABLE.search(written) or " " in written:
        raise _invalid(
            "setting_invalid", "the token has characters that no token has", "Copy it again, without quotes or spaces."
        )
    return written


def _text(values: Mapping[str, str], name: str) -> str:
    value = values[name]
    not_text = any("\ud800" <= character <= "\udfff" for character in value)  # bytes that are no UTF-8
    if not value or not_text or len(value) > TEXT_CHARACTERS_MAX or _UNPRINTABLE.search(value):
        raise _invalid("setting_invalid", f"{VARIABLES[name]} is not printable or too long", "Use a short plain text.")
    return value


def _number(values: Mapping[str, str], name: str, least: int, most: int, *, whole: bool) -> float:
    try:
        number: float = int(values[name]) if whole else float(values[name])
    except ValueError:
        number = -1
    if not least <= number <= most:
        kind = "whole number" if whole else "number"
        raise _invalid("setting_invalid", f"{VARIABLES[name]} is not a {kind} from {least} to {most}", "Correct it.")
    return number
