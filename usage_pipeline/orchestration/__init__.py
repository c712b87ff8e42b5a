"""Dagster: assets, partitions, checks, schedules, sensors, and the backfill. The only wing that imports it.

The assets call the functions of ``usage_pipeline.stages`` and add nothing to what they do.
``usage_pipeline.definitions`` lists everything in the data's order.
"""

from __future__ import annotations

import warnings

import dagster as dg

# Backfill policies are marked beta and partitioned checks preview. Both are relied upon on purpose, the tests pin how
# they behave, and a warning per asset in every process would only hide others.
for _mark in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_mark)
