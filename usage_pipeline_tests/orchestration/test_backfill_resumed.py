"""A backfill that was stopped goes on where it was: what was pulled whole is not asked for again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from usage_pipeline.errors import InvalidInputError, TransientError
from usage_pipeline.ledger.backfills import held, unfinished_backfills
from usage_pipeline.ledger.server import DatabaseServer
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, OPENAI, day
from usage_pipeline_tests.orchestration.stores import Store, store_on

FROM, TO = date(2025, 3, 1), date(2025, 3, 5)
CHUNKS = (date(2025, 3, 1), date(2025, 3, 3), date(2025, 3, 5))
"""Two runs of two days, and one of a day."""
USAGE = {OPENAI: "/v1/organization/usage/completions", ANTHROPIC: "/v1/organizations/usage_report/messages"}


@pytest.fixture
def store(
    environ: dict[str, str], set_up_instance: Path, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """The store that is interrupted, with a key of each provider."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with store_on(environ, set_up_instance, sandbox) as opened:
        yield opened


def asked(sandbox: SandboxServer) -> set[tuple[str, date]]:
    """Which key's usage was asked for, and from which day on."""
    found = set()
    for one in sandbox.requests:
        query = dict(one.query)
        if one.path == USAGE[OPENAI]:
            found.add((OPENAI, datetime.fromtimestamp(int(query["start_time"]), UTC).date()))
        elif one.path == USAGE[ANTHROPIC]:
            found.add((ANTHROPIC, date.fromisoformat(query["starting_at"][:10])))
    return found


def failing(sandbox: SandboxServer, path: str) -> None:
    sandbox.switch(faults=[{"kind": "status", "path": path, "status": 500, "times": None}])


