"""``/readyz``: whether the store can be reached and has the schema of this release."""

from __future__ import annotations

from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.service.answers import JsonAnswer, RefusedRequestError
from usage_pipeline.service.runtime import ServiceRuntime


def readiness(runtime: ServiceRuntime) -> Response:
    """200 where batches can be taken in, else 503 with the reason; the address of the store is not told."""
    try:
        with runtime.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except (UsagePipelineError, SQLAlchemyError):
        return RefusedRequestError(503, "store_unavailable", "The database cannot be reached.").response()
    if found != runtime.schema_needed:
        return RefusedRequestError(
            503, "schema_outdated", "The database has another schema than this release. Run: usage-pipeline db upgrade."
        ).response()
    return JsonAnswer({"status": "ready"})
