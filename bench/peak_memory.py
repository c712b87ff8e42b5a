"""The peak memory of one load: a process of its own that does nothing else, as the operating system tells it.

Run by the bench as ``python -m bench.peak_memory URL``; prints bytes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bench.figures import DAY, NOW, Figure
from bench.pages import MadeUpDay
from bench.store import Bench, CannedAnswers
from usage_pipeline.ledger.provider_keys import list_provider_keys
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.normalise.provider_days import normalise_provider_days
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER

BUDGET_MIB = 600.0


def measure_peak_memory(bench: Bench, rows: int) -> Iterator[Figure]:
    """Peak memory of loading a day into an empty slice, and of amending a hundredth of it, in MiB."""
    day = MadeUpDay(rows)
    for name, told in (("empty slice", day), ("1 % changed", day.restated(every=100))):
        fetched = bench.fetch(CannedAnswers(told))
        bench.record(fetched)
        answer = subprocess.run(
            [sys.executable, "-m", "bench.peak_memory", bench.url],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        size = sum(page.body_bytes for page in fetched.pages)
        yield Figure(
            f"{rows:,} rows: peak memory, {name}", rows, size, "MiB", [int(answer.stdout) / 2**20], (), BUDGET_MIB
        )
    bench.empty()


def peak_bytes() -> int:
    """The most memory that this process ever held.

    Linux's ru_maxrss of a process that another one started begins with the starter's own size: VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(url: str) -> None:
    """Load the day that waits in the store at ``url``."""
    engine = connect_engine(url)
    with engine.begin() as connection:
        (key,) = list_provider_keys(connection)
    normalise_provider_days(engine, key, PROVIDER, COMPLETIONS, [DAY], NOW, timedelta(hours=72))
    engine.dispose()
    print(peak_bytes())


if __name__ == "__main__":
    main(sys.argv[1])
