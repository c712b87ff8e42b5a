"""``usage-pipeline findings``, ``raw`` and ``bills``: from the list to the page that stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.scripted.account import Bill
from usage_pipeline_tests.scripted.payloads import Call, v2_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, scenario_on, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)
RANGE = ("--from", "2026-03-10", "--to", "2026-03-10")


@pytest.fixture
def seen(command: CommandLine, migrated_database: str, home: Path) -> Iterator[CommandLine]:
    """The command line after a day that Hermes exceeds, whose bill has a tool, and that was restated after final."""
    with scenario_on(migrated_database, home, SETTLED) as scenario:
        restated_day(scenario)
        yield command


def restated_day(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1_000_000)
    scenario.pull(key, D)
    scenario.send(feed, v2_payload(SETTLED, [Call(utc(D, 9), output=1_200_000, uncached_input=500_000)]))
    scenario.settle(D)
    key.account.forget()
    key.account.spend(utc(D, 9), 950_000)
    key.account.bills.append(Bill(D, Decimal(4), "Code interpreter sessions"))
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)


def listed(command: CommandLine, *options: str) -> dict[str, Json]:
    return {f"{one['code']} {one['measure']}": one for one in command.done("findings", *options, "--json").json}


def test_findings_are_listed_by_cell_and_by_what_was_asked_for(seen: CommandLine) -> None:
    table = seen.done("findings").out
    assert "Findings (4 open, by cell)" in table
    assert "Also: output." in " ".join(table.split())
    assert set(listed(seen)) == {
        "hermes_exceeds_provider output",
        "hermes_exceeds_provider uncached_input",
        "restated_after_final output",
        "bill_differs_from_usage None",
    }
    assert set(listed(seen, "--code", "restated_after_final")) == {"restated_after_final output"}
    assert listed(seen, "--closed") == {}
    assert listed(seen, "--from", "2026-03-11", "--to", "2026-03-12") == {}
    assert set(listed(seen, "--as-of", "2026-03-14T06:30:00Z", "--workspace", "acme")) == {
        "hermes_exceeds_provider output",
        "hermes_exceeds_provider uncached_input",
    }
    assert seen.done("findings", "--closed", *RANGE).out == "No finding is closed.\n"
    seen.refused("code_unknown", "findings", "--code", "nothing")
    seen.refused("options_conflict", "findings", "--open", "--all")
    seen.refused("workspace_unknown", "findings", "--workspace", "globex")


def test_a_finding_leads_to_the_page_and_the_payload_behind_it(seen: CommandLine, tmp_path: Path) -> None:
    found = listed(seen)["hermes_exceeds_provider output"]
    shown = seen.done("findings", "show", str(found["id"])).out
    page, batch = found["evidence"][0]["raw_pages"][0], found["evidence"][1]["batch_id"]
    assert "provider (output): 950,000\nHermes (output): 1,200,000\ndifference (output): 250,000\n" in shown
    assert f"usage-pipeline raw {page}\n" in shown
    assert f"usage-pipeline hermes payload {batch}\n" in shown
    assert "It said before:\n  2026-03-14T06:00:00Z to 2026-03-14T07:00:00Z: output: Hermes reports 1,200,000" in shown
    whole = seen.done("findings", "show", str(found["id"]), "--json").json
    assert [one["figure_provider"] for one in whole["former"]] == ["1000000"]
    answer = seen.done("raw", page)
    assert answer.out.startswith('{"object": "page"')
    assert '"output_tokens": 950000' in answer.out
    assert "acme.openai.main completions, fetched" in answer.err
    assert "sk-" not in answer.err
    assert seen.done("raw", page, "--out", str(tmp_path / "page.json")).out.startswith(f"The page {page} is written")
    assert (tmp_path / "page.json").read_text(encoding="utf-8") == answer.out
    seen.refused("page_malformed", "raw", "12")
    seen.refused("page_unknown", "raw", "999999/0")
    seen.refused("finding_unknown", "findings", "show", "999999")


def test_only_what_waits_for_a_person_is_acknowledged(seen: CommandLine) -> None:
    waiting, other = listed(seen)["restated_after_final output"], listed(seen)["hermes_exceeds_provider output"]
    refused = seen.refused("finding_closes_by_itself", "findings", "acknowledge", str(waiting["id"]), str(other["id"]))
    assert "hermes_exceeds_provider closes by itself once its ground is gone" in refused
    number = str(waiting["id"])
    seen.refused("words_malformed", "findings", "acknowledge", number, "--note", " ")
    done = seen.done("findings", "acknowledge", number, "--note", "credited", "--by", "Ada")
    assert done.out == f"{number}: restated_after_final of 2026-03-10 is acknowledged.\n"
    assert "acknowledged already" in seen.done("findings", "acknowledge", number).err
    assert "restated_after_final output" not in listed(seen)
    closed = listed(seen, "--closed")["restated_after_final output"]
    assert (closed["acknowledged"]["by"], closed["acknowledged"]["note"]) == ("Ada", "credited")
    assert "by Ada: credited" in seen.done("findings", "show", number).out


def test_bills_stand_beside_what_the_usage_costs_with_the_reason(seen: CommandLine) -> None:
    [found] = seen.done("bills", *RANGE, "--json").json
    assert (found["billed_usd"], found["computed_usd"], found["difference_usd"]) == ("13.50", "9.50", "-4.00")
    assert (found["agrees"], found["reason"], found["reason_usd"]) == (False, "tools", "4.00")
    table = seen.done("bills", *RANGE)
    assert "13.50" in table.out
    assert "2026-03-10 acme openai org-acme: tools. 4.00 USD is billed without tokens" in table.out
    [before] = seen.done("bills", *RANGE, "--json", "--as-of", "2026-03-14T06:30:00Z").json
    assert (before["billed_usd"], before["agrees"]) == ("10.00", True)
    nothing = seen.done("bills", "--from", "2026-03-11", "--to", "2026-03-12").out
    assert nothing == "No account's bill is reconciled from 2026-03-11 to 2026-03-12 (both included).\n"
