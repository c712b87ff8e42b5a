"""The cells of an export: exact counts, exact amounts, and the window of time that a row is about.

In: the text of a cell. Out: whole numbers, decimals, epoch seconds. What cannot be read raises ``ValueError`` with
words that follow "the column is": the caller knows the file and the line.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Literal

BIGINT_MAX: Final = 2**63 - 1
HOUR_S: Final = 3600
_EXPONENT_MAX: Final = 60
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_UNIX: Final = re.compile(r"([0-9]{9,10})(\.0*)?", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

TimeForm = Literal["interval", "named", "day", "instant"]
"""How a row tells its window: ``interval`` in a start and an end column; ``named`` by its beginning (a date is that
day, a time is the hour that begins then); ``day`` by any time of the day; ``instant`` of something that happened, which
falls into its hour."""


def read_count(cell: str) -> int:
    """A count that may be written as a float (``3.0``), exact; 0 or more, at most what a bigint holds."""
    if cell.isascii() and cell.isdigit() and len(cell) < 19:
        return int(cell)
    value = read_amount(cell)
    if value != value.to_integral_value():
        raise ValueError("not a whole number")
    if not 0 <= value <= BIGINT_MAX:
        raise ValueError("no count from 0 to 2^63-1")
    return int(value)


def read_amount(cell: str) -> Decimal:
    """A decimal number as it is written, never rounded."""
    if not _NUMBER.fullmatch(cell):
        raise ValueError("no number")
    value = Decimal(cell)
    if abs(value.adjusted()) > _EXPONENT_MAX:
        raise ValueError("out of range")
    return value


def read_window(form: TimeForm, start: str, end: str, zone: tzinfo) -> tuple[int, int]:
    """The half-open window of a row in epoch seconds. Times that name no offset are local times of ``zone``."""
    begins = _read_time(start)
    if form == "instant":
        at = _epoch(begins, zone)
        return at - at % HOUR_S, at - at % HOUR_S + HOUR_S
    if form == "day" or (form == "named" and _DAY.fullmatch(start)):
        return day_window(begins.astimezone(zone).date() if begins.tzinfo else begins.date(), zone)
    ends = _read_time(end) if form == "interval" else begins + timedelta(hours=1)
    if begins.tzinfo is None and _is_ambiguous(begins, zone) and ends - begins < timedelta(hours=1):
        raise ValueError("a local time that comes twice when clocks go back")
    window = _epoch(begins, zone), _epoch(ends, zone)
    if window[0] >= window[1]:
        raise ValueError("not before the end of its window")
    return window


def day_window(day: date, zone: tzinfo) -> tuple[int, int]:
    """A calendar day of a time zone, in epoch seconds: 23 or 25 hours where clocks change."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo) -> int:
    # Where clocks skip midnight, the day begins with the change: fold=0 means just that instant.
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _read_time(cell: str) -> datetime:
    if _UNIX.fullmatch(cell):
        return datetime.fromtimestamp(int(cell.split(".")[0]), UTC)
    try:
        # A space in place of the T, as spreadsheets and Python write it, is read too.
        return datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError("no date, ISO time or Unix time in seconds") from None


def _epoch(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        local = moment.replace(tzinfo=zone)
        if _offset(local) < _offset(local.replace(fold=1)):
            raise ValueError("a local time that clocks skip when they go forward")
        moment = local
    return int(moment.timestamp() // 1)


def _is_ambiguous(moment: datetime, zone: tzinfo) -> bool:
    local = moment.replace(tzinfo=zone)
    return _offset(local) > _offset(local.replace(fold=1))


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None, "a time of a zone has an offset"
    return offset
