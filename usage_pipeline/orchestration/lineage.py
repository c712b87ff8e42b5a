"""Which columns each column is made from, from the raw answers to what counts.

Only what is true of every row of a source is said: a class of tokens that Hermes never tells comes from the providers'
pages alone. Columns that are made by the pipeline itself (keys, versions, times of writing) have no entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import dagster as dg

from usage_pipeline.ledger.slices import BILL_COLUMNS
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, RECONCILED_MEASURES, TOKEN_CLASSES

Source = tuple[str, str]
"""An asset and one of its columns."""

_PAGE: Final = ("raw_provider_pulls", "body_zstd")
_WORD: Final = ("hermes_rollups", "batch_id")
"""The batch that speaks for a day; its payload holds the figures."""

_HERMES_TELLS: Final = frozenset(
    {
        "uncached_input",
        "cache_read",
        "cache_write_unsplit",
        "output",
        "reasoning",
        "requests",
        "model",
        "line_detail",
    }
)
_PRICED_BY: Final = ("model", "service_tier", "batch", "context_window", "speed", "inference_geo")
_GROUPS: Final = (
    "reported_by_provider",
    "reported_by_hermes",
    "counted",
    "explained",
    "unattributed",
    "excess",
    "stand_in",
)
_BILL_COLUMNS: Final = tuple(
    name for name in BILL_COLUMNS if name not in {"slice_id", "line_id", "source_id", "recorded_at"}
)


def _events() -> dict[str, tuple[Source, ...]]:
    return {
        "source_id": (("raw_provider_pulls", "pull_id"), _WORD),
        "window_start": (_PAGE, _WORD),
        **{
            name: (_PAGE, _WORD) if name in _HERMES_TELLS else (_PAGE,) for name in (*EVENT_MEASURES, *EVENT_DIMENSIONS)
        },
        "estimated_cost_usd": (_WORD,),
        "actual_cost_usd": (_WORD,),
    }


def _bills() -> dict[str, tuple[Source, ...]]:
    return {"source_id": (("raw_provider_pulls", "pull_id"),), **dict.fromkeys(_BILL_COLUMNS, (_PAGE,))}


def _reconciled() -> dict[str, tuple[Source, ...]]:
    def events(*names: str) -> tuple[Source, ...]:
        return tuple(("usage_events", name) for name in names)

    billed: tuple[Source, ...] = (("billed_costs", "amount_usd"),)
    computed = events(*TOKEN_CLASSES, *_PRICED_BY)
    of_hermes = events("estimated_cost_usd", "actual_cost_usd")
    return {
        "model": (*events("model"), ("billed_costs", "model"), ("billed_costs", "label")),
        **{f"{group}_{name}": events(name) for group in _GROUPS for name in RECONCILED_MEASURES},
        "cost_billed_usd": billed,
        "cost_computed_usd": computed,
        "cost_hermes_usd": of_hermes,
        "cost_counted_usd": (*billed, *computed, *of_hermes),
    }


USAGE_EVENTS_LINEAGE: Final = _events()
BILLED_COSTS_LINEAGE: Final = _bills()
RECONCILED_USAGE_LINEAGE: Final = _reconciled()


def column_lineage(lineage: Mapping[str, Iterable[Source]]) -> dg.TableColumnLineage:
    """The lineage as Dagster's metadata, for catalogues that draw it."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=name) for asset, name in sources]
            for column, sources in lineage.items()
        }
    )


def made_from(sources: Iterable[Source]) -> str:
    """The sources in words, for where no lineage is drawn: the columns of each asset."""
    by_asset: dict[str, list[str]] = {}
    for asset, name in sources:
        by_asset.setdefault(asset, []).append(name)
    return "; ".join(f"{asset}: {', '.join(names)}" for asset, names in by_asset.items())
