"""``python -m bench``: measures, prints a table, writes bench/results.json and the tables of docs/performance.md.

``--quick`` leaves the million rows out and writes nothing; ``--strict`` exits with 1 where a budget is broken.
``--history MILLIONS`` and ``--dagster`` add what takes long.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bench.bloat import measure_bloat
from bench.figures import Figure
from bench.growth import draw, microseconds_a_row
from bench.history import measure_history
from bench.imports import measure_imports
from bench.ingest import measure_ingest
from bench.load import measure_loads
from bench.peak_memory import measure_peak_memory
from bench.peers import measure_peers, peers_are_installed
from bench.reading import measure_reading
from bench.reconciling import measure_reconciling
from bench.small_slices import measure_small_slices
from bench.store import Bench, open_bench
from bench.told import as_table, write_page

RESULTS = Path(__file__).with_name("results.json")
ROUNDS = 5
ROUNDS_OF_A_MILLION = 3
MILLION = 1_000_000
KEYS = 20
YEAR = 365


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="days of 10,000 and 100,000 rows only; nothing is written")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a budget is broken")
    parser.add_argument("--history", type=int, default=0, metavar="MILLIONS", help="a re-pull beside so many events")
    parser.add_argument("--dagster", action="store_true", help="a year of twenty keys through Dagster")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    figures: list[Figure] = []
    with open_bench() as bench:
        for measured in _measurements(bench, options):
            for figure in measured:
                figures.append(figure)
                console.print(f"[dim]{figure.name}: {figure.value:,.3f} {figure.unit}[/dim]")
    console.print(as_table(figures))
    if not peers_are_installed():
        console.print("The peers were left out: they come with `make install-bench`.")
    if not options.quick:
        growth = microseconds_a_row(figures)
        RESULTS.write_text(json.dumps({figure.name: _as_json(figure) for figure in figures}, indent=2) + "\n")
        write_page(figures, growth)
        draw(growth)
    return int(options.strict and any(figure.ok is False for figure in figures))


def _measurements(bench: Bench, options: argparse.Namespace) -> Iterator[Iterator[Figure]]:
    sizes = [(10_000, 400, ROUNDS), (100_000, 4_000, ROUNDS)]
    if not options.quick:
        sizes.append((MILLION, 40_000, ROUNDS_OF_A_MILLION))
    largest = sizes[-1][0]
    yield measure_imports(ROUNDS)
    yield measure_small_slices(bench, ROUNDS)
    yield measure_ingest(bench, 100_000, 4_000, ROUNDS)
    for rows, cells, rounds in sizes:
        yield measure_loads(bench, rows, rounds)
        yield measure_reconciling(bench, rows, cells, rounds)
        yield measure_reading(bench, rows)
        if peers_are_installed():
            yield measure_peers(bench, rows)
    yield measure_peak_memory(bench, largest)
    yield measure_bloat(bench, 100_000)
    if options.history:
        yield measure_history(bench, 100_000, options.history * MILLION, ROUNDS_OF_A_MILLION)
    if options.dagster:
        from bench.dagster_runs import measure_dagster  # its import takes seconds

        yield measure_dagster(YEAR, KEYS)


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
