"""What a run works with: the store, the settings and the clock, opened when the run starts and left when it ends.

The resource has no configuration: where the store is and where secrets are is looked up by the domain, in memory, from
the environment, so that nothing of it can be shown or kept by Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import dagster as dg

if TYPE_CHECKING:
    from usage_pipeline.stages import Runtime

RESOURCE_KEY: Final = "runtime"


@dataclass(frozen=True, slots=True)
class RuntimeResource:
    """What the stages take, open for one run or tick."""

    runtime: Runtime

    def of_run(self, run_id: str) -> Runtime:
        """The same, under the id by which telemetry names the run."""
        return replace(self.runtime, environ={**self.runtime.environ, "USAGE_RUN_ID": run_id})


@dg.resource(description="The store that the environment names, open for one run or tick.")
def runtime_from_environment(_context: dg.InitResourceContext) -> Iterator[RuntimeResource]:
    """Open the store that the environment names, and close it after the run."""
    from usage_pipeline.stages import open_runtime
    from usage_pipeline.telemetry.logs import configure_logging

    with open_runtime(os.environ) as opened:
        configure_logging(os.environ, opened.settings)
        yield RuntimeResource(opened)


def given(runtime: Runtime) -> dg.ResourceDefinition:
    """A resource with a runtime that the caller opened and closes."""
    return dg.ResourceDefinition.hardcoded_resource(RuntimeResource(runtime))
