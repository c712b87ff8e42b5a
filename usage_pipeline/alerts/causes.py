"""Why an alert is raised: every cause, how grave it is, and what it means. docs/operations.md is tested against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of alerts: its code, which does not change between releases, and what it says in a few words."""

    code: str
    severity: Severity
    title: str


CHECK_FAILED: Final = Cause("check_failed", "error", "An asset check failed")
CHECK_WARNED: Final = Cause("check_warned", "warning", "An asset check warns")
RUN_FAILED: Final = Cause("run_failed", "error", "A run failed")
RUN_OVERDUE: Final = Cause("run_overdue", "warning", "A run takes longer than expected")
KEY_REFUSED: Final = Cause("key_refused", "error", "A provider key stopped working")
PARITY_EXCEEDED: Final = Cause("parity_exceeded", "warning", "Two sides differ above the threshold")
WINDOW_MISSING: Final = Cause("window_missing", "warning", "Days are missing or not final in time")
DATA_STALE: Final = Cause("data_stale", "error", "Data are not fresh")
BUDGET_WARNING: Final = Cause("budget_warning", "warning", "A budget is nearly spent")
BUDGET_EXCEEDED: Final = Cause("budget_exceeded", "error", "A budget is exceeded")
SPEND_UNUSUAL: Final = Cause("spend_unusual", "warning", "A day costs far more than usual")

CAUSES: Final = {
    cause.code: cause
    for cause in (
        CHECK_FAILED,
        CHECK_WARNED,
        RUN_FAILED,
        RUN_OVERDUE,
        KEY_REFUSED,
        PARITY_EXCEEDED,
        WINDOW_MISSING,
        DATA_STALE,
        BUDGET_WARNING,
        BUDGET_EXCEEDED,
        SPEND_UNUSUAL,
    )
}

TOLD_BY_THEIR_OWN_CAUSE: Final = {
    "hermes_within_provider": PARITY_EXCEEDED,
    "bill_matches_usage": PARITY_EXCEEDED,
    "no_missing_windows": WINDOW_MISSING,
    "data_is_fresh": DATA_STALE,
}
"""Asset checks that only show findings and facts which have a cause of their own: they raise no ``check_warned``."""
