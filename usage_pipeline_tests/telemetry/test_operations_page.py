"""docs/operations.md names every alert cause and every metric of the code, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from usage_pipeline.alerts.causes import CAUSES, TOLD_BY_THEIR_OWN_CAUSE
from usage_pipeline.telemetry.metrics import METRICS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_every_cause_is_documented_with_its_severity_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (error|warning) \|", _section("Alerts"), re.MULTILINE)
    assert rows == [(cause.code, cause.severity) for cause in CAUSES.values()]


def test_the_checks_that_raise_no_alert_of_their_own_are_named() -> None:
    assert all(f"`{check}`" in _section("Alerts") for check in TOLD_BY_THEIR_OWN_CAUSE)


def test_every_metric_is_documented_as_it_is_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|", _section("Metrics"), re.MULTILINE)
    assert rows == [(one.name, one.kind, ", ".join(one.labels), one.doc) for one in METRICS]
