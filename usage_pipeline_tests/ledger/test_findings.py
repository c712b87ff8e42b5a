"""Findings open when they are found, close when they are not, and some wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.finding_acknowledgement import acknowledge_findings
from usage_pipeline.ledger.finding_replacement import replace_findings, replace_findings_of_feed
from usage_pipeline.ledger.findings import (
    Acknowledgement,
    Finding,
    StoredFinding,
    days_with_findings,
    former_words,
    read_findings,
)
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.ledger.registering import NOW, register

D = date(2026, 3, 10)
LATER = NOW + timedelta(hours=1)
EXCESS = Finding(
    "hermes_exceeds_provider",
    D,
    "output: more",
    provider="openai",
    route="account",
    family="text",
    model="gpt-5",
    measure="output",
    figure_provider=1000,
    figure_hermes=1100,
    difference=100,
)
RESTATED = Finding("restated_after_final", D, "output: less", provider="openai", figure_provider=950, difference=-50)


@pytest.fixture
def connection(migrated_database: str) -> Iterator[Connection]:
    engine = connect_engine(migrated_database)
    with engine.connect() as connection:
        register(connection)
        register(connection, "other", organization="org-other")
        yield connection
    engine.dispose()


def found(connection: Connection, *findings: Finding, now: object = NOW) -> int:
    return replace_findings(connection, workspace_id(connection), D, findings, now)  # type: ignore[arg-type]


def workspace_id(connection: Connection) -> int:
    return int(connection.execute(text("SELECT workspace_id FROM workspaces WHERE slug = 'acme'")).scalar_one())


def stored(connection: Connection, *, open_only: bool = True) -> list[StoredFinding]:
    return list(read_findings(connection, D, D + timedelta(days=1), open_only=open_only))


def test_a_finding_opens_once_and_remembers_when(connection: Connection) -> None:
    assert found(connection, EXCESS) == 1
    assert found(connection, EXCESS, now=LATER) == 0
    (one,) = stored(connection)
    assert (one.finding, one.first_seen, one.closed_at) == (EXCESS, NOW, None)


def test_a_finding_that_stays_writes_nothing(connection: Connection) -> None:
    found(connection, EXCESS)
    before = connection.execute(text("SELECT xmin::text, f.* FROM findings f")).all()
    found(connection, EXCESS, now=LATER)
    assert connection.execute(text("SELECT xmin::text, f.* FROM findings f")).all() == before


def test_new_figures_restate_the_finding_that_is_open(connection: Connection) -> None:
    found(connection, EXCESS)
    more = replace(EXCESS, figure_hermes=1200, difference=Decimal(200), explanation="output: even more")
    assert found(connection, more, now=LATER) == 0
    (one,) = stored(connection)
    assert (one.finding, one.first_seen) == (more, NOW)


def test_a_finding_closes_by_itself_and_opens_anew(connection: Connection) -> None:
    found(connection, EXCESS)
    assert found(connection, now=LATER) == 1
    assert stored(connection) == []
    assert [one.closed_at for one in stored(connection, open_only=False)] == [LATER]
    assert found(connection, EXCESS, now=LATER) == 1
    assert len(stored(connection, open_only=False)) == 2


def test_a_restatement_stays_open_for_as_long_as_its_ground_is_there(connection: Connection) -> None:
    found(connection, RESTATED)
    assert found(connection, RESTATED, now=LATER) == 0
    assert [one.finding.code for one in stored(connection)] == ["restated_after_final"]
    # Its ground goes away only where the feed that was restated no longer leads.
    assert found(connection, now=LATER) == 1
    assert stored(connection) == []


def test_what_a_person_acknowledged_is_not_raised_again_with_the_same_figures(connection: Connection) -> None:
    found(connection, RESTATED)
    connection.execute(text("UPDATE findings SET acknowledged_at = :now, closed_at = :now"), {"now": NOW})
    assert found(connection, RESTATED, now=LATER) == 0
    assert stored(connection) == []
    assert found(connection, replace(RESTATED, figure_provider=940, difference=-60), now=LATER) == 1


def test_findings_of_other_days_and_workspaces_are_left_alone(connection: Connection) -> None:
    found(connection, EXCESS)
    register(connection, workspace="globex")
    other = connection.execute(text("SELECT workspace_id FROM workspaces WHERE slug = 'globex'")).scalar_one()
    assert replace_findings(connection, other, D, [], LATER) == 0
    assert replace_findings(connection, workspace_id(connection), D + timedelta(days=1), [], LATER) == 0
    assert len(stored(connection)) == 1


def test_days_with_an_open_finding_are_found_by_code(connection: Connection) -> None:
    found(connection, EXCESS)
    of = workspace_id(connection)
    week = (D - timedelta(days=3), D + timedelta(days=4))
    assert days_with_findings(connection, of, ["hermes_exceeds_provider"], *week) == [D]
    assert days_with_findings(connection, of, ["session_boundary"], *week) == []
    assert days_with_findings(connection, of, ["hermes_exceeds_provider"], D + timedelta(days=1), week[1]) == []


def of_feed(connection: Connection, name: str, *findings: Finding) -> int:
    """Make a feed's findings about totals equal to these."""
    made = [replace(one, feed_id=feed_id(connection, name)) for one in findings]
    return replace_findings_of_feed(
        connection, workspace_id(connection), D, feed_id(connection, name), ["totals_off"], made, LATER
    )


