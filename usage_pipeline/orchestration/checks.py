"""The asset checks: thin wrappers around the domain's checks, each judging the partitions of its run.

Blocking are those behind which a wrong number would flow on; a failure stops the run before the next asset. The others
warn. (No postponed annotations here: Dagster reads those of a check's parameters when it is defined.)
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    RAW_PROVIDER_PULLS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.by_partition import verdicts, whole_verdict
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.partitions import DAYS, PROVIDER_DAYS, KeyDay, key_day, partition_key
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.settings import Settings, malformed_setting

FRESHNESS: Final = "data_is_fresh"

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usage_pipeline.ledger.provider_keys import ProviderKey
    from usage_pipeline.stages import Runtime

DayLook = Callable[["Runtime", "Connection", Sequence[date]], Iterable[Offence]]
PullLook = Callable[["Connection", "ProviderKey", Sequence[str], Sequence[date]], Iterable[Offence]]


@dataclass(frozen=True, slots=True)
class DayCheck:
    """A check of an asset by UTC day: what it is called, what it looks at, and whether it stops what comes after."""

    name: str
    asset: dg.AssetKey
    blocking: bool
    description: str
    look: "DayLook"


def pull_check(name: str, description: str, look: Callable[[], PullLook]) -> dg.AssetChecksDefinition:
    """A blocking check of raw pulls, by day and provider key. ``look`` loads the domain's check when it is needed."""
    check = dg.AssetCheckKey(RAW_PROVIDER_PULLS, name)

    @dg.asset_check(
        name=name, asset=RAW_PROVIDER_PULLS, partitions_def=PROVIDER_DAYS, blocking=True, description=description
    )
    def run(context: dg.AssetCheckExecutionContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
        from usage_pipeline.ledger.provider_keys import get_provider_key

        days_by_key: dict[str, list[date]] = defaultdict(list)
        for key in context.partition_keys:
            cell = key_day(key)
            days_by_key[cell.key].append(cell.day)
        found: dict[str, list[Offence]] = defaultdict(list)
        with readable_failures(), runtime.runtime.engine.connect() as connection:
            for slug, days in days_by_key.items():
                registered = get_provider_key(connection, slug)
                offered = runtime.runtime.providers[registered.provider].endpoints
                endpoints = [e.name for e in offered if registered.mode in e.modes and not e.informational]
                for offence in look()(connection, registered, endpoints, days):
                    found[partition_key(KeyDay(offence.day, slug))].append(offence)
        yield from verdicts(context, check, found, blocking=True)

    return run


def day_check(spec: DayCheck, *, made_blocking: bool = False) -> dg.AssetChecksDefinition:
    """A check of an asset by UTC day. ``made_blocking``: whatever it finds fails the day, though it would only warn."""
    check = dg.AssetCheckKey(spec.asset, spec.name)
    blocking = spec.blocking or made_blocking

    @dg.asset_check(
        name=spec.name, asset=spec.asset, partitions_def=DAYS, blocking=blocking, description=spec.description
    )
    def run(context: dg.AssetCheckExecutionContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
        days = sorted(date.fromisoformat(key) for key in context.partition_keys)
        found: dict[str, list[Offence]] = defaultdict(list)
        with readable_failures(), runtime.runtime.engine.connect() as connection:
            for offence in spec.look(runtime.runtime, connection, days):
                found[offence.day.isoformat()].append(replace(offence, grave=True) if made_blocking else offence)
        yield from verdicts(context, check, found, blocking=blocking)

    return run


def _pulls_complete() -> PullLook:
    from usage_pipeline.ledger.pull_checks import incomplete_pulls

    return incomplete_pulls


def _dimensions_answered() -> PullLook:
    from usage_pipeline.ledger.pull_checks import unanswered_dimensions

    return unanswered_dimensions


def _schema(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterator[Offence]:
    from usage_pipeline.ledger.event_checks import malformed_events
    from usage_pipeline.normalise.sampled_rows import sampled_rows_breaking_schema

    yield from malformed_events(connection, days)
    yield from sampled_rows_breaking_schema(connection, "usage_events", days)


def _duplicates(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
    from usage_pipeline.ledger.event_checks import duplicate_events

    return duplicate_events(connection, days)


def _classes(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
    from usage_pipeline.ledger.event_checks import parts_above_their_class

    return parts_above_their_class(connection, days)


def _events_sourced(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
    from usage_pipeline.ledger.event_checks import rows_without_source

    return rows_without_source(connection, "usage_events", days)


def _bills_sourced(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterator[Offence]:
    from usage_pipeline.ledger.event_checks import rows_without_source
    from usage_pipeline.normalise.sampled_rows import sampled_rows_breaking_schema

    yield from rows_without_source(connection, "billed_costs", days)
    yield from sampled_rows_breaking_schema(connection, "billed_costs", days)


def _counted_once(runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterator[Offence]:
    from usage_pipeline.ledger.reconciled_checks import cells_or_shares_twice
    from usage_pipeline.reconcile.stored_totals import loaded_days, scopes_counted_twice

    yield from cells_or_shares_twice(connection, days)
    yield from scopes_counted_twice(list(loaded_days(connection, days, runtime.providers, runtime.settings)))


def _conserved(runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterator[Offence]:
    from usage_pipeline.ledger.reconciled_checks import unconserved_totals
    from usage_pipeline.reconcile.stored_totals import loaded_days, totals_unlike_sources

    yield from unconserved_totals(connection, days)
    loaded = list(loaded_days(connection, days, runtime.providers, runtime.settings))
    yield from totals_unlike_sources(connection, loaded)


def _rows_sourced(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
    from usage_pipeline.ledger.reconciled_checks import reconciled_without_source

    return reconciled_without_source(connection, days)


def _findings(*codes: str) -> DayLook:
    def look(_runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
        from usage_pipeline.ledger.reconciled_checks import open_findings

        return open_findings(connection, days, codes)

    return look


def _excess(runtime: "Runtime", connection: "Connection", days: Sequence[date]) -> Iterable[Offence]:
    from usage_pipeline.ledger.reconciled_checks import open_findings

    return open_findings(
        connection, days, ("hermes_exceeds_provider",), fraction_above=runtime.settings.hermes_excess_fraction
    )


def freshness_check(*, made_blocking: bool = False) -> dg.AssetChecksDefinition:
    """Whether every key has spoken of late; of the whole asset, since what is missing is on no day's partition."""

    @dg.asset_check(
        name=FRESHNESS,
        asset=RECONCILED_USAGE_KEY,
        blocking=made_blocking,
        description="Every enabled key has a complete pull of the newest day that should be there by now. Warns.",
    )
    def run(runtime: dg.ResourceParam[RuntimeResource]) -> dg.AssetCheckResult:
        from usage_pipeline.ledger.freshness import stale_keys

        of_run = runtime.runtime
        grace = timedelta(hours=of_run.settings.freshness_hours)
        with readable_failures(), of_run.engine.connect() as connection:
            stale = stale_keys(connection, of_run.clock(), grace)
            return whole_verdict([replace(one, grave=True) if made_blocking else one for one in stale])

    return run


DAY_CHECKS: Final = (
    DayCheck(
        "events_match_schema",
        USAGE_EVENTS_KEY,
        True,
        "No figure is negative and every window lies in its slice: over every row, in SQL. Types and nulls: the "
        "canonical schema over a sample of up to 2,000 rows.",
        _schema,
    ),
    DayCheck(
        "no_duplicate_events",
        USAGE_EVENTS_KEY,
        True,
        "No two rows of a slice have the same window and dimensions.",
        _duplicates,
    ),
    DayCheck(
        "token_classes_add_up",
        USAGE_EVENTS_KEY,
        True,
        "Parts by modality never exceed their token class, reasoning never the output.",
        _classes,
    ),
    DayCheck(
        "every_row_has_a_source",
        USAGE_EVENTS_KEY,
        True,
        "Every row names a complete pull or an accepted batch of its own feed, and no slice lost a row.",
        _events_sourced,
    ),
    DayCheck(
        "every_row_has_a_source",
        BILLED_COSTS_KEY,
        True,
        "Every line names a complete pull of its own feed, no slice lost a line, and a sample has exact amounts.",
        _bills_sourced,
    ),
    DayCheck(
        "nothing_counted_twice",
        RECONCILED_USAGE_KEY,
        True,
        "No cell twice, no Hermes row in two cells or beyond its figures, no two feeds for the same scope.",
        _counted_once,
    ),
    DayCheck(
        "totals_are_conserved",
        RECONCILED_USAGE_KEY,
        True,
        "Counted = explained + unattributed + stand-in in every cell and measure, to the unit, and what the provider "
        "reports is the sum of its counted rows.",
        _conserved,
    ),
    DayCheck(
        "every_row_has_a_source",
        RECONCILED_USAGE_KEY,
        True,
        "A provider, Hermes or a bill stands behind every row.",
        _rows_sourced,
    ),
    DayCheck(
        "hermes_within_provider",
        RECONCILED_USAGE_KEY,
        False,
        "Hermes reports no more than the provider does, within the tolerance. Warns.",
        _excess,
    ),
    DayCheck(
        "bill_matches_usage",
        RECONCILED_USAGE_KEY,
        False,
        "The bill and the computed cost of an account's day agree within the tolerance. Warns.",
        _findings("bill_differs_from_usage"),
    ),
    DayCheck(
        "no_missing_windows",
        RECONCILED_USAGE_KEY,
        False,
        "Every day that an enabled feed should cover is covered, and final once its settling time has passed. Warns.",
        _findings("window_missing", "provider_missing", "provider_stale"),
    ),
)

_PULL_CHECKS: Final = (
    pull_check(
        "pull_is_complete",
        "Every endpoint of the key has a complete newest answer for the day, and its raw pages are there.",
        _pulls_complete,
    ),
    pull_check(
        "dimensions_were_answered",
        "No model, and no project of a key that is scoped to projects, is missing from all rows. Any other dimension "
        "that an earlier answer had and this one lacks is a warning.",
        _dimensions_answered,
    ),
)


def build_checks(settings: Settings) -> tuple[dg.AssetChecksDefinition, ...]:
    """Every check; those that the settings name fail what they only warn of by default.

    Raises :class:`InvalidInputError` ``setting_malformed`` for a name that no such check has.
    """
    made = frozenset(settings.blocking_checks)
    warning = [FRESHNESS, *(spec.name for spec in DAY_CHECKS if not spec.blocking)]
    if made - set(warning):
        raise malformed_setting("USAGE_BLOCKING_CHECKS", f"a list of {', '.join(warning)}")
    by_day = (
        day_check(spec, made_blocking=True) if spec.name in made else check
        for spec, check in zip(DAY_CHECKS, _BY_DAY, strict=True)
    )
    return (*_PULL_CHECKS, freshness_check(made_blocking=True) if FRESHNESS in made else _FRESH, *by_day)


_FRESH: Final = freshness_check()
_BY_DAY: Final = tuple(day_check(spec) for spec in DAY_CHECKS)
CHECKS: Final = build_checks(Settings())
"""The checks as they are by default; which there are does not hang on the settings."""