@pytest.fixture
def chunks_of_a_day(instance_in_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one day."""
    monkeypatch.setattr("usage_pipeline.orchestration.backfill.PULL_DAYS_MAX", 1)


def test_a_killed_backfill_goes_on_and_ends_like_one_that_nobody_disturbed(
    store: Store,
    sandbox: SandboxServer,
    database_server: DatabaseServer,
    migrated_template: str,
    set_up_instance: Path,
    tmp_path: Path,
) -> None:
    with store.command("--from", str(FROM), "--to", str(TO), run_days=2) as killed:
        assert killed.stderr is not None
        for line in killed.stderr:
            if line.startswith(f"raw_provider_pulls {OPENAI}, {CHUNKS[1]} to "):
                sandbox.switch(faults=[{"kind": "slow", "path": "/v1/organizations/*", "delay_s": 60, "times": None}])
            if line.startswith(f"pulling {ANTHROPIC}, {CHUNKS[1]} to "):
                os.kill(killed.pid, signal.SIGKILL)
                break
        assert killed.wait() == -signal.SIGKILL
    assert asked(sandbox) >= {(OPENAI, CHUNKS[0]), (ANTHROPIC, CHUNKS[0]), (OPENAI, CHUNKS[1])}
    sandbox.switch(faults=[])
    sandbox.forget_requests()

    with store.command("--resume", run_days=2) as resumed:
        out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert out.splitlines()[0] == "3 of 6 pulls were done before"
    assert asked(sandbox) == {(ANTHROPIC, CHUNKS[1]), (OPENAI, CHUNKS[2]), (ANTHROPIC, CHUNKS[2])}
    assert f"reconciling, {CHUNKS[0]}" not in err  # done before, and none of its pulls was made again
    assert f"reconciling, {CHUNKS[1]}" in err
    with open_instance(store.environ) as instance:
        statuses = {run.status for run in instance.get_runs()}
    assert statuses <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}  # none goes on for ever
    assert store.unfinished() == 0

    with _database(database_server, template=migrated_template) as url:
        environ = {**store.environ, "USAGE_DATABASE_URL": url, "USAGE_HOME": str(tmp_path / "undisturbed")}
        with store_on(environ, set_up_instance, sandbox) as undisturbed:
            assert undisturbed.run(FROM, TO + timedelta(days=1)).ok
            expected = undisturbed.figures()
    assert all(expected[table] for table in ("usage_events", "billed_costs", "reconciled_usage"))
    assert store.figures() == expected


def test_what_failed_is_tried_again_and_only_its_days_are_reconciled_again(
    store: Store, sandbox: SandboxServer, chunks_of_a_day: None
) -> None:
    sandbox.switch(faults=[{"kind": "status", "path": USAGE[OPENAI], "status": 500, "first_request": 2, "times": 1}])
    assert [(one.key, one.first_day) for one in store.run(day(0), day(3)).failed] == [(OPENAI, day(1))]
    sandbox.forget_requests()
    outcome = store.resume()
    assert outcome.ok
    assert asked(sandbox) == {(OPENAI, day(1))}
    assert {(one.stage, one.first_day) for one in outcome.stages} == {
        (stage, day(1))
        for stage in ("raw_provider_pulls", "hermes_rollups", "usage_events", "billed_costs", "reconciled_usage")
    }
    assert (outcome.pulls_done_before, outcome.pulls) == (5, 6)
    assert next(outcome.lines()) == "5 of 6 pulls were done before"
    told = outcome.as_json()
    assert (told["pulls_done_before"], told["pulls"]) == (5, 6)
    with pytest.raises(InvalidInputError, match="nothing_to_resume"):
        store.resume()


@pytest.mark.usefixtures("instance_in_memory")
def test_a_backfill_that_fails_again_can_go_on_again(store: Store, sandbox: SandboxServer) -> None:
    failing(sandbox, "/v1/organization/*")
    assert store.run(day(0), day(1)).failed
    assert store.resume().failed
    sandbox.switch(faults=[])
    assert store.resume().ok


@pytest.mark.parametrize(
    ("stop_before", "pulls_before", "reconciled"),
    [
        (f"raw_provider_pulls {OPENAI}, {day(0)}", 1, [day(0), day(1)]),
        (f"reconciling, {day(0)}", 2, [day(0), day(1)]),
        (f"reconciled_usage, {day(0)}", 2, [day(1)]),
        (f"reconciled_usage, {day(1)}", 4, []),
    ],
)
def test_wherever_it_was_interrupted_the_rest_is_done(
    store: Store, chunks_of_a_day: None, stop_before: str, pulls_before: int, reconciled: list[date]
) -> None:
    store.stop_before = stop_before
    with pytest.raises(KeyboardInterrupt):
        store.run(day(0), day(2))
    store.stop_before = None
    outcome = store.resume()
    assert outcome.ok
    assert outcome.pulls_done_before == pulls_before
    assert sum(one.stage == "raw_provider_pulls" for one in outcome.stages) == 4 - pulls_before
    assert [one.first_day for one in outcome.stages if one.stage == "reconciled_usage"] == reconciled
    assert store.unfinished() == 0


def test_only_the_keys_of_the_backfill_are_gone_on_with(
    store: Store, sandbox: SandboxServer, chunks_of_a_day: None
) -> None:
    store.stop_before = f"pulling {ANTHROPIC}, {day(1)}"
    with pytest.raises(KeyboardInterrupt):
        store.run(day(0), day(2), ANTHROPIC)
    store.stop_before = None
    sandbox.forget_requests()
    outcome = store.resume()
    assert outcome.keys == (ANTHROPIC,)
    assert asked(sandbox) == {(ANTHROPIC, day(1))}


def test_a_pull_that_was_turned_off_is_made_when_it_is_on_again(
    store: Store, sandbox: SandboxServer, chunks_of_a_day: None
) -> None:
    store.environ["USAGE_DISABLED_PROVIDERS"] = "openai"
    store.stop_before = f"reconciling, {day(1)}"
    with pytest.raises(KeyboardInterrupt):
        store.run(day(0), day(2))
    del store.environ["USAGE_DISABLED_PROVIDERS"]
    store.stop_before = None
    store.resume()
    assert asked(sandbox) == {(key, day(n)) for key in (OPENAI, ANTHROPIC) for n in (0, 1)}


@pytest.mark.usefixtures("instance_in_memory")
def test_a_plain_backfill_asks_for_everything_anew_and_tells_of_the_unfinished_one(
    store: Store, sandbox: SandboxServer
) -> None:
    failing(sandbox, "/v1/organization/*")
    store.run(day(0), day(1))
    sandbox.switch(faults=[])
    sandbox.forget_requests()
    assert not any(line.startswith("note: ") for line in store.progress)
    assert store.run(day(0), day(1)).ok
    [note] = [line for line in store.progress if line.startswith("note: ")]
    assert "usage-pipeline backfill --resume" in note
    assert asked(sandbox) == {(OPENAI, day(0)), (ANTHROPIC, day(0))}
    # The new one did all the work of the other.
    with pytest.raises(InvalidInputError, match="nothing_to_resume"):
        store.resume()


@pytest.mark.usefixtures("instance_in_memory")
def test_other_days_or_keys_are_no_ground_for_a_note(store: Store, sandbox: SandboxServer) -> None:
    failing(sandbox, "/v1/organization/*")
    store.run(day(0), day(1))
    sandbox.switch(faults=[])
    store.run(day(1), day(2))
    store.run(day(0), day(1), ANTHROPIC)
    assert not any(line.startswith("note: ") for line in store.progress)
    assert store.unfinished() == 1


@pytest.mark.usefixtures("instance_in_memory")
def test_a_backfill_that_another_process_is_at_is_left_to_it(store: Store, sandbox: SandboxServer) -> None:
    failing(sandbox, "/v1/organization/*")
    store.run(day(0), day(1))
    with store.runtime.engine.connect() as connection:
        [one] = unfinished_backfills(connection)
    with held(store.runtime.engine, one.backfill_id), pytest.raises(TransientError, match="backfill_running"):
        store.resume()
    sandbox.switch(faults=[])
    assert store.resume().ok


def test_the_command_takes_either_days_or_resume(store: Store) -> None:
    command = CommandLine({**store.environ, "DAGSTER_HOME": None})
    for words in (("--resume", "--from", str(FROM)), ("--resume", "--key", OPENAI), ("--to", str(TO)), ()):
        assert "usage-pipeline backfill" in command.refused("usage", "backfill", *words)
    command.refused("nothing_to_resume", "backfill", "--resume")


@pytest.mark.usefixtures("instance_in_memory")
def test_a_backfill_with_pulls_that_were_turned_off_is_not_over(store: Store, sandbox: SandboxServer) -> None:
    failing(sandbox, USAGE[OPENAI])
    assert store.run(day(0), day(1)).failed
    sandbox.switch(faults=[])
    store.environ["USAGE_DISABLED_PROVIDERS"] = "openai"
    assert store.resume().ok
    del store.environ["USAGE_DISABLED_PROVIDERS"]
    sandbox.forget_requests()
    assert store.resume().ok
    assert asked(sandbox) == {(OPENAI, day(0))}
    assert store.unfinished() == 0
