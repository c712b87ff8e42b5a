"""A rule takes what matches all of its conditions; the first one does; what is said about others is true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.showback.assigning import Showback
from usage_pipeline.showback.reach import covers, meet, reaches
from usage_pipeline.showback.rules import UNASSIGNED, Belonging, ShowbackRule, Told, new_rule

D = date(2026, 3, 10)


def rule(
    number: int = 1, first: int = 0, end: int | None = None, *, to: str = "web", **conditions: tuple[str, ...]
) -> ShowbackRule:
    """A rule that gives the cost centre ``to`` from the day D + ``first`` to before D + ``end``."""
    end_day = None if end is None else D + timedelta(days=end)
    return ShowbackRule(number, conditions, to, None, D + timedelta(days=first), end_day)


def no_names(_provider: str, _account: str, _column: str) -> Mapping[str, str]:
    return {}


def center(rules: list[ShowbackRule], told: Told, day: date = D) -> str:
    return Showback(rules, no_names).of(day, told).cost_center


@pytest.mark.parametrize(
    ("conditions", "taken"),
    [
        ({}, True),
        ({"workspace": ("acme",)}, True),
        ({"workspace": ("globex",)}, False),
        ({"project": ("proj_b", "proj_a")}, True),
        ({"project": ("proj_*",)}, True),
        ({"project": ("PROJ_*",)}, False),
        ({"project": ("proj_?",), "model": ("gpt-[45]",)}, True),
        ({"project": ("proj_a",), "model": ("gpt-4",)}, False),
        ({"user": ("*",)}, False),
    ],
)
def test_a_rule_takes_what_matches_all_of_its_conditions(conditions: dict[str, tuple[str, ...]], taken: bool) -> None:
    told = Told("acme", project="proj_a", model="gpt-5")
    assert center([rule(**conditions)], told) == ("web" if taken else UNASSIGNED)


def test_the_first_that_matches_takes_it_and_gives_what_it_has() -> None:
    rules = [rule(1, to="a", project=("proj_a",)), rule(2, to="b", workspace=("acme",)), rule(3, to="c")]
    assert center(rules, Told("acme", project="proj_a")) == "a"
    assert center(rules, Told("acme", project="proj_b")) == "b"
    assert center(rules, Told("globex")) == "c"
    assert Showback(rules, no_names).of(D, Told("globex")) == Belonging("c", UNASSIGNED)


def test_a_rule_holds_from_its_first_day_to_before_its_end() -> None:
    rules = [rule(1, 1, 3, to="a"), rule(2, 0, 2, to="b")]
    days = [D + timedelta(days=n) for n in range(-1, 4)]
    assert [center(rules, Told("acme"), day) for day in days] == [UNASSIGNED, "b", "a", "a", UNASSIGNED]


def test_a_name_answers_like_an_id_and_only_that_of_its_own_account() -> None:
    names = {("openai", "org-a", "project_id"): {"proj_a": "Website [new]"}, ("openai", "org-b", "project_id"): {}}
    told = Told("acme", project="proj_a", provider="openai", account="org-a")
    for wanted in ("Website [new]", "Web*"):
        showback = Showback([rule(project=(wanted,))], lambda *place: names[place])
        assert showback.of(D, told).cost_center == "web"
        assert showback.of(D, told._replace(account="org-b")).cost_center == UNASSIGNED
        assert showback.of(D, told._replace(account=None)).cost_center == UNASSIGNED


def test_only_columns_that_a_rule_asks_for_are_read() -> None:
    assert Showback([rule(workspace=("acme",), model=("gpt-5",))], no_names).columns == ()
    assert Showback([rule(1, user=("u",)), rule(2, project=("p",))], no_names).columns == ("project_id", "user_id")


def test_a_model_is_meant_under_the_name_under_which_it_counts() -> None:
    made = new_rule({"model": ["gpt-5-2025-08-07", "gpt-5", "gpt-4*"]}, "web", None, D, None)
    assert made.conditions == {"model": ("gpt-5", "gpt-4*")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"cost_center": None},
        {"cost_center": UNASSIGNED},
        {"cost_center": " "},
        {"team": "x\ny"},
        {"conditions": {"project": [""]}},
        {"conditions": {"project": ["p" * 201]}},
        {"effective_to": D},
    ],
)
def test_a_malformed_rule_is_refused(wrong: dict[str, object]) -> None:
    given_ = {"conditions": {}, "cost_center": "web", "team": None, "effective_from": D, "effective_to": None, **wrong}
    with pytest.raises(InvalidInputError, match="showback_rule_malformed"):
        new_rule(**given_)  # type: ignore[arg-type]


_WORDS = ["a", "ab", "b", "a*", "*", "?", "*b", "a?", "[ab]", "[ab]*", "**"]
_conditions = st.dictionaries(
    st.sampled_from(["project", "user"]), st.lists(st.sampled_from(_WORDS), min_size=1, max_size=2).map(tuple)
)
_rules = st.builds(
    lambda asked, first, length: rule(1, first, first + length, **asked),
    _conditions,
    st.integers(0, 2),
    st.integers(1, 3),
)
_values = st.none() | st.text("ab", min_size=1, max_size=3)
_told = st.builds(lambda project, user: Told("acme", project=project, user=user), _values, _values)
_days = st.integers(0, 4).map(lambda n: D + timedelta(days=n))


@given(_rules, _rules, _told, _days)
def test_what_is_said_of_two_rules_is_true_of_every_row(
    first: ShowbackRule, later: ShowbackRule, told: Told, day: date
) -> None:
    by_first, by_later = (one.holds_on(day) and one.failing(told, {}) is None for one in (first, later))
    if covers(first, later):
        assert by_first or not by_later
    if not meet(first, later):
        assert not (by_first and by_later)


def test_rules_that_are_not_reached_or_share_with_another_are_told() -> None:
    rules = [
        rule(1, 0, 10, to="a", project=("web-*",)),
        rule(2, 2, 9, to="b", project=("web-shop", "web-*-old"), user=("u",)),  # hidden by 1
        rule(3, 2, 11, to="b", project=("web-shop",)),  # a day longer than 1
        rule(4, 20, to="b", project=("web-shop",)),  # on other days
        rule(5, 0, 10, to="a", user=("u",)),  # goes where 1 goes, shares with 2 and 3
        rule(6, 0, 10, to="c", project=("api",)),
    ]
    found = reaches(rules)
    hidden = {number: one.hidden_by.rule_id for number, one in found.items() if one.hidden_by}
    assert hidden == {2: 1}
    assert {number: [one.rule_id for one in reach.shared_with] for number, reach in found.items()} == {
        1: [],
        2: [],
        3: [1],
        4: [],
        5: [2, 3],
        6: [5],
    }
