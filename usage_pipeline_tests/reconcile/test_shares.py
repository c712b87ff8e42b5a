"""Whatever is cut, the parts add up to the whole."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvariantError
from usage_pipeline.reconcile.cells import CellKey, HermesShare
from usage_pipeline.reconcile.decision import Decided
from usage_pipeline.reconcile.shares import shares_of_cell, spread, spread_over_rows

KEY = CellKey("openai", "account", "text", "gpt-5")
COUNTS = st.integers(0, 10**18)


def hermes_row(number: int, **figures: int) -> HermesShare:
    return HermesShare(UUID(int=number), 1, "gpt-5", figures, None, None, included=False)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),  # 3 each and 1 over: of equal remainders the first
        (800, [300, 500], [300, 500]),
        (100, [1, 2], [33, 67]),  # 33.33 and 66.67: the larger remainder takes the one
        (1, [0, 0, 5], [0, 0, 1]),
        (7, [0, 0], [7, 0]),
        (0, [3, 4], [0, 0]),
        (0, [], []),
    ],
)
def test_the_largest_remainder_takes_what_is_over(total: int, weights: list[int], parts: list[int]) -> None:
    assert spread(total, weights) == parts


@given(COUNTS, st.lists(COUNTS, min_size=1, max_size=30))
def test_parts_sum_to_the_whole_and_are_never_negative(total: int, weights: list[int]) -> None:
    parts = spread(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0


@given(st.lists(COUNTS, min_size=1, max_size=30), st.data())
def test_no_row_gets_more_than_its_own_where_the_whole_is_not_above_the_rows(
    weights: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    assert all(part <= weight for part, weight in zip(spread(total, weights), weights, strict=True))


def test_ties_go_to_the_lesser_key_in_whatever_order_the_rows_come() -> None:
    rows = [hermes_row(n, output=1) for n in (3, 1, 2)]
    spread_rows = [(row.event_id.int, figures) for row, figures in spread_over_rows({"output": 2}, rows)]
    assert spread_rows == [(1, {"output": 1}), (2, {"output": 1})]


def test_explained_and_stand_in_are_rows_of_their_own() -> None:
    decided = Decided(6, "provider_then_hermes", True, None, explained={"output": 600}, stand_in={"output": 100})
    rows = [hermes_row(1, output=500), hermes_row(2, output=200)]
    # 600 x 5/7 = 428.57 and 171.43; 100 x 5/7 = 71.43 and 28.57.
    assert [(share.share, share.event_id.int, share.figures) for share in shares_of_cell(KEY, decided, rows)] == [
        ("explained", 1, {"output": 429}),
        ("explained", 2, {"output": 171}),
        ("stand_in", 1, {"output": 71}),
        ("stand_in", 2, {"output": 29}),
    ]


def test_cache_writes_are_spread_as_one_group_and_are_unsplit() -> None:
    explained = {"cache_write_5m": 100, "cache_write_1h": 20}
    rows = [hermes_row(1, cache_write_unsplit=90), hermes_row(2, cache_write_unsplit=30)]
    assert [figures for _, figures in spread_over_rows(explained, rows)] == [
        {"cache_write_unsplit": 90},
        {"cache_write_unsplit": 30},
    ]


def test_a_figure_that_comes_from_no_row_is_a_defect() -> None:
    with pytest.raises(InvariantError, match="no Hermes row"):
        spread_over_rows({"output": 1}, [])
