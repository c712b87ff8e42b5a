"""How figures grow with the number of rows: a table, and bench/growth.svg where pygal is installed.

In come the figures of a bench; out come those that were taken at several sizes, in microseconds a row. A figure whose
microseconds a row do not rise grows linearly or better.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from bench.figures import Figure

PICTURE = Path(__file__).with_name("growth.svg")
_SIZED = re.compile(r"([\d,]+) (rows|events into [\d,]+ cells)[:,] (.+)")


def microseconds_a_row(figures: Iterable[Figure]) -> dict[str, dict[int, float]]:
    """By what was measured and number of rows; what was taken at one size only is left out."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for one in figures:
        sized = _SIZED.fullmatch(one.name)
        if sized and one.unit == "s" and one.rows:
            what = sized[3] if sized[2] == "rows" else f"reconciling: {sized[3]}"
            found[what][one.rows] = 1e6 * one.value / one.rows
    return {what: dict(sorted(sizes.items())) for what, sizes in found.items() if len(sizes) > 1}


def draw(growth: Mapping[str, Mapping[int, float]]) -> bool:
    """Draw the growth; False where pygal is not installed."""
    if find_spec("pygal") is None:
        return False
    import pygal

    sizes = sorted({size for by_size in growth.values() for size in by_size})
    chart = pygal.Line(
        title="Microseconds a row: level is linear",
        x_title="rows",
        logarithmic=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        width=900,
        height=560,
        js=[],
        disable_xml_declaration=True,
    )
    chart.x_labels = [f"{size:,}" for size in sizes]
    for what, by_size in growth.items():
        chart.add(what, [by_size.get(size) for size in sizes])
    PICTURE.write_text(chart.render())
    return True
