"""Windows of time, and the grid on which a file and the store are compared: the finest that both can tell.

A window is half-open, in epoch seconds. The store has *atoms*: hours where a day was pulled in hours, else UTC days.
A file's windows are sums of atoms, or lie within one; where neither holds, the two cannot be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, tzinfo
from typing import Final, NamedTuple

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.parity.cells import HOUR_S, day_window

DAY_S: Final = 86400


class Window(NamedTuple):
    """From ``start_s`` to before ``end_s``, seconds since 1970-01-01 UTC."""

    start_s: int
    end_s: int

    @property
    def start(self) -> datetime:
        """The first instant, UTC."""
        return datetime.fromtimestamp(self.start_s, UTC)

    @property
    def end(self) -> datetime:
        """The instant after the last, UTC."""
        return datetime.fromtimestamp(self.end_s, UTC)

    def contains(self, other: Window) -> bool:
        """Whether ``other`` lies within."""
        return self.start_s <= other.start_s and other.end_s <= self.end_s

    def meets(self, other: Window) -> bool:
        """Whether the two share an instant."""
        return self.start_s < other.end_s and other.start_s < self.end_s

    def folded(self) -> Window:
        """The UTC hour that the window lies in, else the window itself."""
        hour = self.start_s - self.start_s % HOUR_S
        return Window(hour, hour + HOUR_S) if self.end_s <= hour + HOUR_S else self

    def days(self) -> list[date]:
        """The UTC days that it touches."""
        first, last = self.start_s // DAY_S, (self.end_s - 1) // DAY_S
        return [day_of(number * DAY_S) for number in range(first, last + 1)]


def day_of(instant_s: int) -> date:
    """The UTC day of an instant."""
    return datetime.fromtimestamp(instant_s, UTC).date()


def utc_day(day: date) -> Window:
    """A UTC day as a window."""
    return Window(*day_window(day, UTC))


def in_words(window: Window) -> str:
    """A window for people: the day alone where it is a UTC day."""
    if window.end_s - window.start_s == DAY_S and window.start_s % DAY_S == 0:
        return str(window.start.date())
    return f"{window.start:%Y-%m-%dT%H:%MZ} to {window.end:%Y-%m-%dT%H:%MZ}"


class Grid:
    """Which window of the comparison a window of the file, or an atom of the store, falls into.

    ``atom_seconds`` tells how wide the store's rows of a UTC day are. Raises :class:`InvalidInputError`
    ``windows_cross`` where a file's window cuts an atom.
    """

    def __init__(
        self, windows: Iterable[Window], atom_seconds: Callable[[date], int], zone: tzinfo, *, where: str
    ) -> None:
        self._atom_seconds = atom_seconds
        self._zone = zone
        self._where = where
        self._memo: dict[int, Window] = {}
        self._placed = {window: self._place(window) for window in windows}
        self._wide = sorted(set(self._placed.values()))
        self._starts = [window.start_s for window in self._wide]
        self._by_calendar_days = any(one.end_s - one.start_s > HOUR_S for one in self._placed)

    def of_file(self, window: Window) -> Window:
        """The window of the comparison for one of the file's."""
        return self._placed[window]

    def of_store(self, instant_s: int) -> Window:
        """The window of the comparison for the store's atom at an instant."""
        known = self._memo.get(instant_s)
        if known is None:
            known = self._memo[instant_s] = self._around(self.atom(instant_s))
        return known

    def windows_of(self, span: Window) -> list[Window]:
        """Every window of the comparison that meets a span, in order."""
        found: dict[Window, None] = {}
        at = self.of_store(span.start_s).start_s
        while at < span.end_s:
            window = self.of_store(at)
            found[window] = None
            at = window.end_s
        return list(found)

    def atom(self, instant_s: int) -> Window:
        """The store's atom at an instant."""
        width = self._atom_seconds(day_of(instant_s))
        start = instant_s - instant_s % width
        return Window(start, start + width)

    def _place(self, window: Window) -> Window:
        atom = self.atom(window.start_s)
        if atom.contains(window):
            return atom
        if window.start_s == atom.start_s and self.atom(window.end_s).start_s == window.end_s:
            return window
        day = self._atom_seconds(day_of(window.start_s)) == DAY_S or self._atom_seconds(day_of(window.end_s)) == DAY_S
        stored = "UTC days" if day else "whole UTC hours"
        raise InvalidInputError(
            "windows_cross",
            f"its window {in_words(window)} cuts the store's, which are {stored}",
            where=self._where,
            remedy="Export the file in UTC, or state its --timezone if this reads it wrong.",
        )

    def _around(self, atom: Window) -> Window:
        """The file's window that holds the atom; where the file has none, the day that it would have, or the atom."""
        number = bisect_right(self._starts, atom.start_s) - 1
        if number >= 0 and self._wide[number].contains(atom):
            return self._wide[number]
        if not self._by_calendar_days:
            return atom
        local = datetime.fromtimestamp(atom.start_s, self._zone).date()
        day = Window(*day_window(local, self._zone))
        return day if day.contains(atom) and self._is_free(day) else atom

    def _is_free(self, window: Window) -> bool:
        number = bisect_right(self._starts, window.start_s)
        before = self._wide[number - 1] if number else None
        after = self._wide[number] if number < len(self._wide) else None
        return not (before and before.meets(window)) and not (after and after.meets(window))
