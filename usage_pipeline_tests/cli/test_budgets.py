"""``usage-pipeline budgets``: set by name or id, listed, ended; status and report in the words of the same names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.scripted.scenario import scenario_on, utc

D = date(2026, 11, 20)
SET = ("budgets", "set", "--amount", "12.5", "--every", "month")


@pytest.fixture
def spent(command: CommandLine, migrated_database: str, tmp_path: Path) -> CommandLine:
    """The command line on a store with one day of 10 dollars, three quarters of it of a project with a name."""
    closed = utc(D + timedelta(days=1), 6)
    with scenario_on(migrated_database, tmp_path / "scenario", closed) as scenario:
        key = scenario.register()
        key.account.spend(utc(D, 9), 750_000, project="proj_web", user="user_1")
        key.account.spend(utc(D, 9), 250_000, project="proj_lab", user="user_1")
        scenario.pull(key, D)
        scenario.settle(D)
        with scenario.runtime.engine.begin() as connection:
            named = [Named("project_id", "proj_web", "Website"), Named("project_id", "proj_lab", "Lab")]
            named += [Named("api_key_id", f"key_{n}", "ci") for n in range(2)] + [Named("user_id", "user_1", "Ann Lee")]
            store_names(connection, "openai", "org-acme", named, closed)
    return command


def test_a_budget_set_by_name_is_of_the_id_and_its_status_shows_both(spent: CommandLine) -> None:
    made = spent.done(*SET, "--workspace", "acme", "--project", "Website", "--from", "2026-11-01")
    assert made.out == (
        "Budget 1: 12.50 USD every month for project Website (proj_web) of acme, from 2026-11-01 until further notice;"
        " warns at 80 %, exceeded at 100 %.\n"
    )
    (told,) = spent.done("budgets", "status", "--json").json
    assert (told["value"], told["name"], told["period"], told["percent"]) == ("proj_web", "Website", "2026-11", "60.00")
    assert told["spent"] == told["provisional"] == {"nano_usd": 7_500_000_000, "usd": "7.50"}
    assert told["forecast"]["usd"] == "82.50"
    assert (told["state"], told["from"], told["to"]) == ("within", "2026-11-01", "2026-11-30")
    shown = spent.done("budgets", "status").out
    assert "project Website (proj_web) of acme" in shown
    assert "60.00 %" in shown
    again = spent.done(*SET, "--workspace", "acme", "--project", "proj_web", "--exceeded", "60%", "--warning", "50")
    assert again.err == "note: budget 1, which was of the same, ends before 2026-11-21\n"
    assert "exceeded since 2026-11-20" in spent.done("budgets", "status").out
    assert spent.done("budgets", "status", "--on", "2026-11-20", "--json").json[0]["id"] == 1
    assert "No budget holds on 2026-10-31" in spent.done("budgets", "status", "--on", "2026-10-31").out


def test_budgets_of_cost_centers_follow_the_rules_and_the_report_says_the_same(spent: CommandLine) -> None:
    early = spent.done(*SET, "--cost-center", "4711")
    assert early.err == "note: no rule gives this cost centre yet; see: usage-pipeline showback list\n"
    spent.done("showback", "add", "--from", "2026-11-01", "--project", "Lab", "--cost-center", "4711")
    (told,) = spent.done("budgets", "status", "--json").json
    assert (told["workspace"], told["value"], told["name"], told["spent"]["usd"]) == (None, "4711", None, "2.50")
    report = ("report", "--from", "2026-11-20", "--to", "2026-11-20", "--by", "cost-center,project")
    rows = {row["cost_center"]: row for row in spent.done(*report, "--json").json["rows"]}
    assert rows["4711"]["cost"]["counted"]["usd"] == "2.50"
    assert rows["unassigned"]["names"] == {"project": "Website"}
    assert "Website (proj_web)" in spent.done(*report).out
    assert "Ann Lee (user_1)" in spent.done(*report[:5], "--rows", "events").out
    tried = spent.done("showback", "test", "--workspace", "acme", "--project", "proj_web")
    assert tried.out.startswith("Rule 1 (project Lab): no, the project is Website (proj_web).\n")


def test_budgets_are_listed_and_end(acme: CommandLine, engine: sa.Engine) -> None:
    assert acme.done("budgets", "list").out.startswith("No budget is set.")
    acme.done(*SET, "--model", "gpt-5-2025-08-07", "--to", "2026-12-31", "--note", "board")
    made = acme.done(*SET, "--workspace", "acme", "--api-key", "key_x", "--json")
    assert made.err == "note: no API key has this id or name as far as names are known; it is taken as an id\n"
    everywhere, of_key = acme.done("budgets", "list", "--json").json
    assert (everywhere["kind"], everywhere["value"], everywhere["to"]) == ("model", "gpt-5", "2026-12-31")
    assert (of_key["from"], of_key["amount_usd"], of_key["workspace"]) == ("2026-11-21", "12.50", "acme")
    assert acme.done("budgets", "end", "1", "--on", "2026-12-01").out == "Budget 1 holds until before 2026-12-01.\n"
    assert acme.done("budgets", "end", "2", "--on", "2026-11-21").out == "Budget 2 is taken back: it holds on no day.\n"
    shown = acme.done("budgets", "list").out
    assert "model gpt-5 of all workspaces" in shown
    assert "taken back" in shown
    assert len(acme.done("budgets", "list", "--workspace", "acme", "--json").json) == 1
    with engine.connect() as connection:
        what = connection.execute(sa.text("SELECT what FROM audit_log WHERE what LIKE 'budget%' ORDER BY 1")).scalars()
        assert list(what) == ["budget_ended", "budget_ended", "budget_set", "budget_set"]


def test_what_cannot_be_is_refused_before_anything_is_written(
    spent: CommandLine, written: Callable[[], object]
) -> None:
    before = written()
    spent.refused("budget_unclear", *SET, "--team", "T", "--model", "gpt-5")
    spent.refused("budget_malformed", "budgets", "set", "--amount", "1", "--every", "year")
    spent.refused("budget_malformed", *SET, "--warning", "100%")
    spent.refused("percent_malformed", *SET, "--warning", "much")
    spent.refused("amount_malformed", "budgets", "set", "--amount", "1,000", "--every", "day")
    spent.refused("workspace_unknown", *SET, "--workspace", "globex")
    error = spent.refused("name_ambiguous", *SET, "--api-key", "ci")
    assert "2 have this name: key_0, key_1" in error
    spent.refused("budget_unknown", "budgets", "end", "1", "--on", "2026-11-21")
    spent.refused("date_malformed", "budgets", "status", "--on", "today")
    spent.refused("day_in_future", "budgets", "status", "--on", "2026-11-22")
    assert written() == before
