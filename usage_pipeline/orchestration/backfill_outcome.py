"""What a backfill did: its runs, times, failures and checks, and how that reads in a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from usage_pipeline.errors import UsagePipelineError

State = Literal["ok", "failed", "skipped"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """One stage over a range of UTC days, half-open; ``key`` is the provider key of a pull.

    ``skipped`` is a stage that did nothing: one before it failed, or the key is turned off (then ``note`` says why).
    ``error`` is one line.
    """

    stage: str
    key: str | None
    first_day: date
    end_day: date
    state: State
    seconds: float
    run_id: str
    error: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """The stage, with its key where it has one."""
        return f"{self.stage} {self.key}" if self.key else self.stage

    @property
    def shown_days(self) -> str:
        """The days as a person reads them, the last one included."""
        return f"{self.first_day} to {self.end_day - timedelta(days=1)}"

    def line(self) -> str:
        """One line for a terminal."""
        end = f": {self.error or self.note}" if self.error or self.note else ""
        return f"{self.name}, {self.shown_days}: {self.state} in {self.seconds:.1f} s{end}"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """A check over all runs of the backfill: on how many partitions it passed, and on how many it did not.

    ``severity`` is the gravest of its failures, None where it passed everywhere; ``first`` is the first failure in
    words. A check of an asset as a whole counts one partition a run.
    """

    name: str
    asset: str
    passed: bool
    severity: Severity | None
    blocking: bool
    partitions_passed: int
    partitions_failed: int
    first: str | None = None

    def line(self) -> str:
        """One line for a terminal."""
        if self.passed:
            return f"{self.asset} {self.name}: passed on {self.partitions_passed}"
        word = "FAILED" if self.severity == "error" else "warns"
        words = f": {self.first}" if self.first else ""
        return (
            f"{self.asset} {self.name}: {word} on {self.partitions_failed}, passed on {self.partitions_passed}{words}"
        )


@dataclass(frozen=True, slots=True)
class BackfillOutcome:
    """Everything that a backfill did, in the order of its doing. ``seconds`` is the whole time.

    ``pulls`` is how many it takes in all; ``pulls_done_before`` of them were done when it went on (None: it is new).
    """

    first_day: date
    end_day: date
    keys: tuple[str, ...]
    stages: tuple[StageOutcome, ...]
    checks: tuple[CheckOutcome, ...]
    seconds: float
    pulls: int = 0
    pulls_done_before: int | None = None

    @property
    def failed(self) -> list[StageOutcome]:
        """The stages that failed."""
        return [stage for stage in self.stages if stage.state == "failed"]

    @property
    def ok(self) -> bool:
        """Whether every stage ran through; warnings do not matter."""
        return all(stage.state == "ok" or stage.note for stage in self.stages)

    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage over all runs, in the data's order."""
        found: dict[str, float] = {}
        for stage in self.stages:
            found[stage.stage] = found.get(stage.stage, 0.0) + stage.seconds
        return found

    def lines(self) -> Iterator[str]:
        """The outcome for a terminal: what was skipped, checks that did not pass, the sum. Failures are raised."""
        if self.pulls_done_before is not None:
            yield f"{self.pulls_done_before} of {self.pulls} pulls were done before"
        for stage in self.stages:
            if stage.state == "skipped":
                yield stage.line()
        for check in self.checks:
            if not check.passed:
                yield check.line()
        passed = sum(check.passed for check in self.checks)
        done = sum(stage.state == "ok" for stage in self.stages)
        yield (
            f"{done} of {len(self.stages)} stages done, {passed} of {len(self.checks)} checks passed,"
            f" {len(self.keys)} keys, {self.first_day} to {self.end_day - timedelta(days=1)}, {self.seconds:.1f} s"
        )

    def as_json(self) -> dict[str, Any]:
        """The outcome for a script; ``to`` is the last day, included."""
        return {
            "from": self.first_day.isoformat(),
            "to": (self.end_day - timedelta(days=1)).isoformat(),
            "keys": list(self.keys),
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "pulls": self.pulls,
            "pulls_done_before": self.pulls_done_before,
            "stages": [
                {
                    "stage": stage.stage,
                    "key": stage.key,
                    "from": stage.first_day.isoformat(),
                    "to": (stage.end_day - timedelta(days=1)).isoformat(),
                    "state": stage.state,
                    "seconds": round(stage.seconds, 3),
                    "run_id": stage.run_id,
                    "error": stage.error,
                    "note": stage.note,
                }
                for stage in self.stages
            ],
            "checks": [
                {
                    "name": check.name,
                    "asset": check.asset,
                    "passed": check.passed,
                    "severity": check.severity,
                    "blocking": check.blocking,
                    "partitions_passed": check.partitions_passed,
                    "partitions_failed": check.partitions_failed,
                    "first": check.first,
                }
                for check in self.checks
            ],
        }

    def raise_if_failed(self) -> None:
        """Raise :class:`UsagePipelineError` ``backfill_incomplete`` if a stage did not run through."""
        failed = self.failed
        if not failed:
            return
        named = "; ".join(f"{stage.name}, {stage.shown_days}: {stage.error}" for stage in failed)
        raise UsagePipelineError(
            "backfill_incomplete",
            f"{len(failed)} of {len(self.stages)} stages failed, what the others did stands: {named}",
            where="backfill",
            remedy="Mend that, then run usage-pipeline backfill --resume: what was pulled whole is not asked again.",
        )
