"""What importing the definitions costs beyond Dagster's own import: each measured in processes of their own.

A run imports the definitions once. ``python -X importtime`` would count a module for whoever imports it first, so two
processes are timed instead: one that imports Dagster as its runs do (``dagster api execute_run``), and one that then
imports the definitions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

BUDGET_S = 1.5
_TIMED = "import time; import {first}; middle = time.process_time(); import {then}; print(time.process_time() - middle)"


def measure_imports(rounds: int) -> Iterator[Figure]:
    """CPU seconds of importing ``usage_pipeline.definitions`` where Dagster is there already."""
    samples = [_seconds("dagster._cli.api", "usage_pipeline.definitions") for _ in range(rounds)]
    yield Figure("import of the definitions, beyond Dagster's", 0, 0, "s", samples, (), BUDGET_S)
    of_dagster = [_seconds("sys", "dagster._cli.api") for _ in range(rounds)]
    yield Figure("import of Dagster, as a run begins", 0, 0, "s", of_dagster)


def _seconds(first: str, then: str) -> float:
    answer = subprocess.run(
        [sys.executable, "-c", _TIMED.format(first=first, then=then)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    return float(answer.stdout)
