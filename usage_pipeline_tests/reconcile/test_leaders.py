"""Which of several feeds of one account counts, and how well the account is covered."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.reconcile.coverage import Coverage, State
from usage_pipeline.reconcile.leaders import EndpointDay, FeedDay, Lead, Scope, provider_coverage, settle_account

END = datetime(2026, 3, 11, tzinfo=UTC)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
FINAL, CLOSED, OPEN = (
    Coverage(State.FINAL, END),
    Coverage(State.PROVISIONAL, END),
    Coverage(State.PROVISIONAL, NOON),
)
FAILED, NONE = Coverage(State.FAILED), Coverage(State.NONE)
WHOLE, KEY = Scope("account"), Scope("key")
TELLS = frozenset({"model", "project_id"})


def projects(*names: str) -> Scope:
    return Scope("projects", frozenset(names))


def feed(
    number: int,
    scope: Scope = WHOLE,
    coverage: Coverage = FINAL,
    *,
    seconds: int = 3600,
    asked: frozenset[str] = TELLS,
    expected: bool = True,
) -> FeedDay:
    return FeedDay(number, scope, (EndpointDay("usage", number, coverage),), seconds, asked, expected)


def counting(*feeds: FeedDay) -> dict[int, Lead]:
    return {number: lead for number, lead in settle_account(list(feeds)).leads.items() if lead.counts}


def test_a_standard_key_is_shadowed_by_the_admin_key_even_if_it_knows_more() -> None:
    settled = settle_account([feed(1, coverage=OPEN), feed(2, KEY, FINAL)])
    assert settled.leads == {1: Lead(True), 2: Lead(False)}
    assert settled.shadowed_by == {2: (1,)}
    assert settled.coverage == OPEN


def test_a_standard_key_counts_while_the_admin_key_covers_nothing() -> None:
    settled = settle_account([feed(1, coverage=FAILED), feed(2, KEY, FINAL)])
    assert settled.leads == {2: Lead(True)}
    assert settled.coverage == FAILED  # a scoped feed never covers an account that also has a whole-account feed


def test_two_keys_count_both() -> None:
    settled = settle_account([feed(1, KEY, FINAL), feed(2, KEY, CLOSED)])
    assert settled.leads == {1: Lead(True), 2: Lead(True)}
    assert (settled.coverage, settled.shadowed_by, settled.scoped) == (CLOSED, {}, True)


def test_final_leads_before_provisional_then_the_later_until() -> None:
    assert list(counting(feed(1, coverage=CLOSED), feed(2, coverage=FINAL))) == [2]
    assert list(counting(feed(1, coverage=OPEN), feed(2, coverage=CLOSED))) == [2]


def test_then_the_wider_scope_the_finer_bucket_and_the_earlier_registration_lead() -> None:
    assert counting(feed(1, projects("a")), feed(2)) == {2: Lead(True)}
    assert list(counting(feed(1, seconds=86400), feed(2, seconds=3600))) == [2]
    assert list(counting(feed(2), feed(1))) == [1]


def test_a_better_covered_project_leads_and_the_account_counts_without_it() -> None:
    settled = settle_account([feed(1, coverage=OPEN), feed(2, projects("a"), FINAL)])
    assert settled.leads == {2: Lead(True), 1: Lead(True, frozenset({"a"}))}
    assert settled.shadowed_by == {1: (2,)}
    assert settled.coverage == OPEN


def test_a_wider_feed_that_cannot_name_the_project_leads() -> None:
    wider = feed(1, coverage=OPEN, asked=frozenset({"model"}))
    assert counting(wider, feed(2, projects("a"), FINAL)) == {1: Lead(True)}


def test_more_projects_that_are_not_named_lead_before_fewer() -> None:
    more = feed(1, projects("a", "b"), OPEN, asked=frozenset({"model"}))
    assert counting(more, feed(2, projects("a"), FINAL)) == {1: Lead(True)}


def test_disjoint_projects_count_both_and_cover_as_the_worse() -> None:
    settled = settle_account([feed(1, projects("a"), FINAL), feed(2, projects("b"), OPEN)])
    assert settled.leads == {1: Lead(True), 2: Lead(True)}
    assert (settled.coverage, settled.crossing) == (OPEN, ())


def test_contained_projects_are_shadowed_by_those_that_contain_them() -> None:
    settled = settle_account([feed(1, projects("a", "b")), feed(2, projects("a"))])
    assert settled.leads == {1: Lead(True), 2: Lead(False)}
    assert settled.crossing == ()


def test_projects_that_others_hold_together_are_shadowed_by_all_of_them() -> None:
    settled = settle_account([feed(1, projects("a")), feed(2, projects("b")), feed(3, projects("a", "b"))])
    assert settled.leads == {1: Lead(True), 2: Lead(True), 3: Lead(False)}
    assert settled.shadowed_by == {3: (1, 2)}


def test_crossing_projects_count_what_both_contain_once() -> None:
    settled = settle_account([feed(1, projects("a", "b")), feed(2, projects("b", "c"))])
    assert settled.leads == {1: Lead(True), 2: Lead(True, frozenset({"b"}))}
    assert settled.crossing == ((1, 2),)


def test_crossing_projects_that_cannot_be_told_apart_never_count_twice() -> None:
    settled = settle_account([feed(1, projects("a", "b")), feed(2, projects("b", "c"), asked=frozenset())])
    assert settled.leads == {1: Lead(True), 2: Lead(False)}
    assert settled.coverage == NONE  # nobody answers for project c


def test_a_feed_is_as_covered_as_its_worst_endpoint() -> None:
    half = FeedDay(1, WHOLE, (EndpointDay("a", 1, FINAL), EndpointDay("b", 2, FAILED)), 3600, TELLS, expected=True)
    assert settle_account([half]).coverage == FAILED


def test_a_scope_without_its_pull_leaves_the_union_open() -> None:
    assert settle_account([feed(1, projects("a")), feed(2, projects("b"), FAILED)]).coverage == FAILED
    assert settle_account([feed(1, projects("a", "b")), feed(2, projects("b"), FAILED)]).coverage == FINAL


def test_a_disabled_feed_is_asked_for_nothing() -> None:
    gone = feed(1, coverage=NONE, expected=False)
    settled = settle_account([gone, feed(2, projects("a"))])
    assert (settled.coverage, settled.scoped) == (FINAL, True)
    # What it pulled while it was enabled still covers.
    assert settle_account([feed(1, coverage=OPEN, expected=False)]).coverage == OPEN


def test_the_better_of_two_whole_accounts_covers() -> None:
    assert settle_account([feed(1, coverage=FAILED), feed(2, coverage=CLOSED)]).coverage == CLOSED


def test_a_provider_is_covered_as_its_worst_account() -> None:
    assert provider_coverage([FINAL, OPEN]) == (OPEN, True)
    assert provider_coverage([FINAL, FAILED]) == (FAILED, True)
    assert provider_coverage([NONE, FAILED]) == (NONE, False)
    assert provider_coverage([]) == (NONE, False)


SCOPES = st.one_of(
    st.just(WHOLE),
    st.just(KEY),
    st.sets(st.sampled_from("abc"), min_size=1).map(lambda names: projects(*names)),
)


@given(
    st.lists(
        st.tuples(
            SCOPES, st.sampled_from([FINAL, CLOSED, OPEN, FAILED]), st.sampled_from([TELLS, frozenset({"model"})])
        ),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_every_project_counts_at_most_once_in_whatever_order_the_feeds_come(drawn: list[tuple], random) -> None:  # type: ignore[no-untyped-def,type-arg]
    feeds = [feed(number, scope, coverage, asked=asked) for number, (scope, coverage, asked) in enumerate(drawn)]
    settled = settle_account(feeds)
    by_id = {one.feed_id: one for one in feeds}
    leads = [(by_id[number], lead) for number, lead in settled.leads.items() if lead.counts]
    for project in "abcz":  # z: a project that no scope names
        tellers = [
            one
            for one, lead in leads
            if (one.scope.kind == "account" or project in one.scope.projects) and project not in lead.excluded_projects
        ]
        assert len(tellers) <= 1
    if any(one.scope.kind == "account" for one, _ in leads):
        assert not any(one.scope.kind == "key" for one, _ in leads)
    assert all("project_id" in one.dimensions_asked for one, lead in leads if lead.excluded_projects)
    shuffled = list(feeds)
    random.shuffle(shuffled)
    assert settle_account(shuffled) == settled
