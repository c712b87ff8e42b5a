"""The log: one event a line, as JSON or for people, and no secret in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import date

import pytest

from usage_pipeline.settings import Settings
from usage_pipeline.telemetry import logs


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    named = [logging.getLogger(name) for name in (logs.ROOT, "uvicorn")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in named]
    yield
    for logger, (handlers, level, propagate) in zip(named, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _configure(environ: dict[str, str]) -> None:
    logs.configure_logging(environ, Settings.from_environment(environ))


def test_an_event_is_one_json_object_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    _configure({"USAGE_LOG_FORMAT": "json"})
    logs.get_logger("usage_pipeline.stages").info("pull", key="acme.openai.main", rows=12, day=date(2026, 11, 10))
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "pull", "level": "info", "key": "acme.openai.main", "rows": 12, "day": "2026-11-10"}


def test_for_people_it_is_a_line_of_words(capsys: pytest.CaptureFixture[str]) -> None:
    _configure({})
    logs.get_logger("usage_pipeline.stages").warning("pull", key="acme.openai.main", error=None)
    line = capsys.readouterr().err
    assert line.endswith(" WARNING pull key=acme.openai.main\n")


def test_lines_of_pythons_own_logging_have_the_fields_that_they_state(capsys: pytest.CaptureFixture[str]) -> None:
    _configure({"USAGE_LOG_FORMAT": "json"})
    logging.getLogger("usage_pipeline.service.access").info("GET %s", "/readyz", extra={"status": 200, "other": 1})
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["status"]) == ("GET /readyz", 200)
    assert "other" not in event


def test_the_level_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    _configure({"USAGE_LOG_LEVEL": "error"})
    logs.get_logger("usage_pipeline.stages").warning("pull")
    assert capsys.readouterr().err == ""


def test_a_command_with_its_own_progress_logs_where_a_level_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging_of_command({}, Settings())
    logs.get_logger("usage_pipeline.stages").error("pull")
    assert capsys.readouterr().err == ""
    logs.configure_logging_of_command({"USAGE_LOG_LEVEL": "error"}, Settings(log_level="error"))
    logs.get_logger("usage_pipeline.stages").error("pull")
    assert capsys.readouterr().err.endswith(" ERROR pull\n")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_logged_neither_by_us_nor_by_libraries(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    _configure({"USAGE_LOG_FORMAT": log_format, "CRON_SECRET": "canary-of-cron"})
    logger = logs.get_logger("usage_pipeline.stages")
    logger.info("canary-of-cron", key="sk-admin-canary1234", more={"deep": ["Bearer canary-of-cron"]})
    logging.getLogger("uvicorn").warning("refused %s", "canary-of-cron")
    try:
        raise ValueError("canary-of-cron")
    except ValueError:
        logger.exception("broke")
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert "canary" not in said
