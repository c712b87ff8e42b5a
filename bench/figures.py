"""What a measurement is, and how several become one: medians, their spread, and the ratio to a bare COPY."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from statistics import median

DAY = date(2026, 4, 1)
"""The made-up UTC day."""

NOW = datetime(2026, 4, 2, 12, tzinfo=UTC)
"""When it is loaded: the next noon, while the day still settles."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``value`` is in ``unit`` (s, MiB), the median of ``samples``; ``reference`` is the bare
    COPY of the same rows in seconds, and ``ratio`` the median of the rounds' own ratios. ``budget`` limits the ratio,
    or the value where there is no reference; None where nothing was promised.
    """

    name: str
    rows: int
    size: int
    unit: str
    samples: Sequence[float]
    references: Sequence[float] = ()
    budget: float | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def reference(self) -> float | None:
        """The bare COPY's median, in seconds."""
        return median(self.references) if self.references else None

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of figure : bare COPY."""
        if not self.references:
            return None
        return median(one / other for one, other in zip(self.samples, self.references, strict=True))

    @property
    def ok(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        if self.budget is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured <= self.budget


@dataclass(slots=True)
class Laps:
    """Seconds by name, a list for each, one entry a round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time the block."""
        began = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