def feed_id(connection: Connection, name: str) -> int:
    return int(
        connection.execute(text("SELECT feed_id FROM provider_keys WHERE name = :name"), {"name": name}).scalar_one()
    )


def test_a_feeds_findings_are_replaced_beside_all_others(connection: Connection) -> None:
    totals, odd = Finding("totals_off", D, "off", measure="output"), Finding("answer_unknown_field", D, "new")
    mine = [replace(one, feed_id=feed_id(connection, "main")) for one in (totals, odd)]
    others = replace(totals, feed_id=feed_id(connection, "other"))
    found(connection, EXCESS, *mine, others)
    assert of_feed(connection, "main", totals) == 0
    assert of_feed(connection, "main") == 1
    assert {one.finding for one in stored(connection)} == {EXCESS, mine[1], others}
    assert of_feed(connection, "main", totals) == 1
    # The day's reconciling finds the same by the same identity.
    assert found(connection, EXCESS, *mine, others) == 0
    days = (D, D + timedelta(days=1))
    of = workspace_id(connection)
    assert days_with_findings(connection, of, ["totals_off"], *days, feed_id(connection, "main")) == [D]
    assert days_with_findings(connection, of, ["answer_unknown_field"], *days, feed_id(connection, "other")) == []


def as_of(connection: Connection, at: datetime, *, open_only: bool = True) -> list[StoredFinding]:
    return list(read_findings(connection, D, D + timedelta(days=1), open_only=open_only, as_of=at))


def test_what_a_finding_said_is_kept_and_read_as_it_stood(connection: Connection) -> None:
    more = replace(EXCESS, figure_hermes=1200, difference=200, explanation="output: even more")
    last = LATER + timedelta(hours=1)
    found(connection, EXCESS)
    found(connection, more, now=LATER)
    found(connection, now=last)
    (first,) = as_of(connection, NOW)
    assert (first.finding, first.closed_at, first.last_seen) == (EXCESS, None, NOW)
    (second,) = as_of(connection, LATER)
    assert (second.finding, second.finding_id, second.first_seen) == (more, first.finding_id, NOW)
    assert as_of(connection, last) == []
    assert [(one.finding, one.closed_at) for one in as_of(connection, last, open_only=False)] == [(more, last)]
    assert as_of(connection, NOW - timedelta(seconds=1), open_only=False) == []
    (former,) = former_words(connection, first.finding_id)
    assert (former.explanation, former.stated_at, former.superseded_at) == (EXCESS.explanation, NOW, LATER)


def test_a_person_acknowledges_what_waits_for_a_person_once(connection: Connection) -> None:
    found(connection, RESTATED)
    (waiting,) = stored(connection)
    [done] = acknowledge_findings(connection, [waiting.finding_id], LATER, by="Ada", note="credited")
    assert done.finding_id == waiting.finding_id
    assert acknowledge_findings(connection, [waiting.finding_id], LATER) == []
    (closed,) = stored(connection, open_only=False)
    assert (closed.acknowledged, closed.closed_at) == (Acknowledgement(LATER, "Ada", "credited"), LATER)
    assert found(connection, RESTATED, now=LATER) == 0
    [entry] = [one for one in list_changes(connection, "acme") if one.what == "finding_acknowledged"]
    assert (entry.detail["finding"], entry.detail["by"], entry.detail["difference"]) == (
        closed.finding_id,
        "Ada",
        "-50",
    )
    # Before it was acknowledged, it was open.
    assert [one.acknowledged for one in as_of(connection, NOW)] == [None]


def test_what_closes_by_itself_is_not_acknowledged_nor_anything_beside_it(connection: Connection) -> None:
    found(connection, RESTATED, EXCESS)
    both = [one.finding_id for one in stored(connection)]
    for ids, code in ((both, "finding_closes_by_itself"), ([*both, 10**12], "finding_"), ([-1], "finding_unknown")):
        with pytest.raises(InvalidInputError, match=code):
            acknowledge_findings(connection, ids, LATER)
    assert len(stored(connection)) == 2
    found(connection, now=LATER)
    restated = next(one for one in stored(connection, open_only=False) if one.finding == RESTATED)
    with pytest.raises(InvalidInputError, match="finding_closed"):
        acknowledge_findings(connection, [restated.finding_id], LATER)
