"""``python -m bench``: measures, prints a table, writes bench/results.json.

``--quick`` leaves the million rows out; ``--strict`` exits with 1 where a budget is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.ingest import measure_ingest
from bench.load import measure_loads
from bench.peak_memory import measure_peak_memory
from bench.reconciling import measure_reconciling
from bench.small_slices import measure_small_slices
from bench.store import Bench, open_bench

RESULTS = Path(__file__).with_name("results.json")
ROUNDS = 5
ROUNDS_OF_A_MILLION = 3
MILLION = 1_000_000


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="days of 10,000 and 100,000 rows only")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a budget is broken")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    figures: list[Figure] = []
    with open_bench() as bench:
        for measured in _measurements(bench, quick=options.quick):
            for figure in measured:
                figures.append(figure)
                console.print(f"[dim]{figure.name}: {figure.value:,.3f} {figure.unit}[/dim]")
    console.print(_table(figures))
    RESULTS.write_text(json.dumps({figure.name: _as_json(figure) for figure in figures}, indent=2) + "\n")
    return int(options.strict and any(figure.ok is False for figure in figures))


def _measurements(bench: Bench, *, quick: bool) -> Iterator[Iterator[Figure]]:
    yield measure_small_slices(bench, ROUNDS)
    yield measure_ingest(bench, 100_000, 4_000, ROUNDS)
    yield measure_loads(bench, 10_000, ROUNDS)
    yield measure_loads(bench, 100_000, ROUNDS)
    if quick:
        yield measure_reconciling(bench, 100_000, 4_000, ROUNDS)
        yield measure_peak_memory(bench, 100_000)
        return
    yield measure_loads(bench, MILLION, ROUNDS_OF_A_MILLION)
    yield measure_reconciling(bench, MILLION, 40_000, 1)
    yield measure_peak_memory(bench, MILLION)


def _table(figures: list[Figure]) -> Table:
    table = Table(title="Medians; the reference is a bare COPY of the same rows, taken beside each measurement")
    for heading, justify in (
        ("what", "left"),
        ("rows", "right"),
        ("MB", "right"),
        ("figure", "right"),
        ("spread", "right"),
        ("reference", "right"),
        ("ratio", "right"),
        ("budget", "right"),
        ("ok", "center"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.rows:,}",
            f"{figure.size / 1e6:,.1f}" if figure.size else "",
            f"{figure.value:,.3f} {figure.unit}",
            f"{min(figure.samples):,.3f}–{max(figure.samples):,.3f}" if len(figure.samples) > 1 else "",
            "" if figure.reference is None else f"{figure.reference:,.3f} s",
            "" if figure.ratio is None else f"{figure.ratio:,.2f} ×",
            "" if figure.budget is None else f"{figure.budget:g} {'×' if figure.references else figure.unit}",
            {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[figure.ok],
        )
    return table


def _as_json(figure: Figure) -> dict[str, object]:
    return {
        "value": figure.value,
        "unit": figure.unit,
        "reference": figure.reference,
        "ratio": figure.ratio,
        "budget": figure.budget,
        "ok": figure.ok,
        "rows": figure.rows,
        "bytes": figure.size,
        "samples": list(figure.samples),
    }


if __name__ == "__main__":
    sys.exit(main())
