"""``usage-pipeline showback``: rules added, told apart, tried, moved and ended, each with its trace."""

from __future__ import annotations

import sqlalchemy as sa

from usage_pipeline_tests.cli.conftest import CommandLine

FROM = ("--from", "2026-11-01")


def entries(engine: sa.Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT what, subject FROM audit_log WHERE what LIKE 'showback%' ORDER BY 1, 2")
        )
        return [(row[0], row[1]) for row in rows]


def test_rules_are_added_listed_moved_and_ended(acme: CommandLine, engine: sa.Engine) -> None:
    assert acme.done("showback", "list").out.startswith("There is no rule: everything is unassigned.")
    first = acme.done("showback", "add", *FROM, "--project", "web-*", "--cost-center", "4711", "--team", "Web")
    assert first.out == (
        "Rule 1, number 1 in the order: project web-* belongs to cost centre 4711, team Web,"
        " from 2026-11-01 until further notice.\n"
    )
    hidden = acme.done(
        "showback", "add", *FROM, "--to", "2026-11-30", "--project", "web-shop", "--user", "u", "--team", "Shop"
    )
    assert hidden.err == "note: rule 2 is never reached: rule 1 comes first and takes all of it\n"
    before = acme.done("showback", "add", *FROM, "--user", "u", "--team", "U", "--before", "1", "--note", "n", "--json")
    assert before.err == "note: rule 1: rule 3 before it may take a part of what it matches\n"
    assert (before.json["position"], before.json["conditions"], before.json["to"]) == (1, {"user": ["u"]}, None)
    listed = acme.done("showback", "list", "--json").json
    assert [(one["id"], one["hidden_by"], one["shared_with"]) for one in listed] == [
        (3, None, []),
        (1, None, [3]),
        (2, 3, []),
    ]
    shown = acme.done("showback", "list").out
    assert "never reached: rule 3 takes all of it" in shown
    assert "2026-11-30" in shown
    assert acme.done("showback", "move", "2", "--before", "3").out == "Rule 2 is number 1 of 3 in the order.\n"
    assert acme.done("showback", "move", "2", "--before", "3").err == ""
    assert acme.done("showback", "move", "3").out == "Rule 3 is number 3 of 3 in the order.\n"
    assert acme.done("showback", "end", "1", "--on", "2026-11-15").out == "Rule 1 holds until before 2026-11-15.\n"
    assert acme.done("showback", "end", "3", "--on", "2026-11-01", "--json").json["taken_back"]
    assert entries(engine) == [
        ("showback_rule_added", "showback rule 1"),
        ("showback_rule_added", "showback rule 2"),
        ("showback_rule_added", "showback rule 3"),
        ("showback_rule_ended", "showback rule 1"),
        ("showback_rule_ended", "showback rule 3"),
        ("showback_rule_moved", "showback rule 2"),
        ("showback_rule_moved", "showback rule 3"),
    ]


def test_a_row_is_tried_and_the_rules_before_say_why_not(acme: CommandLine) -> None:
    acme.done("showback", "add", *FROM, "--project", "proj_b", "--team", "B")
    acme.done("showback", "add", *FROM, "--user", "ann", "--team", "Ann")
    acme.done("showback", "add", *FROM, "--model", "gpt-5-2025-08-07", "--cost-center", "4711")
    acme.done("showback", "add", *FROM, "--workspace", "acme", "--team", "Rest")
    row = ("showback", "test", "--workspace", "acme", "--project", "proj_a", "--model", "gpt-5")
    assert acme.done(*row).out.splitlines() == [
        "Rule 1 (project proj_b): no, the project is proj_a, of which no name is known.",
        "Rule 2 (user ann): no, the user is not told.",
        "Rule 3 (model gpt-5): takes it.",
        "On 2026-11-21 it belongs to cost centre 4711, team unassigned.",
    ]
    told = acme.done(*row, "--json").json
    assert (told["rule"], told["cost_center"], told["team"]) == (3, "4711", "unassigned")
    assert [(one["id"], one["matches"], one["failing"]) for one in told["rules"]] == [
        (1, False, "project"),
        (2, False, "user"),
        (3, True, None),
        (4, True, None),
    ]
    assert acme.done(*row, "--day", "2026-10-31").out == (
        "No rule holds on 2026-10-31.\nOn 2026-10-31 it is unassigned.\n"
    )


def test_what_cannot_be_is_refused_before_anything_is_written(acme: CommandLine) -> None:
    add = ("showback", "add", *FROM)
    acme.refused("showback_rule_malformed", *add)
    acme.refused("showback_rule_malformed", *add, "--team", "unassigned")
    acme.refused("showback_rule_unknown", *add, "--team", "T", "--before", "9")
    acme.refused("range_reversed", *add, "--to", "2026-10-31", "--team", "T")
    acme.refused("note_malformed", *add, "--team", "T", "--note", "n" * 501)
    acme.refused("showback_rule_unknown", "showback", "move", "9")
    acme.refused("workspace_unknown", "showback", "test", "--workspace", "globex")
    assert acme.done("showback", "list", "--json").json == []
    acme.done(*add, "--to", "2026-11-30", "--team", "T")
    acme.refused("showback_rule_ended", "showback", "end", "1", "--on", "2026-12-01")
    acme.done("showback", "end", "1", "--on", "2026-11-01")
    assert "it was taken back" in acme.refused("showback_rule_ended", "showback", "end", "1", "--on", "2026-11-01")
