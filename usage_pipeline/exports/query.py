"""What an export is asked for, checked before anything is read."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.slugs import check_part
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS, OF_HERMES

FOCUS_VERSIONS: Final = ("1.2", "1.4")
"""The versions of the FinOps Open Cost and Usage Specification that can be written, the default last."""


class Kind(enum.StrEnum):
    """What a row of the export is."""

    EVENTS = "events"
    """One stored usage event, counted or not, with its part of the counted cost."""
    SUMMARY = "summary"
    """One reconciled cell, or one value of the dimensions of a cut."""
    FOCUS = "focus"
    """One charge in the words of FOCUS: one measure of one cell and its dimensions."""


class Grain(enum.StrEnum):
    """How a summary or FOCUS tells time apart."""

    DAY = "day"
    HOUR = "hour"


HOURLY: Final = tuple(name for name in DIMENSIONS if name != "day" and name not in OF_HERMES)
"""The dimensions that hold beside an hour: Hermes' own are of whole days."""


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """A question for an export: the half-open range of UTC days, and one workspace's slug or, None, every real one.

    ``by`` and ``group_by`` make a summary a cut; with neither it is the reconciled table. FOCUS tells its rows apart by
    fixed dimensions, so there ``by`` alone is taken.
    """

    kind: Kind
    first_day: date
    end_day: date
    workspace: str | None = None
    by: Grain | None = None
    group_by: tuple[str, ...] = ()
    focus_version: str = FOCUS_VERSIONS[-1]

    def checked(self) -> ExportQuery:
        """The query itself, if it can be answered.

        Raises :class:`InvalidInputError`: ``range_reversed``, ``slug_malformed``, ``options_conflict``,
        ``dimension_unknown``, ``dimension_twice``, ``focus_version_unknown``.
        """
        if self.end_day <= self.first_day:
            raise InvalidInputError(
                "range_reversed", "the range has no day", where="days", remedy="Give the first day before the last one."
            )
        if self.workspace is not None:
            check_part(self.workspace, where="workspace")
        if self.kind is not Kind.SUMMARY and self.group_by:
            raise _conflict(f"an export of {self.kind} tells its rows apart by itself and takes no --group-by")
        if self.kind is Kind.EVENTS and self.by is not None:
            raise _conflict("an export of events has a row for each event and takes no --by")
        if self.kind is Kind.FOCUS and self.focus_version not in FOCUS_VERSIONS:
            raise InvalidInputError(
                "focus_version_unknown",
                f"FOCUS {self.focus_version[:20]!r} cannot be written",
                where="--focus-version",
                remedy=f"Choose {' or '.join(FOCUS_VERSIONS)}.",
            )
        self._check_dimensions()
        return self

    def _check_dimensions(self) -> None:
        known: Sequence[str] = HOURLY if self.by is Grain.HOUR else DIMENSIONS
        for name in self.group_by:
            if name not in known:
                told = "is no dimension" if name not in DIMENSIONS else "is told of whole days, not of hours"
                raise InvalidInputError(
                    "dimension_unknown",
                    f"{name[:40]!r} {told}",
                    where="--group-by",
                    remedy=f"Choose of {', '.join(known)}.",
                )
        if len(set(self.group_by)) < len(self.group_by) or (self.by is Grain.DAY and "day" in self.group_by):
            raise InvalidInputError(
                "dimension_twice", "a dimension is named twice", where="--group-by", remedy="Name each dimension once."
            )

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of a cut, time first; empty for the reconciled table."""
        return (*([self.by.value] if self.by else ()), *self.group_by)

    @property
    def name(self) -> str:
        """What a file of it is called, without its ending: kind, workspace, the first and the last day, dimensions."""
        last = date.fromordinal(self.end_day.toordinal() - 1)
        kind = f"{self.kind}-{self.focus_version}" if self.kind is Kind.FOCUS else self.kind.value
        parts = [f"usage-{kind}", *([self.workspace] if self.workspace else ()), f"{self.first_day}", f"{last}"]
        return "-".join([*parts, *(name.replace("_", "-") for name in self.dimensions)])


def _conflict(what: str) -> InvalidInputError:
    return InvalidInputError("options_conflict", what, where="export", remedy="Leave the option out.")
