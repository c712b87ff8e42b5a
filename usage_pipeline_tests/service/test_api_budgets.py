"""``GET /api/budgets`` says of the token's workspace what ``budgets status`` says."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

from typer.testing import CliRunner

from usage_pipeline.budgets.budget import Budget, Scope
from usage_pipeline.cli.app import app
from usage_pipeline.ledger.budgets import set_budget
from usage_pipeline.service.budget_models import Budgets
from usage_pipeline_tests.service.api_world import LATER, Api

FIRST = date(2026, 3, 1)


def test_a_token_sees_the_budgets_of_its_workspace_alone(empty_api: Api) -> None:
    with empty_api.scenario.runtime.engine.begin() as connection:
        for workspace, scope in (
            ("acme", Scope("project", "proj_web")),
            ("globex", Scope("workspace", None)),
            (None, Scope("team", "Web")),
        ):
            set_budget(connection, Budget(0, workspace, scope, "month", Decimal(50), FIRST), "", LATER)
    told = empty_api.told("/api/budgets")
    assert [(one["workspace"], one["value"], one["period"]) for one in told["budgets"]] == [
        ("acme", "proj_web", "2026-03")
    ]
    Budgets.model_validate(told)
    environ = {"USAGE_DATABASE_URL": empty_api.url, "USAGE_NOW": LATER.isoformat()}
    words = ["budgets", "status", "--workspace", "acme", "--json"]
    assert told["budgets"] == json.loads(CliRunner().invoke(app, words, env=environ).stdout)
    assert [one["workspace"] for one in empty_api.told("/api/budgets", "globex")["budgets"]] == ["globex"]
    assert empty_api.told("/api/budgets", on="2026-02-28")["budgets"] == []
    empty_api.refused(400, "day_in_future", empty_api.get("/api/budgets", on="9999-12-30"))
    refused = empty_api.refused(400, "date_malformed", empty_api.get("/api/budgets", on="yesterday"))
    assert refused["field"] == "on"
