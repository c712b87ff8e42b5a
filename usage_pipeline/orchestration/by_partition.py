"""A check's verdict on each partition of a range run.

Dagster runs a partitioned check once for a range and files the result under no partition: the days then stay
"planned", show as skipped, and everything that waits for their blocking checks waits for ever. So the verdict on each
partition is reported by itself, aimed at the materialisation that it judges, and then the verdict on the whole, which
is the one that blocks the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

# Not exported, and without it an evaluation is not taken as current.
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.orchestration.summaries import offences_metadata


def verdicts(
    context: dg.AssetCheckExecutionContext,
    check: dg.AssetCheckKey,
    offences: Mapping[str, Sequence[Offence]],
    *,
    blocking: bool,
) -> Iterator[dg.AssetCheckEvaluation | dg.AssetCheckResult]:
    """The evaluations of a partitioned check from its offences by partition key.

    A partition without offences passes; grave ones are errors, the others warnings.
    """
    # By day: automation that looks while they are written then sees whole stretches of days, not scattered ones that
    # it would request in a run each.
    partitions = sorted(context.partition_keys)
    if not context.has_partition_key:
        judged = _newest_materialisations(context.instance, check.asset_key, partitions)
        for partition in partitions:
            of_partition = offences.get(partition, ())
            yield dg.AssetCheckEvaluation(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=not of_partition,
                severity=_severity(of_partition),
                metadata=offences_metadata(of_partition),
                blocking=blocking,
                partition=partition,
                target_materialization_data=judged.get(partition),
            )
    yield whole_verdict([one for partition in partitions for one in offences.get(partition, ())])


def whole_verdict(offences: Sequence[Offence]) -> dg.AssetCheckResult:
    """One verdict on everything that was looked at."""
    return dg.AssetCheckResult(
        passed=not offences,
        severity=_severity(offences),
        metadata=offences_metadata(offences),
        description=_words(offences),
    )


def _severity(offences: Sequence[Offence]) -> dg.AssetCheckSeverity:
    # Also of a verdict that passes: Dagster shows the severity that a failure would have had.
    warning = bool(offences) and not any(one.grave for one in offences)
    return dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR


def _words(offences: Sequence[Offence]) -> str | None:
    if not offences:
        return None
    first = offences[0]
    more = f", and {len(offences) - 1} more" if len(offences) > 1 else ""
    return f"{first.day} {first.where}: {first.what}{more}"


def _newest_materialisations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The newest materialisation of each partition; the run that the check belongs to has just made one of each."""
    found: dict[str, AssetCheckEvaluationTargetMaterializationData] = {}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=list(partitions)), limit=2 * len(partitions)
    ).records
    for record in records:
        if record.partition_key is not None and record.partition_key not in found:
            found[record.partition_key] = AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
    return found
