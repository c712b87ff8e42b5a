"""The table of decisions, row by row and policy by policy, with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.measures import CACHE_WRITES, RECONCILED_MEASURES
from usage_pipeline.reconcile.coverage import Coverage, State
from usage_pipeline.reconcile.decision import POLICIES, Cell, Decided, Halves, Policy, decide, tolerance
from usage_pipeline.reconcile.figures import COMPARED, Figures, compared

END = datetime(2026, 3, 11, tzinfo=UTC)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SPOKE = datetime(2026, 3, 10, 20, tzinfo=UTC)
FINAL, CLOSED, OPEN = (
    Coverage(State.FINAL, END),
    Coverage(State.PROVISIONAL, END),
    Coverage(State.PROVISIONAL, NOON),
)
FAILED = Coverage(State.FAILED)
REPORTS = frozenset({"uncached_input", "cache_write", "output", "requests"})


def cell(
    provider: Figures | None,
    hermes: Figures | None,
    coverage: Coverage = FINAL,
    *,
    provider_decides: bool = True,
    call_time: bool = False,
    hermes_final: bool = False,
    reports: frozenset[str] | None = REPORTS,
    halves: tuple[Halves, Halves] | None = None,
) -> Cell:
    """A cell; ``provider`` None is not known. ``halves`` are the provider's and Hermes'."""
    return Cell(
        provider_decides=provider_decides,
        coverage=coverage,
        provider_known=provider is not None,
        day_end=END,
        provider=provider or {},
        hermes=hermes,
        hermes_final=hermes_final,
        hermes_until=None if hermes is None else SPOKE,
        hermes_call_time=call_time,
        provider_reports=reports,
        provider_halves=halves[0] if halves else None,
        hermes_halves=halves[1] if halves else None,
    )


def parts(decided: Decided, measure: str = "output") -> dict[str, int | None]:
    """counted and its shares of one measure."""
    names = ("counted", "explained", "unattributed", "excess", "stand_in")
    return {name: getattr(decided, name).get(measure) for name in names}


def figures(counted: int, explained: int, unattributed: int, excess: int, stand_in: int) -> dict[str, int | None]:
    return {
        "counted": counted,
        "explained": explained,
        "unattributed": unattributed,
        "excess": excess,
        "stand_in": stand_in,
    }


def head(decided: Decided) -> tuple[int, str, bool, datetime | None]:
    return decided.row, decided.decision, decided.provisional, decided.until


@pytest.mark.parametrize("hermes", [None, {"output": 0}])
def test_row_1_a_final_figure_counts_without_hermes(hermes: Figures | None) -> None:
    decided = decide(cell({"output": 1000}, hermes))
    assert head(decided) == (1, "provider", False, END)
    assert parts(decided) == figures(1000, 0, 1000, 0, 0)


def test_row_2_hermes_explains_a_part_of_a_final_figure() -> None:
    decided = decide(cell({"output": 1000}, {"output": 800}))
    assert head(decided) == (2, "provider", False, END)
    assert parts(decided) == figures(1000, 800, 200, 0, 0)


@pytest.mark.parametrize(("provider", "excess"), [(1000, 100), (0, 1100)])
def test_row_3_what_hermes_says_beyond_a_final_figure_is_excess(provider: int, excess: int) -> None:
    decided = decide(cell({"output": provider}, {"output": 1100}))
    assert decided.decision == "provider"
    assert parts(decided) == figures(provider, provider, 0, excess, 0)


def test_row_4_a_closed_days_call_time_hours_stand_in() -> None:
    decided = decide(cell({"output": 600}, {"output": 700}, CLOSED, call_time=True))
    assert head(decided) == (4, "provider_then_hermes", True, END)
    assert parts(decided) == figures(700, 600, 0, 0, 100)


def test_row_4_a_closed_days_sessions_do_not_stand_in() -> None:
    decided = decide(cell({"output": 600}, {"output": 700}, CLOSED))
    assert head(decided) == (4, "provider", True, END)
    assert parts(decided) == figures(600, 600, 0, 100, 0)


def test_row_5_each_half_of_an_open_day_is_compared_for_itself() -> None:
    halves = (Halves({"output": 600}, {"output": 50}), Halves({"output": 500}, {"output": 250}))
    decided = decide(cell({"output": 650}, {"output": 750}, OPEN, call_time=True, halves=halves))
    # explained min(600, 500) + min(50, 250) = 550; stand-in 0 + 200; counted 650 + 200.
    assert head(decided) == (5, "provider_then_hermes", True, NOON)
    assert parts(decided) == figures(850, 550, 100, 0, 200)


def test_row_5_an_excess_before_the_cut_stands_in_too() -> None:
    halves = (Halves({"output": 600}, {}), Halves({"output": 700}, {}))
    decided = decide(cell({"output": 600}, {"output": 700}, OPEN, call_time=True, halves=halves))
    assert parts(decided) == figures(700, 600, 0, 0, 100)


def test_row_6_an_open_day_without_such_hours_is_compared_as_a_whole() -> None:
    decided = decide(cell({"output": 600}, {"output": 700}, OPEN))
    assert head(decided) == (6, "provider_then_hermes", True, NOON)
    assert parts(decided) == figures(700, 600, 0, 0, 100)
    assert head(decide(cell({"output": 600}, {"output": 500}, OPEN))) == (6, "provider", True, NOON)


def test_row_6_an_open_day_without_hermes_counts_what_is_known() -> None:
    decided = decide(cell({"output": 600}, None, OPEN))
    assert head(decided) == (6, "provider", True, NOON)
    assert parts(decided) == figures(600, 0, 600, 0, 0)


def test_row_7_hermes_stands_in_for_what_is_not_known() -> None:
    decided = decide(cell(None, {"output": 800}, FAILED))
    assert head(decided) == (7, "hermes_standin", True, SPOKE)
    assert parts(decided) == figures(800, 0, 0, 0, 800)


def test_row_7_hermes_tops_up_the_part_that_is_known() -> None:
    decided = decide(cell({"output": 300}, {"output": 800}, FAILED))
    assert head(decided) == (7, "hermes_standin", True, SPOKE)
    assert parts(decided) == figures(800, 300, 0, 0, 500)


@pytest.mark.parametrize("hermes", [None, {"output": 0}])
def test_row_8_the_known_part_counts(hermes: Figures | None) -> None:
    decided = decide(cell({"output": 300}, hermes, FAILED))
    assert head(decided) == (8, "provider", True, None)
    assert parts(decided) == figures(300, 0, 300, 0, 0)


@pytest.mark.parametrize("hermes", [None, {"output": 0}])
def test_row_9_where_nothing_is_known_nothing_counts(hermes: Figures | None) -> None:
    decided = decide(cell(None, hermes, FAILED))
    assert decided.decision == "no_data"
    assert decided.counted == {}


@pytest.mark.parametrize("final", [True, False])
def test_row_10_off_the_account_hermes_counts(final: bool) -> None:
    decided = decide(
        cell(None, {"output": 300, "requests": 2}, provider_decides=False, hermes_final=final, reports=None)
    )
    assert head(decided) == (10, "hermes_only", not final, SPOKE)
    assert parts(decided) == figures(300, 300, 0, 0, 0)
    assert decided.lower_bound == ()


def test_null_stays_null_and_zero_stays_zero() -> None:
    decided = decide(cell({"output": 0}, None))
    assert decided.counted == {"output": 0}
    assert "uncached_input" not in decided.counted


def test_cache_writes_are_compared_as_a_group_and_fill_lifetimes_in_order() -> None:
    provider = {"cache_write_5m": 100, "cache_write_1h": 50}
    decided = decide(cell(provider, {"cache_write_unsplit": 120}))
    assert decided.counted == provider
    assert decided.explained == {"cache_write_5m": 100, "cache_write_1h": 20}
    assert decided.unattributed == {"cache_write_5m": 0, "cache_write_1h": 30}


def test_cache_writes_that_stand_in_or_exceed_are_unsplit() -> None:
    provider = {"cache_write_5m": 100, "cache_write_1h": 50}
    stands_in = decide(cell(provider, {"cache_write_unsplit": 170}, OPEN))
    assert stands_in.counted == {**provider, "cache_write_unsplit": 20}
    assert stands_in.stand_in["cache_write_unsplit"] == 20
    exceeds = decide(cell(provider, {"cache_write_unsplit": 170}))
    assert exceeds.counted == {**provider, "cache_write_unsplit": 0}
    assert exceeds.excess["cache_write_unsplit"] == 20


def test_the_group_counts_on_top_of_what_the_provider_does_not_split() -> None:
    decided = decide(cell({"cache_write_unsplit": 40, "cache_write_12h": 10}, {"cache_write_unsplit": 70}, OPEN))
    assert decided.explained == {"cache_write_12h": 10, "cache_write_unsplit": 40}
    assert decided.counted == {"cache_write_12h": 10, "cache_write_unsplit": 60}


@pytest.mark.parametrize("coverage", [FINAL, CLOSED, OPEN])
def test_what_the_provider_never_reports_counts_as_a_lower_bound(coverage: Coverage) -> None:
    decided = decide(cell({"output": 10}, {"output": 5, "reasoning": 4}, coverage, reports=frozenset({"output"})))
    assert decided.counted["reasoning"] == 4
    assert decided.lower_bound == ("reasoning",)
    assert "reasoning" not in decided.explained


def test_without_an_adapter_everything_stands_in() -> None:
    decided = decide(cell(None, {"output": 5, "requests": 1}, Coverage(State.NONE), reports=None))
    assert decided.lower_bound == ()
    assert decided.stand_in == {"output": 5, "requests": 1}


def test_a_level_counts_as_the_provider_says_and_is_shared_by_nobody() -> None:
    measured = cell({"usage_bytes": 7}, None, reports=frozenset({"usage_bytes"}))
    assert decide(measured).counted == {"usage_bytes": 7}
    assert decide(measured).explained == {}
    assert decide(measured, "hermes_first").counted == {"usage_bytes": 7}
    assert decide(measured, "provider_only").counted == {"usage_bytes": 7}


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "hermes", "expected"),
    [(1000, 800, figures(1000, 800, 200, 0, 0)), (1000, 1100, figures(1100, 1100, 0, 0, 0))],
)
def test_hermes_first_counts_hermes_and_the_rest_of_the_provider(
    provider: int, hermes: int, expected: dict[str, int | None]
) -> None:
    decided = decide(cell({"output": provider}, {"output": hermes}), "hermes_first")
    assert decided.decision == "hermes"
    assert parts(decided) == expected


def test_hermes_first_counts_the_provider_where_hermes_is_null() -> None:
    decided = decide(cell({"output": 1000}, None), "hermes_first")
    assert head(decided) == (1, "provider", False, END)
    assert parts(decided) == figures(1000, 0, 1000, 0, 0)


@pytest.mark.parametrize(
    ("hermes_final", "coverage", "hermes", "provisional"),
    [
        (True, OPEN, 1100, False),  # nothing of the provider counts
        (True, OPEN, 800, True),
        (True, FINAL, 800, False),
        (False, FINAL, 1100, True),
    ],
)
def test_hermes_first_is_provisional_where_a_side_that_counts_is(
    hermes_final: bool, coverage: Coverage, hermes: int, provisional: bool
) -> None:
    decided = decide(cell({"output": 1000}, {"output": hermes}, coverage, hermes_final=hermes_final), "hermes_first")
    assert decided.provisional is provisional


def test_hermes_first_keeps_the_lifetimes_that_the_provider_splits() -> None:
    provider = {"cache_write_5m": 100, "cache_write_1h": 50}
    decided = decide(cell(provider, {"cache_write_unsplit": 170}), "hermes_first")
    assert decided.counted == {**provider, "cache_write_unsplit": 20}
    assert decided.explained == {**provider, "cache_write_unsplit": 20}


def test_provider_only_counts_the_provider_alone() -> None:
    decided = decide(cell({"output": 600}, {"output": 700}, OPEN), "provider_only")
    assert head(decided) == (6, "provider", True, NOON)
    assert parts(decided) == figures(600, 600, 0, 100, 0)


def test_provider_only_never_counts_what_only_hermes_tells() -> None:
    reports = frozenset({"output"})
    decided = decide(cell({"output": 10}, {"output": 5, "requests": 4}, reports=reports), "provider_only")
    assert decided.counted == {"output": 10}
    assert decided.lower_bound == ()


def test_provider_only_has_no_data_where_the_provider_has_none() -> None:
    decided = decide(cell(None, {"output": 800}, FAILED), "provider_only")
    assert (decided.decision, decided.provisional, decided.counted) == ("no_data", True, {})


def test_provider_only_counts_nothing_off_the_account() -> None:
    decided = decide(cell(None, {"output": 300}, provider_decides=False, reports=None), "provider_only")
    assert (decided.decision, decided.provisional, decided.counted) == ("hermes_only", False, {})


def test_hermes_only_counts_hermes_alone() -> None:
    decided = decide(cell({"output": 1000}, {"output": 800}, hermes_final=True), "hermes_only")
    assert (decided.decision, decided.provisional) == ("hermes", False)
    assert parts(decided) == figures(800, 800, 0, 0, 0)
    assert decide(cell({"output": 1000}, None), "hermes_only").decision == "no_data"


def test_hermes_only_marks_what_only_hermes_can_tell() -> None:
    decided = decide(cell({"output": 10}, {"output": 5, "requests": 4}, reports=frozenset({"output"})), "hermes_only")
    assert decided.counted == {"output": 5, "requests": 4}
    assert decided.lower_bound == ("requests",)


# --- for all ----------------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 10**15)
HERMES_MEASURES = ("uncached_input", "cache_read", "cache_write_unsplit", "output", "reasoning", "requests")


def sparse(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({}, optional={name: st.one_of(st.just(0), COUNTS) for name in names})


def halved(figures: Mapping[str, int], share: int) -> Halves:
    before = {name: value * share // 10 for name, value in figures.items()}
    return Halves(before, {name: value - before[name] for name, value in figures.items()})


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    coverage = draw(st.sampled_from([FINAL, CLOSED, OPEN, FAILED, Coverage(State.NONE)]))
    provider_decides = draw(st.booleans())
    known = provider_decides and (coverage.covers or draw(st.booleans()))
    provider = draw(sparse(tuple(RECONCILED_MEASURES))) if known else {}
    hermes = draw(st.one_of(st.none(), sparse(HERMES_MEASURES))) if provider_decides else draw(sparse(HERMES_MEASURES))
    # The adapter declares what it reports: everything that its rows have, and perhaps more.
    declared = {name for name in COMPARED if compared(provider, name) is not None}
    declared |= draw(st.sets(st.sampled_from(COMPARED)))
    reports = draw(st.sampled_from([frozenset(declared), None])) if not known else frozenset(declared)
    made = cell(
        provider if known else None,
        hermes,
        coverage,
        provider_decides=provider_decides,
        call_time=draw(st.booleans()),
        hermes_final=draw(st.booleans()),
        reports=reports if provider_decides else None,
    )
    if coverage == OPEN and hermes is not None and draw(st.booleans()):
        shares = draw(st.integers(0, 10)), draw(st.integers(0, 10))
        return replace(made, provider_halves=halved(provider, shares[0]), hermes_halves=halved(hermes, shares[1]))
    return made


@given(cells(), st.sampled_from(POLICIES))
def test_every_decision_conserves_and_no_figure_is_negative(made: Cell, policy: Policy) -> None:
    decided = decide(made, policy)
    outside = {name for name in COMPARED if made.only_hermes_tells(name)}
    for side in (decided.counted, decided.explained, decided.unattributed, decided.excess, decided.stand_in):
        assert all(value >= 0 for value in side.values())
    for name, value in decided.counted.items():
        group = "cache_write" if name in CACHE_WRITES else name
        if group in COMPARED and group not in outside:
            assert value == decided.explained[name] + decided.unattributed[name] + decided.stand_in[name]
    for name in set(COMPARED) - outside:
        told = [compared(side, name) or 0 for side in (decided.explained, decided.excess, decided.stand_in)]
        assert sum(told) == (compared(made.hermes or {}, name) or 0)


@given(cells())
def test_provider_first_counts_the_provider_and_what_stands_in(made: Cell) -> None:
    decided = decide(made)
    if made.provider_decides:
        for name in COMPARED:
            if not made.only_hermes_tells(name):
                counted, stand_in = compared(decided.counted, name) or 0, compared(decided.stand_in, name) or 0
                assert counted == (compared(made.provider, name) or 0) + stand_in


@given(cells())
def test_a_final_figure_of_the_provider_counts_as_it_is(made: Cell) -> None:
    if made.provider_decides and made.coverage.final:
        decided = decide(made)
        assert not decided.provisional
        assert not any(decided.stand_in.values())


@given(cells(), st.sampled_from(POLICIES))
def test_what_nobody_reports_is_null_under_every_policy(made: Cell, policy: Policy) -> None:
    decided = decide(made, policy)
    for name, value in decided.counted.items():
        group = "cache_write" if name in CACHE_WRITES else name
        known = made.provider.get(name), compared(made.hermes or {}, group) if group in COMPARED else None
        assert value == 0 or any(one is not None for one in known)


def test_tolerance_is_a_part_of_the_figure_or_a_small_floor() -> None:
    assert tolerance(1000, Decimal("0.02"), 10) == 20
    assert tolerance(100, Decimal("0.02"), 10) == 10
    assert tolerance(0, Decimal("0.02"), 10) == 10


def test_a_pull_that_started_at_the_days_end_has_closed_it() -> None:
    early = Coverage(State.PROVISIONAL, END - timedelta(seconds=1))
    assert decide(cell({"output": 1}, {"output": 2}, early)).row == 6
    assert decide(cell({"output": 1}, {"output": 2}, CLOSED)).row == 4


@given(cells(), st.sampled_from(POLICIES))
def test_what_a_proxy_passed_on_counts_upstream_unless_hermes_alone_counts(made: Cell, policy: Policy) -> None:
    passed_on = replace(made, provider_decides=True, provider={}, provider_reports=None, passed_on=True)
    decided = decide(passed_on, policy)
    if policy == "hermes_only":
        assert decided.row != 11
        return
    assert (decided.row, decided.decision, decided.provisional) == (11, "provider", not made.coverage.final)
    assert not any([*decided.counted.values(), *decided.explained.values(), *decided.stand_in.values()])
    for name in COMPARED:
        assert (compared(decided.excess, name) or 0) == (compared(made.hermes or {}, name) or 0)
