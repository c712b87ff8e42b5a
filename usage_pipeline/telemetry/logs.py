"""Structured logs: one event a line on standard error, as JSON or for people, with every secret masked.

``get_logger`` gives a logger to any module of the pipeline; ``configure_logging`` is called once by whatever starts a
process (the service, a Dagster run or tick, a command that was asked for a log). Without that nothing is written.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, cast

import structlog
from structlog.typing import EventDict, Processor

from usage_pipeline.settings import Settings
from usage_pipeline.telemetry.redaction import Redactor

ROOT: Final = "usage_pipeline"

# What a line of the service's access log states beside its words; nothing else of a record is written out.
_EXTRA: Final = ("method", "path", "status", "milliseconds", "feed", "note")

_redactor: Redactor | None = None

# Else Python writes what nobody configured to standard error by itself.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry fields: ``log.info("pull", key="acme.openai.main", rows=12)``."""
    wrapped = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("structlog.stdlib.BoundLogger", wrapped)


def configure_logging(environ: Mapping[str, str], settings: Settings) -> None:
    """Write the pipeline's log to standard error as the settings say; calling it again replaces what was set."""
    global _redactor  # one process has one log
    _redactor = Redactor(environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings.log_format))
    for name, least in ((ROOT, settings.log_level.upper()), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False


def configure_logging_of_command(environ: Mapping[str, str], settings: Settings) -> None:
    """As :func:`configure_logging`, of a command with progress of its own: only where a level was asked for."""
    if environ.get("USAGE_LOG_LEVEL", "").strip():
        configure_logging(environ, settings)


def _formatter(log_format: str) -> logging.Formatter:
    renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False) if log_format == "json" else _for_people
    extra = [structlog.stdlib.ExtraAdder(_EXTRA)] if log_format == "json" else []
    return structlog.stdlib.ProcessorFormatter(
        # Of records that Python's own logging made: uvicorn's, the service's.
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *extra,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _mask,
            renderer,
        ],
    )


def _mask(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Mask every text of an event. An exception that is still to be written out stays for the step after."""
    redactor = _redactor or Redactor(os.environ)
    kept = {name: event[name] for name in ("_record", "_from_structlog", "exc_info") if name in event}
    masked = {name: redactor.value(value) for name, value in event.items() if name not in kept}
    return {**masked, **kept}


def _for_people(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """An event as one line: when, how grave, what, and its fields."""
    at, level, what = event.pop("timestamp", ""), event.pop("level", "info"), event.pop("event", "")
    exception = event.pop("exception", None)
    fields = "".join(f" {name}={value}" for name, value in event.items() if value is not None)
    line = f"{at} {str(level).upper()} {what}{fields}"
    return f"{line}\n{exception}" if exception else line
