from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox import Alterations, TokenTotals, Vanish, World
from usage_pipeline_tests.sandbox.conftest import DAY_S, MONDAY_S, NOW

TUESDAY = date(2026, 11, 10)


def test_the_same_seed_tells_the_same_story_in_any_order_of_asking() -> None:
    forwards, backwards = World(3, NOW), World(3, NOW)
    days = [TUESDAY + timedelta(days=n) for n in range(5)]
    assert [forwards.token_totals("openai", day) for day in days] == [
        backwards.token_totals("openai", day) for day in reversed(days)
    ][::-1]


def test_another_seed_tells_another_story() -> None:
    assert World(3, NOW).token_totals("openai", TUESDAY) != World(4, NOW).token_totals("openai", TUESDAY)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 24 * 60), max_size=6))
def test_a_day_is_the_sum_of_any_minutes_it_is_cut_into(cuts: list[int]) -> None:
    world = World(7, NOW)
    edges = [MONDAY_S, *sorted(MONDAY_S + 60 * cut for cut in cuts), MONDAY_S + DAY_S]
    pieces = [row for start, end in pairwise(edges) for row in world.openai_rows(start, end)]
    assert sorted(pieces, key=repr) == sorted(world.openai_rows(MONDAY_S, MONDAY_S + DAY_S), key=repr)


def test_nothing_is_known_of_the_future() -> None:
    world = World(7, NOW)
    assert max(row.at_s for row in world.openai_rows(MONDAY_S, MONDAY_S + 30 * DAY_S)) < NOW.timestamp()
    assert world.token_totals("anthropic", NOW.date() + timedelta(days=1)) == {}


def test_a_working_day_is_busier_than_a_sunday_and_some_hours_are_idle() -> None:
    world = World(7, NOW)
    tuesday, sunday = (
        sum(world.token_totals("openai", day).values(), TokenTotals()).input_total
        for day in (TUESDAY, date(2026, 11, 8))
    )
    assert tuesday > 3 * sunday
    busy = {row.at_s // 3600 for row in world.openai_rows(MONDAY_S, MONDAY_S + 7 * DAY_S)}
    assert 60 < len(busy) < 7 * 24


def test_every_provider_has_its_models_and_its_bill() -> None:
    world = World(7, NOW)
    assert {"gpt-5-2025-08-07", "gpt-4o-mini-2024-07-18", "o3-2025-04-16"} <= set(world.token_totals("openai", TUESDAY))
    assert {"claude-sonnet-4-5-20250929", "claude-opus-4-1-20250805"} <= set(world.token_totals("anthropic", TUESDAY))
    for provider in ("openai", "anthropic"):
        by_model = world.bill_by_model_usd(provider, TUESDAY)
        assert world.bill_usd(provider, TUESDAY) == sum(by_model.values(), Decimal(0)) > 1


def test_a_restated_day_changes_and_its_neighbours_do_not() -> None:
    world = World(7, NOW)
    halved = Alterations(restate={"openai:2026-11-10": Decimal("0.5")})
    before, after = (world.token_totals("openai", TUESDAY, a) for a in (Alterations(), halved))
    assert after != before
    assert after["gpt-5-2025-08-07"].output < before["gpt-5-2025-08-07"].output * 0.51
    assert after["gpt-5-2025-08-07"].requests == before["gpt-5-2025-08-07"].requests
    assert world.bill_usd("openai", TUESDAY, halved) < world.bill_usd("openai", TUESDAY)
    wednesday = TUESDAY + timedelta(days=1)
    assert world.token_totals("openai", wednesday, halved) == world.token_totals("openai", wednesday)
    assert world.token_totals("anthropic", TUESDAY, halved) == world.token_totals("anthropic", TUESDAY)


def test_vanished_rows_are_gone_from_usage_and_bill() -> None:
    world = World(7, NOW)
    gone = Alterations(vanish=(Vanish(TUESDAY, model="o3-2025-04-16"),))
    assert "o3-2025-04-16" not in world.token_totals("openai", TUESDAY, gone)
    assert "o3-2025-04-16" not in world.bill_by_model_usd("openai", TUESDAY, gone)


def test_a_clock_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="sandbox_clock_naive"):
        World(1, datetime(2026, 11, 1))  # noqa: DTZ001


def test_a_moving_clock_reveals_more() -> None:
    times = [datetime(2026, 11, 10, 9, tzinfo=UTC)]
    world = World(7, lambda: times[-1])
    morning = world.bill_usd("openai", TUESDAY)
    times.append(datetime(2026, 11, 10, 18, tzinfo=UTC))
    assert world.bill_usd("openai", TUESDAY) > morning
