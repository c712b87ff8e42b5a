"""When Hermes says more than a final figure: an alarm, a session's wrong day, requests alone, or not to be told.

Tolerance is two percent or ten units, whichever is more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import pytest

from usage_pipeline.ledger.feed_settings import set_bills_to
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=12))


def days_after(*offsets: int) -> list[date]:
    return [D + timedelta(days=n) for n in offsets]


def told(
    scenario: Scenario, provider: Mapping[int, int], hermes: Mapping[int, int], *, version: int = 2, **of_key: object
) -> list[date]:
    """A settled world: output of the provider and of Hermes by days after D. Returns its days."""
    key, feed = scenario.register(**of_key), scenario.hermes()  # type: ignore[arg-type]
    days = days_after(*sorted({*provider, *hermes}))
    for offset, output in provider.items():
        key.account.spend(utc(D + timedelta(days=offset), 9), output, project="proj_a")
    scenario.at(SETTLED).pull(key, days[0], days[-1] + timedelta(days=1))
    calls = [Call(utc(D + timedelta(days=offset), 9), output=output) for offset, output in hermes.items()]
    if version == 2:
        scenario.send(feed, v2_payload(SETTLED, calls, idle_days=days))
    else:
        scenario.send(feed, v3_payload(SETTLED, calls, days[0], days[-1] + timedelta(days=1)))
    scenario.settle(*days)
    return days


@pytest.mark.parametrize(
    ("provider", "hermes", "codes"),
    [(1000, 1020, []), (1000, 1021, ["hermes_exceeds_provider"]), (100, 110, []), (0, 11, ["hermes_exceeds_provider"])],
)
def test_the_tolerance_silences_the_finding_and_no_figure(
    scenario: Scenario, provider: int, hermes: int, codes: list[str]
) -> None:
    told(scenario, {0: provider}, {0: hermes}, version=3)
    assert scenario.codes(D) == codes
    (row,) = scenario.report(D)["rows"]
    assert row["excess"]["tokens"]["output"] == hermes - provider


def test_an_excess_that_the_next_day_lacks_is_a_session_that_ended_on_another_day(scenario: Scenario) -> None:
    told(scenario, {0: 1000, 1: 1000}, {0: 1500, 1: 500})
    assert scenario.codes(D) == ["session_boundary"]


def test_an_excess_may_vanish_in_the_week_around(scenario: Scenario) -> None:
    told(scenario, {-3: 1000, 0: 1000, 3: 1000}, {-3: 500, 0: 1500, 3: 1000})
    assert scenario.codes(D) == ["session_boundary"]


def test_an_excess_that_lacks_four_days_away_is_an_alarm(scenario: Scenario) -> None:
    told(scenario, {0: 1000, 4: 1000}, {0: 1500, 4: 500})
    assert scenario.codes(D) == ["hermes_exceeds_provider"]


def test_a_payload_that_states_call_times_has_no_boundary(scenario: Scenario) -> None:
    told(scenario, {0: 1000, 1: 1000}, {0: 1500, 1: 500}, version=3)
    assert scenario.codes(D) == ["hermes_exceeds_provider"]


def test_each_measure_has_its_own_finding(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, uncached_input=1000)
    key.account.spend(utc(D + timedelta(days=1), 9), 1000, uncached_input=1000)
    scenario.at(SETTLED).pull(key, D, D + timedelta(days=2))
    calls = [
        Call(utc(D, 9), output=1500, uncached_input=1500),
        Call(utc(D + timedelta(days=1), 9), output=500, uncached_input=1000),
    ]
    scenario.send(feed, v2_payload(SETTLED, calls))
    scenario.settle(*days_after(0, 1))
    found = {one["measure"]: one["code"] for one in scenario.findings(D) if one["measure"]}
    assert found == {"output": "session_boundary", "uncached_input": "hermes_exceeds_provider"}


def test_a_neighbour_that_comes_later_decides_the_day_anew(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    for offset in (0, 1):
        key.account.spend(utc(D + timedelta(days=offset), 9), 1000)
    calls = [Call(utc(D, 9), output=1500), Call(utc(D + timedelta(days=1), 9), output=500)]
    scenario.at(SETTLED).send(feed, v2_payload(SETTLED, calls))
    scenario.pull(key, D)
    scenario.settle(D)
    assert scenario.codes(D) == ["hermes_exceeds_provider"]
    scenario.pull(key, D + timedelta(days=1))
    scenario.settle(D + timedelta(days=1))
    assert scenario.codes(D) == ["session_boundary"]


def test_requests_differ_only_where_no_token_class_does(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, requests=10)
    scenario.at(SETTLED).pull(key, D)
    end = D + timedelta(days=1)
    for output, codes in ((1000, ["requests_differ"]), (1100, ["hermes_exceeds_provider"])):
        scenario.at(SETTLED + timedelta(hours=output))
        scenario.send(feed, v3_payload(scenario.clock.now, [Call(utc(D, 9), output=output, requests=30)], D, end))
        scenario.settle(D)
        assert scenario.codes(D) == codes


def test_fewer_requests_of_hermes_are_no_finding(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, requests=100)
    scenario.at(SETTLED).pull(key, D)
    call = Call(utc(D, 9), output=1000, requests=1)
    scenario.send(feed, v3_payload(SETTLED, [call], D, D + timedelta(days=1)))
    scenario.settle(D)
    assert scenario.codes(D) == []


def test_a_scoped_workspace_cannot_tell_until_hermes_names_its_projects(scenario: Scenario) -> None:
    told(scenario, {0: 1000}, {0: 1500}, projects=["proj_a"])
    assert scenario.codes(D) == ["scope_unknown"]
    tag = {"openai": "account:proj_a"}
    with scenario.runtime.engine.begin() as connection:
        feed_id = connection.exec_driver_sql("SELECT feed_id FROM hermes_feeds").scalar_one()
        set_bills_to(connection, feed_id, "acme.laptop", tag, D, SETTLED)
    scenario.settle(D)
    assert scenario.codes(D) == ["hermes_exceeds_provider"]


def test_a_scoped_workspace_without_an_excess_has_no_finding(scenario: Scenario) -> None:
    told(scenario, {0: 1000}, {0: 900}, projects=["proj_a"])
    assert scenario.codes(D) == []


def test_a_provisional_day_raises_nothing(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    closed = utc(D + timedelta(days=1), 6)
    scenario.at(closed).pull(key, D)
    scenario.send(feed, v2_payload(closed, [Call(utc(D, 9), output=5000)]))
    scenario.settle(D)
    assert scenario.codes(D) == []
