"""Settings come from the environment, each by its own name, and say what is wrong with them."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.service.runtime import open_service_runtime
from usage_pipeline.settings import Settings


def test_every_setting_has_a_variable_of_its_own_and_a_doc() -> None:
    variables = [item.metadata["variable"] for item in dataclasses.fields(Settings)]
    assert len(set(variables)) == len(variables)
    assert all(item.metadata["doc"] for item in dataclasses.fields(Settings))


def test_values_are_read_in_their_own_type() -> None:
    settings = Settings.from_environment(
        {
            "USAGE_TOLERANCE_FRACTION": "0.05",
            "USAGE_SETTLING_PROVIDER_HOURS": "24",
            "USAGE_ADMIN_INGESTION_ENABLED": "off",
            "USAGE_DISABLED_PROVIDERS": "openai, anthropic",
        }
    )
    assert settings.tolerance_fraction == Decimal("0.05")
    assert settings.settling_provider == timedelta(days=1)
    assert settings.admin_ingestion_enabled is False
    assert settings.disabled_providers == ("openai", "anthropic")


def test_a_provider_settles_in_its_own_time_or_in_that_of_all() -> None:
    settings = Settings.from_environment(
        {
            "USAGE_SETTLING_PROVIDER_HOURS": "48",
            "OPENAI_SETTLING_HOURS": "24",
            "AZURE_OPENAI_SETTLING_HOURS": "6",
            "ANTHROPIC_SETTLING_HOURS": "",
        }
    )
    assert settings.settling_of("openai") == timedelta(hours=24)
    assert settings.settling_of("azure-openai") == timedelta(hours=6)
    assert settings.settling_of("anthropic") == timedelta(hours=48)
    assert Settings(settling_hours_by_provider={"azure-openai": 0}).settling_of("azure-openai") == timedelta()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("USAGE_TOLERANCE_FRACTION", "much"),
        ("USAGE_TOLERANCE_FRACTION", "NaN"),
        ("USAGE_LOOK_BACK_DAYS", "-1"),
        ("OPENAI_SETTLING_HOURS", "soon"),
        ("ANTHROPIC_SETTLING_HOURS", "-1"),
        ("USAGE_ADMIN_INGESTION_ENABLED", "perhaps"),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=variable) as refused:
        Settings.from_environment({variable: value})
    assert refused.value.code == "setting_malformed"


@pytest.mark.parametrize("variable", ["CRON_SECRET", "USAGE_METRICS_TOKEN"])
def test_the_service_takes_no_token_that_may_be_guessed_or_never_be_sent(variable: str, tmp_path: Path) -> None:
    for fits in ("x" * 16, "x" * 1000, "correct horse battery"):
        Settings.from_environment({variable: fits}).check_tokens()
    for wrong in ("x" * 15, "x" * 1001, "passwörter-von-uns"):
        environ = {variable: wrong, "USAGE_HOME": str(tmp_path / "home")}
        with pytest.raises(InvalidInputError, match=f"{variable}.*16 to 1,000") as refused:
            open_service_runtime(environ).__enter__()
        assert refused.value.code == "setting_malformed"
        assert wrong not in str(refused.value)
    assert not (tmp_path / "home").exists()


def test_urls_of_alerts_are_separated_by_commas_and_white_space_and_never_shown() -> None:
    written = " json://host:8080/a,b?to=x, slack://token/canary\nfile:/run/secrets/url "
    settings = Settings.from_environment({"USAGE_ALERT_URLS": written, "USAGE_METRICS_TOKEN": "canary"})
    assert [url.reveal() for url in settings.alert_urls] == [
        "json://host:8080/a,b?to=x",
        "slack://token/canary",
        "file:/run/secrets/url",
    ]
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"), [("USAGE_ALERT_SEVERITIES", "error,grave"), ("USAGE_LOG_FORMAT", "xml")]
)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(variable: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{variable}.*one of"):
        Settings.from_environment({variable: value})
