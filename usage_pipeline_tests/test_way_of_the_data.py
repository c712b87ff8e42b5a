"""Read this first: one small day on its whole way, from a credential to the report.

The day is Tuesday, 10 March 2026. The workspace ``acme`` has an OpenAI organisation, whose own API tells usage and
bill, and one Hermes agent, which tells what it used itself. Two people used ``gpt-5`` through the same organisation:
Anna through Hermes, Ben with a script that Hermes knows nothing about.

    OpenAI says   Anna 09:00   1,000 tokens in, of which 400 cached;   500 out;   4 requests
                  Ben  15:00     200 tokens in;                        100 out;   1 request
    OpenAI bills  0.00705 dollars: 800 uncached at 1.25, 400 cached at 0.125, 600 out at 10 dollars a million
    Hermes says   Anna 09:00   600 uncached, 400 cached in;            500 out;   4 requests

So 600 tokens of output count: Hermes explains 500 of them, 100 are unattributed. Every step below is a function that
the command line and Dagster call; the provider is a real HTTP server on loopback, and the database is PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard

from usage_pipeline import stages
from usage_pipeline.credentials.registration import KeyRequest, register_key
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource
from usage_pipeline_tests.scripted.account import Bill, ScriptedAccount, Use
from usage_pipeline_tests.scripted.openai_reports import ADMIN_ENDPOINTS, OPENAI_REPORTS
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, figures, scenario_on

DAY = date(2026, 3, 10)
NEXT_DAY = date(2026, 3, 11)
DAYS = [DAY]
SECRET = "sk-admin-of-acme"

# The provider may restate a day for three days after its end. Whoever asks after that has the day's final figures.
FRIDAY_AFTER = datetime(2026, 3, 14, 8, 0, tzinfo=UTC)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    """An empty database, a server on loopback in OpenAI's place, and a clock that stands where a test puts it."""
    with scenario_on(migrated_database, tmp_path / "home", FRIDAY_AFTER) as made:
        made.workspace("acme")
        yield made


def openai_as_it_was(scenario: Scenario) -> ScriptedAccount:
    """The truth about the day, as OpenAI's API will tell it to whoever shows the organisation's admin key."""
    account = ScriptedAccount("openai", SECRET)
    account.uses = [
        Use(
            datetime(2026, 3, 10, 9, 0, tzinfo=UTC),
            "gpt-5",
            uncached_input=600,
            cache_read=400,
            output=500,
            requests=4,
            user="user_anna",
        ),
        Use(
            datetime(2026, 3, 10, 15, 0, tzinfo=UTC),
            "gpt-5",
            uncached_input=200,
            output=100,
            requests=1,
            user="user_ben",
        ),
    ]
    account.bills = [
        Bill(DAY, Decimal("0.00100"), "gpt-5, input"),  # 800 × 1.25 dollars a million
        Bill(DAY, Decimal("0.00005"), "gpt-5, cached input"),  # 400 × 0.125
        Bill(DAY, Decimal("0.00600"), "gpt-5, output"),  # 600 × 10
    ]
    scenario.served.accounts[SECRET] = account
    return account


def register_the_key(scenario: Scenario) -> str:
    """Seal the admin key into the database; returns the key's name everywhere else."""
    with scenario.runtime.engine.begin() as connection:
        request = KeyRequest(
            workspace="acme",
            provider=scenario.runtime.providers["openai"],
            name="main",
            mode="admin",
            source=Secret(SECRET),
            organization="org-acme",
            grain="1h",
            base_url=scenario.served.url,
        )
        rings = KeyRingSource(scenario.environ, scenario.runtime.home)
        registered = register_key(connection, request, rings, scenario.environ, scenario.clock.now)
    return registered.key.slug


def hermes_reports(scenario: Scenario) -> None:
    """The agent's batch about the day comes in beside the provider's figures."""
    laptop = scenario.hermes("laptop")
    calls = [
        Call(
            datetime(2026, 3, 10, 9, 0, tzinfo=UTC),
            "gpt-5",
            uncached_input=600,
            cache_read=400,
            output=500,
            requests=4,
        )
    ]
    receipt = scenario.send(laptop, v3_payload(FRIDAY_AFTER, calls, DAY, NEXT_DAY))
    assert receipt.accepted
    assert receipt.changed_days == (DAY,)


