"""A world for the tests of the usage API: two workspaces with a rich day each, and the application over it, in process.

Tests share one world a module and only read it; one that writes makes a world of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline.ledger.migrate import head_revision
from usage_pipeline.ledger.read_tokens import SCOPES, issue_read_token
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline.service.app import build_app
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.settings import Settings
from usage_pipeline_tests.reconcile.test_cuts import SETTLED, D, rich
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

DAY = {"from": D.isoformat(), "to": D.isoformat()}
MANY = 2**53 + 1
"""A count that no double holds."""

LATER = SETTLED + timedelta(days=1)


@dataclass
class Api:
    """The application in process, and the scenario behind it. ``tokens`` are by workspace."""

    scenario: Scenario
    client: TestClient
    url: str
    tokens: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, who: str = "acme", token: str | None = None, **parameters: Any) -> httpx.Response:
        """Ask with the token of a workspace, or with another one."""
        headers = {"Authorization": f"Bearer {token or self.tokens[who]}"}
        return self.client.get(path, params=parameters, headers=headers)

    def told(self, path: str, who: str = "acme", **parameters: Any) -> Any:
        """The answer to a good question."""
        answer = self.get(path, who, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, status: int, code: str, answer: httpx.Response) -> Mapping[str, Any]:
        """A refusal in the service's form."""
        told: Mapping[str, Any] = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), answer.text
        assert told["error"].endswith((".", "!"))
        return told

    def issue(
        self, workspace: str, scopes: Sequence[str] = tuple(SCOPES), *, expires_at: datetime | None = None
    ) -> str:
        """A new token."""
        with self.scenario.runtime.engine.begin() as connection:
            owner = get_workspace(connection, workspace)
            return issue_read_token(connection, owner, scopes, self.scenario.clock.now, expires_at=expires_at)


@contextmanager
def api_on(
    url: str, home: Path, *, fill: Callable[[Scenario], None], settings: Settings | None = None
) -> Iterator[Api]:
    """The application on a migrated database with two workspaces, a day after everything was settled."""
    with scenario_on(url, home, utc(D)) as scenario:
        fill(scenario)
        scenario.at(LATER)
        served = settings or Settings(api_requests_per_minute=0)
        runtime = ServiceRuntime(scenario.runtime.engine, served, scenario.clock, head_revision(), scenario.environ)
        with TestClient(build_app(lambda: nullcontext(runtime)), raise_server_exceptions=False) as client:
            api = Api(scenario, client, url)
            api.tokens = {slug: api.issue(slug) for slug in ("acme", "globex")}
            yield api


def two_rich_workspaces(scenario: Scenario) -> None:
    """Days with many sources, and a name."""
    rich(scenario)
    _other(scenario)
    with scenario.runtime.engine.begin() as connection:
        store_names(connection, "openai", "org-acme", [Named("project_id", "proj_a", "Website")], SETTLED)


def two_empty_workspaces(scenario: Scenario) -> None:
    """Nothing but a Hermes feed."""
    scenario.workspace("globex")
    scenario.hermes("laptop")


def _other(scenario: Scenario) -> None:
    """A workspace of somebody else, whose figures must never be seen."""
    key = scenario.register(organization="org-globex", workspace="globex")
    key.account.uses.append(
        Use(utc(D, 9), "gpt-5-globex", output=MANY, uncached_input=1, project="proj_globex", user="user_globex")
    )
    scenario.at(SETTLED).pull(key, D)
    scenario.settle(D)
