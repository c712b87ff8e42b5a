"""``make soak``: random histories by the thousand, the package beside the naive model, until one differs.

In: how many, over how many processes, and a seed. Out: a line of progress at least every half a minute; a history that
differs is made small, told in words, kept in the database of examples for the next run, and ends the run with exit
code 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from time import monotonic
from typing import Any

from hypothesis import HealthCheck, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from sqlalchemy.engine import make_url

from usage_pipeline.ledger import embedded_postgres, migrate, server
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.reconcile.comparing import differences, differing_orders, played, world
from usage_pipeline_tests.reconcile.histories import Story, stories
from usage_pipeline_tests.reconcile.telling import story_in_words
from usage_pipeline_tests.scripted.scenario import TELEMETRY, Scenario

ROUND = 250
"""Examples that are tried under one seed: hypothesis remembers what it tried, so rounds bound its memory."""

SECONDS_BETWEEN_LINES = 30
EXAMPLES = Path(".hypothesis") / "soak"


class Differs(AssertionError):  # noqa: N818 - it is what was looked for
    """A history about which the package and the model differ, told in words."""


def tried(scenario: Scenario, story: Story, what: str, shuffle: random.Random) -> None:
    """Play a story and hold it against ``what``. Raises :class:`Differs`."""
    if what == "order":
        found = differing_orders(scenario, story, shuffle)
    else:
        stage = played(scenario, story)
        found = differences(stage)
        before = scenario.contents(*TELEMETRY) if what == "again" else {}
        if before:
            stage.settle()
            after = scenario.contents(*TELEMETRY)
            found += [f"reconciled again, and {name} changed" for name in before if before[name] != after[name]]
    if found:
        raise Differs("\n".join([story_in_words(story), "", *found]))


def soak_round(scenario: Scenario, examples: int, number: int, billed: bool, done: Callable[[], None]) -> None:
    """Try so many examples under a seed; the smallest that differs is raised."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=DirectoryBasedExampleDatabase(EXAMPLES),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(
        stories(billed=billed),
        st.sampled_from(("table", "table", "table", "table", "again", "order")),
        st.randoms(use_true_random=False),
    )
    def soaked(story: Story, what: str, shuffle: random.Random) -> None:
        done()
        tried(scenario, story, what, shuffle)

    soaked()


def work(worker: int, database: str, examples: int, first_seed: int, told: Queue[tuple[int, str, str]]) -> None:
    """One process: a third of its rounds with bills. Tells ``done`` per example, and at the end why it ended."""
    left, number = examples, first_seed + 1_000_000 * worker
    try:
        with tempfile.TemporaryDirectory() as home:
            while left:
                now = min(left, ROUND)
                billed = number % 3 == 2
                with world(database, Path(home), billed=billed) as scenario:
                    soak_round(scenario, now, number, billed, lambda: told.put((worker, "done", "")))
                left, number = left - now, number + 1
        told.put((worker, "ended", ""))
    except Differs as found:
        told.put((worker, "differs", f"seed {number}\n{found}"))
    except BaseException:  # noqa: BLE001 - whatever ended the process is told, and fails the run
        told.put((worker, "broke", f"seed {number}\n{traceback.format_exc()}"))


def main() -> int:
    """Run the soak. The exit code is 0 where all agreed, 1 where anything differed or broke."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    first_seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    say(f"{asked.examples} random histories over {asked.workers} processes, --seed {first_seed}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "usage-home"
        with server.acquire({"USAGE_HOME": str(home)}) as embedded:
            databases = [_database(embedded.url, worker) for worker in range(asked.workers)]
            code = _run(databases, asked.examples, first_seed)
        embedded_postgres.erase(home)
    return code


def _run(databases: list[str], examples: int, first_seed: int) -> int:
    context: Any = multiprocessing.get_context("spawn")
    told = context.Queue()
    shares = [examples // len(databases) + (n < examples % len(databases)) for n in range(len(databases))]
    workers = [
        context.Process(target=work, args=(n, database, share, first_seed, told), daemon=True)
        for n, (database, share) in enumerate(zip(databases, shares, strict=True))
    ]
    for process in workers:
        process.start()
    try:
        return _listen(told, workers)
    finally:
        for process in workers:
            process.terminate()
            process.join()


def _listen(told: Queue[tuple[int, str, str]], workers: list[Any]) -> int:
    """Read what the processes tell until all ended, or one has found something or died."""
    running = len(workers)
    started_at = line_at = monotonic()
    done = 0
    while running:
        try:
            worker, what, text = told.get(timeout=1)
        except queue.Empty:
            worker, what, text = -1, "", ""
            if any(process.exitcode for process in workers):
                worker, what, text = -1, "broke", "a process died without a word"
        done += what == "done"
        running -= what == "ended"
        if what in ("differs", "broke"):
            say(f"after {done} histories process {worker} {what}, {text}")
            return 1
        if monotonic() - line_at >= SECONDS_BETWEEN_LINES:
            line_at = monotonic()
            say(f"{done} histories tried after {line_at - started_at:.0f} s")
    say(f"{done} histories agree, {monotonic() - started_at:.0f} s")
    return 0


def _database(url: str, worker: int) -> str:
    name = f"soak_{worker}"
    engine = connect_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()
    made = make_url(url).set(database=name).render_as_string(hide_password=False)
    migrate.upgrade(made)
    return made


def say(line: str) -> None:
    """A line for the person who waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