def test_a_day_from_credential_to_report(scenario: Scenario) -> None:
    openai = openai_as_it_was(scenario)

    # 1. The credential is sealed. What the database holds is not the secret, and does not contain it.
    key = register_the_key(scenario)
    assert key == "acme.openai.main"
    (stored,) = scenario.select("SELECT secret_sealed, secret_reference FROM provider_keys")
    assert stored["secret_reference"] is None
    assert SECRET.encode() not in bytes(stored["secret_sealed"])

    # 2. Pull. The secret is opened in memory, goes to the registered host alone, and every page is read: the 24 hours
    #    of the day from every usage endpoint, and one day of costs. Nobody used images or anything else: the answer
    #    without rows says so, and is kept like any other.
    pulled = stages.pull_days(scenario.runtime, key, DAY, NEXT_DAY)
    assert {result.endpoint: (result.pages, result.rows) for result in pulled.endpoints} == {
        **dict.fromkeys(ADMIN_ENDPOINTS, (1, 0)),
        "completions": (1, 2),
        "costs": (1, 3),
    }
    usage_paths = [f"/v1/organization/usage/{report}" for report in OPENAI_REPORTS]
    assert [path for path, _ in openai.asked] == [*usage_paths, "/v1/organization/costs"]

    # 3. The answers are kept as they came, compressed, so that everything below can be made again from them.
    kept = scenario.select("SELECT endpoint, body_zstd FROM raw_pages JOIN pulls USING (pull_id) ORDER BY endpoint")
    bodies = {page["endpoint"]: bytes(page["body_zstd"]) for page in kept}
    assert [page["endpoint"] for page in kept] == sorted(ADMIN_ENDPOINTS)
    usage = json.loads(zstandard.decompress(bodies["completions"]))
    assert len(usage["data"]) == 24
    assert [len(bucket["results"]) for bucket in usage["data"]] == [0] * 9 + [1] + [0] * 5 + [1] + [0] * 8

    # 4. Hermes' batch comes in beside it. Nothing is merged: each source keeps its own word.
    hermes_reports(scenario)
    stages.settle_hermes_days(scenario.runtime, DAYS)

    # 5. Both become canonical usage events: one row per window and dimensions, in token classes that never overlap.
    #    OpenAI counts cached tokens inside its input; here they are apart, 1,000 = 600 + 400.
    stages.normalise_usage(scenario.runtime, DAYS)
    events = scenario.select(
        "SELECT endpoint, user_id, uncached_input, cache_read, output, requests FROM usage_events"
        " JOIN slices USING (slice_id) WHERE endpoint <> 'rollup_hours' ORDER BY endpoint, user_id"
    )
    assert [tuple(event.values()) for event in events] == [
        ("completions", "user_anna", 600, 400, 500, 4),
        ("completions", "user_ben", 200, 0, 100, 1),
        ("rollups", None, 600, 400, 500, 4),
    ]

    # 6. The bill becomes lines of exact dollars.
    stages.normalise_bills(scenario.runtime, DAYS)
    (bill,) = scenario.select("SELECT sum(amount_usd) AS usd, count(*) AS lines FROM billed_costs")
    assert bill == {"usd": Decimal("0.00705"), "lines": 3}

    # 7. Reconcile: which figure counts, and why. Then report.
    stages.reconcile_days(scenario.runtime, DAYS)
    report = scenario.report(DAY)
    (row,) = report["rows"]
    assert (row["workspace"], row["provider"], row["model"]) == ("acme", "openai", "gpt-5")
    assert (row["decision"], row["provisional"], row["findings"]) == ("provider", False, [])
    assert figures(row, "output") == {
        "reported_by_provider": 600,
        "reported_by_hermes": 500,
        "counted": 600,
        "explained": 500,
        "unattributed": 100,
        "excess": 0,
        "stand_in": 0,
    }
    assert figures(row, "cache_read")["counted"] == 400
    assert figures(row, "requests")["counted"] == 5
    assert Decimal(row["cost"]["counted"]["usd"]) == Decimal("0.00705")
    assert row["cost"]["counted"]["nano_usd"] == 7_050_000
    assert row["cost"]["counted"]["basis"] == "billed"
    assert figures(report["totals"], "output")["counted"] == 600


def test_the_whole_way_again_changes_nothing(scenario: Scenario) -> None:
    openai_as_it_was(scenario)
    key = register_the_key(scenario)
    hermes_reports(scenario)
    stages.pull_days(scenario.runtime, key, DAY, NEXT_DAY)
    scenario.settle(DAY)
    before, report = scenario.contents(), scenario.report(DAY)

    # Only that it was asked again is new: the pulls, the days that they were about, and the record of the run.
    stages.pull_days(scenario.runtime, key, DAY, NEXT_DAY)
    scenario.settle(DAY)
    after = scenario.contents()
    assert {table for table in after if after[table] != before[table]} == {
        "pulls",
        "pull_days",
        "ingestion_runs",
        "ingestion_totals",
    }
    assert scenario.report(DAY) == report


def test_on_the_day_itself_hermes_stands_in_for_what_the_provider_has_not_told_yet(scenario: Scenario) -> None:
    openai_as_it_was(scenario)
    key = register_the_key(scenario)
    # At noon OpenAI knows of Anna alone. At six Hermes tells of a call at two that OpenAI was not asked about since.
    scenario.at(datetime(2026, 3, 10, 12, 0, tzinfo=UTC))
    stages.pull_days(scenario.runtime, key, DAY, NEXT_DAY)
    evening = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
    calls = [
        Call(datetime(2026, 3, 10, 9, 0, tzinfo=UTC), "gpt-5", output=500, requests=4),
        Call(datetime(2026, 3, 10, 14, 0, tzinfo=UTC), "gpt-5", output=70, requests=1),
    ]
    scenario.at(evening).send(scenario.hermes("laptop"), v3_payload(evening, calls, DAY, NEXT_DAY))
    scenario.settle(DAY)
    row = scenario.row(DAY)
    assert (row["decision"], row["provisional"]) == ("provider_then_hermes", True)
    assert figures(row, "output") == {
        "reported_by_provider": 500,
        "reported_by_hermes": 570,
        "counted": 570,
        "explained": 500,
        "unattributed": 0,
        "excess": 0,
        "stand_in": 70,
    }
