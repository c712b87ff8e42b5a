"""Where a budget stands follows from its days alone: thresholds, provisional part, forecast."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.budgets.budget import PERIODS, Budget, Period, Scope, period_of
from usage_pipeline.budgets.spending import Amount
from usage_pipeline.budgets.status import BudgetStatus, status_of
from usage_pipeline.errors import InvalidInputError

MONDAY = date(2026, 11, 16)


def budget(amount: str = "100", every: str = "week", **more: Any) -> Budget:
    return Budget(1, "acme", Scope("workspace", None), every, Decimal(amount), date(2026, 1, 1), **more)


def amounts(*usd: str, first: date = MONDAY, provisional: int = 0) -> dict[date, Amount]:
    """Days from ``first`` on, the last ``provisional`` of them provisional."""
    found = {}
    for n, amount in enumerate(usd):
        is_open = n >= len(usd) - provisional
        found[first + timedelta(days=n)] = Amount(Decimal(amount), Decimal(amount) if is_open else Decimal(0))
    return found


def stands(days: dict[date, Amount], today: date, one: Budget | None = None) -> BudgetStatus:
    asked = one or budget()
    return status_of(asked, period_of(asked.period, today), days, today)


def day(n: int) -> date:
    return MONDAY + timedelta(days=n)


@pytest.mark.parametrize(
    ("spent", "state", "warning_on", "exceeded_on"),
    [
        (("40", "39.999999999999999999"), "within", None, None),
        (("40", "40"), "warning", day(1), None),
        (("40", "40", "19.99"), "warning", day(1), None),
        (("40", "40", "20"), "exceeded", day(1), day(2)),
        (("120",), "exceeded", day(0), day(0)),
        (("90", "-30"), "within", None, None),
        (("90", "-30", "25"), "warning", day(2), None),
    ],
)
def test_a_threshold_is_reached_on_the_day_from_which_on_it_stands(
    spent: tuple[str, ...], state: str, warning_on: date | None, exceeded_on: date | None
) -> None:
    found = stands(amounts(*spent), day(4))
    assert (found.state, found.warning_on, found.exceeded_on) == (state, warning_on, exceeded_on)


def test_thresholds_are_those_of_the_budget() -> None:
    one = budget(warning_percent=Decimal("50.5"), exceeded_percent=Decimal(120))
    assert stands(amounts("50.49"), day(0), one).state == "within"
    assert stands(amounts("50.5"), day(0), one).state == "warning"
    assert stands(amounts("120"), day(0), one).state == "exceeded"


def test_only_days_of_the_period_are_spent_and_what_is_provisional_is_told() -> None:
    days = amounts(*["10"] * 9, first=day(-1), provisional=3)
    found = stands(days, day(6))
    assert found.spent == Amount(Decimal(70), Decimal(20))
    assert found.percent == Decimal("70.00")


def test_the_forecast_is_what_ended_and_the_mean_of_seven_days_for_the_rest() -> None:
    week = amounts("1", "2", "3", "4", "5", "6", "7", "8", first=day(-7))  # a mean of 4 before Monday, which has 8
    assert stands(week, day(0)).forecast_usd == Decimal(8 + 6 * 4)
    assert stands({**week, day(0): Amount(Decimal(1))}, day(0)).forecast_usd == Decimal(4 + 6 * 4)
    thirds = {day(n): Amount(Decimal(1)) for n in (0, 1)} | {day(2): Amount(Decimal(2))}
    assert stands(thirds, day(3)).forecast_usd == Decimal("9.333333333")  # 4 and four times 4/3


def test_days_that_were_never_reconciled_are_no_zeros_and_without_any_day_there_is_no_forecast() -> None:
    assert stands(amounts("6", "2"), day(2)).forecast_usd == Decimal(8 + 5 * 4)
    assert stands({}, day(2)).forecast_usd is None
    assert stands(amounts("9"), day(0)).forecast_usd is None


def test_a_period_that_ended_comes_to_what_it_is() -> None:
    one = budget()
    found = status_of(one, period_of("week", day(0)), amounts(*["10"] * 14), day(20))
    assert (found.spent.usd, found.forecast_usd) == (Decimal(70), Decimal(70))


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.sampled_from(PERIODS))
def test_every_day_lies_in_one_period_and_periods_leave_no_gap(any_day: date, every: str) -> None:
    period = period_of(every, any_day)
    assert period.first_day <= any_day < period.end_day
    assert all(period_of(every, one) == period for one in (period.first_day, period.last_day))
    assert period_of(every, period.end_day).first_day == period.end_day
    assert period_of(every, period.end_day).name > period.name


def test_periods_have_the_names_of_the_calendar() -> None:
    of_new_year = date(2027, 1, 2)
    assert [period_of(every, of_new_year) for every in PERIODS] == [
        Period(date(2027, 1, 2), date(2027, 1, 3), "2027-01-02"),
        Period(date(2026, 12, 28), date(2027, 1, 4), "2026-W53"),
        Period(date(2027, 1, 1), date(2027, 2, 1), "2027-01"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": Scope("project", None)},
        {"scope": Scope("workspace", "acme")},
        {"scope": Scope("user", "u")},
        {"period": "year"},
        {"amount_usd": Decimal(0)},
        {"warning_percent": Decimal(100)},
        {"exceeded_percent": Decimal(1001)},
        {"effective_to": date(2026, 1, 1)},
    ],
)
def test_a_malformed_budget_is_refused(wrong: dict[str, Any]) -> None:
    given_: dict[str, Any] = {
        "budget_id": 0,
        "workspace": None,
        "scope": Scope("workspace", None),
        "period": "month",
        "amount_usd": Decimal(1),
        "effective_from": date(2026, 1, 1),
    }
    with pytest.raises(InvalidInputError, match="budget_malformed"):
        Budget(**{**given_, **wrong})
