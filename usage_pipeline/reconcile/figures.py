"""Figures by measure: what is added, compared and conserved. None is "not reported", never 0; all else are ints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from usage_pipeline.measures import CACHE_WRITES, LEVELS, RECONCILED_MEASURES, TOKEN_CLASSES

Figures = Mapping[str, int | None]
"""One value per name of ``measures.RECONCILED_MEASURES``; a missing name is None."""

NOTHING: Figures = {}

CACHE_WRITE_GROUP = "cache_write"
COMPARED: tuple[str, ...] = (
    *(name for name in RECONCILED_MEASURES if name not in CACHE_WRITES and name not in LEVELS),
    CACHE_WRITE_GROUP,
)
"""What the two sides are compared by: every measure but the levels, the cache writes as one group (Hermes does not
split them).
"""

COMPARED_TOKENS: tuple[str, ...] = (*(n for n in TOKEN_CLASSES if n not in CACHE_WRITES), CACHE_WRITE_GROUP)


def add(*parts: Figures) -> dict[str, int | None]:
    """The sum by measure: None where no part reports the measure."""
    total: dict[str, int | None] = {}
    for part in parts:
        add_to(total, part)
    return total


def add_to(total: dict[str, int | None], part: Figures) -> None:
    """Add ``part`` to ``total`` in place: for sums over many rows."""
    for name, value in part.items():
        if value is not None:
            total[name] = (total.get(name) or 0) + value
        else:
            total.setdefault(name, None)


def compared(figures: Figures, name: str) -> int | None:
    """A compared measure's value: the group's sum for the cache writes."""
    if name != CACHE_WRITE_GROUP:
        return figures.get(name)
    values = [figures[part] for part in CACHE_WRITES if figures.get(part) is not None]
    return sum(value for value in values if value is not None) if values else None


def parts_of(name: str) -> tuple[str, ...]:
    """The measures that a compared one stands for: every lifetime for the cache writes, else itself."""
    return CACHE_WRITES if name == CACHE_WRITE_GROUP else (name,)


def any_positive(figures: Figures) -> bool:
    """Whether anything at all was used."""
    return any(figures.values())


def fill_cache_writes(reported: Figures, amount: int) -> Iterator[tuple[str, int]]:
    """Spread ``amount`` over the lifetimes that ``reported`` has, in the order 5m, 30m, 1h, 12h, unsplit."""
    left = amount
    for part in CACHE_WRITES:
        room = reported.get(part)
        if room is None:
            continue
        taken = min(room, left)
        left -= taken
        yield part, taken
    assert left == 0, "explained cache writes exceed the provider's"
