"""The page as its tests meet it: ``usage-pipeline serve`` on a real database, in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from usage_pipeline.ledger.read_tokens import SCOPES, issue_read_token
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.reconcile.test_cuts import SETTLED, D
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc
from usage_pipeline_tests.service.api_world import LATER, two_rich_workspaces
from usage_pipeline_tests.service.conftest import start_service
from usage_pipeline_tests.ui.browser import Browser, chromium, missing_programs

ODD_MODEL = "<img src=x onerror=document.title='run'>%{y}"
"""What no provider should call a model."""


@dataclass
class Served:
    """A running service, and the scenario in its store."""

    url: str
    scenario: Scenario

    def token(self, workspace: str = "acme", scopes: Sequence[str] = tuple(SCOPES)) -> str:
        """A new read token."""
        with self.scenario.runtime.engine.begin() as connection:
            return issue_read_token(connection, get_workspace(connection, workspace), scopes, LATER)


@pytest.fixture(scope="session")
def programs() -> None:
    """Chromium and its driver are here; without them the run ends, and fails, before anything is prepared."""
    if lacking := missing_programs():
        pytest.exit(
            f"THE PAGE IS NOT TESTED: {' and '.join(lacking)} not found. On Debian: apt-get install chromium"
            " chromium-driver",
            returncode=1,
        )


@pytest.fixture(scope="session")
def served(
    programs: None, database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Two workspaces with a rich day each, an empty one, and a model with an odd name."""
    home = tmp_path_factory.mktemp("ui")
    with (
        _database(database_server, template=migrated_template) as url,
        scenario_on(url, home, utc(D)) as scenario,
    ):
        two_rich_workspaces(scenario)
        scenario.workspace("empty")
        odd = scenario.register(name="odd", organization="org-odd")
        odd.account.uses.append(Use(utc(D, 9), ODD_MODEL, output=5))
        scenario.at(SETTLED).pull(odd, D)
        scenario.settle(D)
        scenario.at(LATER)
        service = start_service(
            {
                "USAGE_DATABASE_URL": url,
                "USAGE_HOME": str(home),
                "USAGE_NOW": LATER.isoformat(),
                "USAGE_API_REQUESTS_PER_MINUTE": "0",
            }
        )
        try:
            yield Served(service.url, scenario)
        finally:
            service.stop()
            assert service.collecting is not None
            service.collecting.join(60)
            for stream in (service.process.stdout, service.process.stderr):
                assert stream is not None
                stream.close()


@pytest.fixture(scope="session")
def one_browser(served: Served) -> Iterator[Browser]:
    with chromium(served.url) as made:
        yield made


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """A browser that nobody is logged in with. After the test: nothing in its console, and no other host asked."""
    one_browser.open("/login")
    one_browser.driver.delete_all_cookies()
    one_browser.script("localStorage.clear(); sessionStorage.clear()")
    one_browser.forget_logs()
    yield one_browser
    one_browser.read_logs()
    assert one_browser.console == []
    hosts = {urlsplit(one).netloc for one in one_browser.requests if not one.startswith("data:")}
    assert hosts <= {urlsplit(one_browser.url).netloc}


@pytest.fixture
def page(browser: Browser, served: Served) -> Browser:
    """The page with everything that its token may see."""
    browser.log_in(served.token(), f"/?from={D}&to={D}")
    return browser
