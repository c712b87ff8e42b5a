"""``usage-pipeline prices`` and ``reprice``: negotiated prices stored, shown, compared and applied once.

gpt-5 costs 1.25 dollars per million tokens of input and 10 of output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.scripted.scenario import scenario_on, utc

D = date(2026, 11, 10)
DAYS = ("--from", "2026-11-01", "--to", "2026-11-20")
SET = ("prices", "set", "--provider", "openai", "--model", "gpt-5", "--from", "2026-11-01")


@pytest.fixture
def spent(command: CommandLine, migrated_database: str, tmp_path: Path) -> CommandLine:
    """The command line on a store with one reconciled day: a million tokens of output of gpt-5, bill not final."""
    closed = utc(D + timedelta(days=1), 6)
    with scenario_on(migrated_database, tmp_path / "scenario", closed) as scenario:
        key = scenario.register()
        key.account.spend(utc(D, 9), 1_000_000)
        scenario.pull(key, D)
        scenario.settle(D)
    return command


def test_a_negotiated_price_is_seen_applied_once_and_kept_in_the_history(
    spent: CommandLine, written: Callable[[], Mapping[str, object]]
) -> None:
    spent.done(*SET, "--discount", "15%", "--note", "contract 7")
    before = written()
    diff = spent.done("prices", "diff", *DAYS, "--json").json
    (price,) = diff["prices"]
    assert (price["model"], price["variant"], price["days"]) == ("gpt-5", "standard", ["2026-11-10"])
    assert price["old"]["rates"]["output"] == {"usd": "10.00", "per": 1_000_000, "unit": "tokens"}
    assert price["new"]["rates"]["output"]["usd"] == "8.50"
    assert price["new"]["version"] == f"override 1: 0.85 × {price['old']['version']}"
    assert price["effect"]["computed"]["difference_usd"] == price["effect"]["counted"]["difference_usd"] == "-1.50"

    dry = spent.done("reprice", *DAYS, "--dry-run", "--json").json
    assert written() == before
    ((cell,),) = [day["cells"] for day in dry["days"]]
    assert (cell["model"], cell["computed"]["before"]["usd"], cell["computed"]["after"]["usd"]) == (
        "gpt-5",
        "10.00",
        "8.50",
    )
    assert (dry["written"], dry["days"][0]["behind"]) == (False, False)

    done = spent.done("reprice", *DAYS, "--json").json
    assert done == {**dry, "dry_run": False, "written": True}
    row = next(row for row in spent.done("report", *DAYS, "--json").json["rows"] if row["model"] == "gpt-5")
    assert (row["cost"]["computed"]["usd"], row["cost"]["computed"]["version"]) == ("8.50", price["new"]["version"])
    applied = written()
    again = spent.done("reprice", *DAYS)
    assert again.out == "Nothing changes: from 2026-11-01 to 2026-11-20 the prices in force are those of the book.\n"
    assert written() == applied


def test_diff_and_dry_run_say_in_words_what_would_change(spent: CommandLine) -> None:
    assert spent.done("prices", "diff", *DAYS).out.startswith("No price in force from 2026-11-01 to 2026-11-20 differs")
    spent.done(*SET, "--rate", "output=8.5", "--rate", "uncached_input=1")
    shown = spent.done("prices", "diff", *DAYS).out
    assert "output 10.00 → 8.50" in shown
    assert "Computed cost of these cells: 10.00 → 8.50 USD (-1.50)" in shown
    dry = spent.done("reprice", *DAYS, "--dry-run").out
    assert "(dry run: nothing is written)" in dry
    assert "Counted cost of these cells: 10.00 → 8.50 USD (-1.50)" in dry
    assert "Days repriced: 1;" in spent.done("reprice", *DAYS).out


def test_show_tells_the_rates_and_whether_they_are_in_force(spent: CommandLine) -> None:
    of = ("prices", "show", "--provider", "openai", "--model", "gpt-5")
    on_the_day = spent.done(*of, "--day", "2026-11-10").out
    assert "1,000,000 tokens" in on_the_day
    assert "In force on that day for acme, by genai-prices" in on_the_day
    assert "It is only what the price book says today" in spent.done(*of).out
    spent.done(*SET, "--workspace", "acme", "--discount", "15%")
    told = spent.done(*of, "--day", "2026-11-10", "--workspace", "acme", "--json").json
    assert told["book"]["rates"]["output"]["usd"] == "8.50"
    (in_force,) = told["in_force"]
    assert (in_force["rates"]["output"]["usd"], in_force["same_as_book"]) == ("10.00", False)
    shown = spent.done(*of, "--day", "2026-11-10", "--workspace", "acme").out
    assert "In force on that day for acme is another price, which is not what the book says for it today" in shown


def test_set_says_what_the_given_rates_leave_without_a_price(acme: CommandLine) -> None:
    told = acme.done(*SET, "--rate", "output=8.5", "--rate", "uncached_input=1")
    assert told.err == (
        "note: usage of cache_read, searches has no price now, though the list has one; give it by --rate too\n"
    )


def test_show_says_that_nobody_knows(acme: CommandLine) -> None:
    shown = acme.done("prices", "show", "--provider", "openai", "--model", "gpt-99")
    assert "no price (unknown model)" in shown.out
    assert acme.done("prices", "show", "--provider", "openai", "--model", "gpt-99", "--json").json["book"] == {
        "version": shown_version(acme),
        "basis": "unpriced: unknown model",
        "rates": None,
    }


def shown_version(command: CommandLine) -> str:
    told = command.done("prices", "show", "--provider", "openai", "--model", "gpt-5", "--json").json
    return str(told["book"]["version"])


def test_overrides_are_listed_and_end(acme: CommandLine) -> None:
    assert acme.done("prices", "list").out.startswith("No price of your own is stored")
    acme.done(*SET, "--to", "2026-12-31", "--rate", "output=8.5", "--variant", "service_tier=flex")
    acme.done("prices", "set", "--provider", "anthropic", "--model", "*", "--from", "2026-11-01", "--discount", "7.5%")
    flex, every = acme.done("prices", "list", "--json").json
    assert (flex["variant"], flex["to"], flex["rates"]["output"]["usd"]) == ("service_tier=flex", "2026-12-31", "8.50")
    assert (every["variant"], every["to"], every["factor"]) == (None, None, "0.925")
    assert "0.925 × list price" in acme.done("prices", "list").out
    ended = acme.done("prices", "end", "2", "--on", "2026-12-01", "--json").json
    assert (ended["to"], ended["taken_back"]) == ("2026-11-30", False)
    assert acme.done("prices", "end", "1", "--on", "2026-11-01").out == (
        "Override 1 is taken back: it holds on no day.\n"
    )


BAD = (
    ("price_unclear", (*SET,)),
    ("price_unclear", (*SET, "--rate", "output=1", "--discount", "5%")),
    ("rate_malformed", (*SET, "--rate", "outputs=1")),
    ("rate_malformed", (*SET, "--rate", "output=-1")),
    ("rate_malformed", (*SET, "--rate", "output=NaN")),
    ("rate_malformed", (*SET, "--rate", "output=1", "--rate", "output=2")),
    ("discount_malformed", (*SET, "--discount", "0.15")),
    ("discount_malformed", (*SET, "--discount", "0%")),
    ("discount_malformed", (*SET, "--discount", "101%")),
    ("variant_malformed", (*SET, "--rate", "output=1", "--variant", "tier=flex")),
    ("range_reversed", (*SET, "--to", "2026-10-31", "--rate", "output=1")),
    ("date_malformed", (*SET[:-1], "soon", "--rate", "output=1")),
    ("workspace_unknown", (*SET, "--rate", "output=1", "--workspace", "nobody")),
    ("slug_malformed", (*SET, "--rate", "output=1", "--workspace", "No Body")),
    ("model_malformed", (*SET[:5], " ", *SET[6:], "--rate", "output=1")),
    ("price_override_malformed", (*SET[:5], "*", *SET[6:], "--rate", "output=1")),
    ("note_malformed", (*SET, "--rate", "output=1", "--note", "two\nlines")),
    (
        "price_overrides_overlap",
        (
            "prices",
            "set",
            "--provider",
            "openai",
            "--model",
            "GPT-4o",
            "--from",
            "2026-12-01",
            "--rate",
            "output=1",
        ),
    ),
    ("price_override_unknown", ("prices", "end", "99", "--on", "2026-11-01")),
    ("price_override_ended", ("prices", "end", "1", "--on", "2026-10-01")),
    ("date_malformed", ("prices", "end", "1", "--on", "soon")),
    ("workspace_unknown", ("prices", "diff", *DAYS, "--workspace", "nobody")),
    ("range_reversed", ("reprice", "--from", "2026-11-02", "--to", "2026-11-01")),
    ("workspace_unknown", ("reprice", *DAYS, "--workspace", "nobody")),
)


def test_bad_input_is_one_line_and_nothing_is_written(
    acme: CommandLine, written: Callable[[], Mapping[str, object]]
) -> None:
    acme.done(
        "prices", "set", "--provider", "openai", "--model", "gpt-4o", "--from", "2026-11-01", "--rate", "output=1"
    )
    before = written()
    for code, arguments in BAD:
        acme.refused(code, *arguments)
    assert written() == before
