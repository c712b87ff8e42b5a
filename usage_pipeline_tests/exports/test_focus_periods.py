"""Billing periods, their statements, and how one statement corrects another: plain functions, no database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from usage_pipeline.exports.billing_periods import period_of, statements
from usage_pipeline.exports.focus_charges import Charge, ChargeKey, DayCharges
from usage_pipeline.exports.focus_table import charges_told
from usage_pipeline.exports.parts import PART_DIMENSIONS
from usage_pipeline.reconcile.cut_lines import Place

D = date(2026, 3, 10)
KEY = ChargeKey(Place(D, "acme", "openai", "account", "text", "gpt-5"), None, (None,) * len(PART_DIMENSIONS), "output")


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def months(*recorded: datetime) -> list[tuple[int, datetime | None]]:
    return [(one.period.start.month, one.as_of) for one in statements(D, recorded)]


def charge(quantity: int, price: int, usd: str) -> Charge:
    return Charge(quantity, Decimal(usd), Decimal(usd), Decimal(price), Decimal(price))


def told(before: Charge | None, now: Charge | None) -> list[Charge]:
    was, is_ = (DayCharges({KEY: one} if one else {}, {}) for one in (before, now))
    return [one for _, one, _ in charges_told(was, is_)]


def test_a_period_is_a_month_and_closes_five_days_after_it() -> None:
    period = period_of(date(2026, 12, 31))
    assert (period.start, period.end) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert period.closes == datetime(2027, 1, 6, tzinfo=UTC)


def test_what_is_recorded_before_the_close_is_one_statement_as_it_stands() -> None:
    assert months(at(3, 11), at(4, 5)) == [(3, None)]
    assert months() == [(3, None)]


def test_a_later_recording_corrects_in_the_first_period_that_was_open() -> None:
    closed = period_of(D).closes
    [first, second] = statements(D, [at(3, 11), at(4, 6)])
    assert (first.period.start.month, second.period.start.month, second.as_of) == (3, 4, None)
    assert first.as_of is not None
    assert first.as_of < closed
    assert [month for month, _ in months(at(3, 11), at(6, 20), at(4, 20), at(6, 21))] == [3, 4, 6]


def test_a_past_that_was_first_recorded_late_is_no_correction() -> None:
    assert months(at(7, 1), at(7, 2)) == [(3, None)]
    assert [month for month, _ in months(at(7, 1), at(9, 20))] == [3, 9]


def test_at_an_unchanged_price_a_correction_is_the_difference() -> None:
    assert told(charge(100, 10, "0.1"), charge(90, 10, "0.09")) == [charge(-10, 10, "-0.01")]
    assert told(charge(100, 10, "0.1"), charge(100, 10, "0.1")) == []


def test_at_another_price_the_charge_is_taken_back_and_told_anew() -> None:
    assert told(charge(100, 10, "0.1"), charge(100, 8, "0.08")) == [charge(-100, 10, "-0.1"), charge(100, 8, "0.08")]


def test_a_charge_that_vanished_is_taken_back_and_a_new_one_told() -> None:
    assert told(charge(100, 10, "0.1"), None) == [charge(-100, 10, "-0.1")]
    assert told(None, charge(100, 10, "0.1")) == [charge(100, 10, "0.1")]
