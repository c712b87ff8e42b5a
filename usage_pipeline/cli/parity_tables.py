"""The outcome of a comparison for people: totals, the worst differences, what was not compared, one verdict."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from usage_pipeline.cli.output import print_line, print_note, print_table
from usage_pipeline.parity.check import ParityReport
from usage_pipeline.parity.comparison import Difference, FamilyComparison, worst
from usage_pipeline.parity.file_reading import Number
from usage_pipeline.parity.report import number_text
from usage_pipeline.parity.windows import Window, in_words

SHOWN_MAX: Final = 20
"""How many differences, and how many windows that are not covered, are shown; the JSON report has all."""

_SIDES: Final = ("store", "file", "difference")


def print_parity(report: ParityReport) -> None:
    """Print the tables, the notes, and the verdict as the last line."""
    for _, where, what in report.notes:
        print_note(f"{where}: {what}")
    print_table(
        f"{report.account.provider} {report.kind} of {report.account.account}",
        ("report", "measure", *_SIDES),
        [
            (one.family, name, _number(figure.here), _number(figure.there), _number(figure.difference))
            for one in report.families
            for name, figure in one.totals.items()
        ],
        right=_SIDES,
    )
    _print_differences([(one, found) for one in report.families for found in one.differences])
    for one in report.families:
        _print_not_compared(one)
    print_line(_verdict(report))


def _print_differences(found: list[tuple[FamilyComparison, Difference]]) -> None:
    if not found:
        return
    of_family = {id(difference): one for one, difference in found}
    shown = worst([(one.family, difference) for one, difference in found], SHOWN_MAX)
    print_table(
        f"Differences ({len(found)}), the largest first",
        ("window", "what", "where", "measure", *_SIDES, "reason"),
        [
            (
                in_words(difference.window),
                difference.status.replace("_", " "),
                " ".join(value for value in difference.dimensions if value) or of_family[id(difference)].family,
                name,
                _number(figure.here),
                _number(figure.there),
                _number(figure.difference),
                difference.reason,
            )
            for _, difference in shown
            for name, figure in difference.figures.items()
        ],
        right=_SIDES,
    )
    if len(found) > SHOWN_MAX:
        print_line(f"… and {len(found) - SHOWN_MAX} more; --json has all.")


def _print_not_compared(one: FamilyComparison) -> None:
    by_reason: dict[str, list[Window]] = {}
    for window, why in one.not_covered:
        by_reason.setdefault(why, []).append(window)
    for why, windows in by_reason.items():
        print_line(f"{one.family}: {why}: {_listed(windows)}")
    if one.cut:
        print_line(f"{one.family}: not compared, the range has only a part of them: {_listed(one.cut)}")
    if one.outside:
        print_line(f"{one.family}: {one.outside} windows of the file are outside of the range")
    if one.provisional:
        print_line(
            f"{one.family}: {one.provisional} of {len(one.windows)} windows are provisional, and may still change"
        )
    if one.within_tolerance:
        print_line(f"{one.family}: {one.within_tolerance} rows differ by no more than the tolerance")
    for what, name, why in one.left_out:
        print_line(f"{one.family}: not compared by {what} {name}: {why}")


def _listed(windows: list[Window]) -> str:
    spans: list[Window] = []
    for window in windows:
        if spans and spans[-1].end_s == window.start_s:
            spans[-1] = Window(spans[-1].start_s, window.end_s)
        else:
            spans.append(window)
    words = ", ".join(in_words(span) for span in spans[:SHOWN_MAX])
    return words if len(spans) <= SHOWN_MAX else f"{words} and {len(spans) - SHOWN_MAX} more"


def _verdict(report: ParityReport) -> str:
    rows = sum(one.equal_rows for one in report.families)
    if report.is_equal:
        return f"EQUAL: {rows} rows agree."
    found = [difference.status for one in report.families for difference in one.differences]
    counts = [(found.count(status), status.replace("_", " ")) for status in dict.fromkeys(sorted(found))]
    missing = sum(len(one.not_covered) for one in report.families)
    parts = [f"{number} {words}" for number, words in counts]
    parts += [f"{missing} windows that the store does not cover"] if missing else []
    return f"DIFFERENT: {', '.join(parts)}; {rows} rows agree."


def _number(value: Number) -> str:
    if isinstance(value, Decimal) and value != value.to_integral_value():
        return number_text(value)
    return f"{int(value):,}"
