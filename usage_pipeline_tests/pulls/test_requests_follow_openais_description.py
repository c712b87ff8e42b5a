"""Every request that a pull sends to OpenAI is one that OpenAI's own description allows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World
from usage_pipeline.stages import pull_days
from usage_pipeline_tests.pulls.against_the_sandbox import register
from usage_pipeline_tests.sandbox.openapi_description import described_paths, validate_request
from usage_pipeline_tests.scripted.scenario import scenario_on

NOW = datetime(2026, 11, 20, 12, 34, 56, tzinfo=UTC)
AUTHORIZED = {"Authorization": "Bearer sk-admin-test"}


@pytest.mark.parametrize("grain", ["1h", "1d"])
def test_a_pull_sends_only_requests_that_the_description_allows(
    migrated_database: str, tmp_path: Path, grain: str
) -> None:
    with (
        scenario_on(migrated_database, tmp_path / "home", NOW) as scenario,
        SandboxServer(World(7, lambda: NOW)) as sandbox,
    ):
        key = register(scenario, sandbox, "openai", grain)
        scenario.environ["OPENAI_COMPLETIONS_DIMENSIONS"] = "model,project_id,api_source"
        first = date(2026, 11, 1) if grain == "1h" else date(2026, 7, 1)
        for start in (first, NOW.date()):
            pull_days(
                scenario.runtime, key.slug, start, min(start + timedelta(days=45), NOW.date() + timedelta(days=1))
            )
        asked = sandbox.requests
    for request in asked:
        validate_request(request.method, f"https://api.openai.com{request.path}?{urlencode(request.query)}", AUTHORIZED)
    usage = {f"/v1{path}" for path in described_paths() if "/usage/" in path or path.endswith("/costs")}
    assert usage <= {request.path for request in asked}
