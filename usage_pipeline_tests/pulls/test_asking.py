"""What an endpoint is asked for: what was chosen, without what it is known not to take."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.learned_limits import LearnedLimits
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES
from usage_pipeline.providers.litellm_spend_logs import SPEND_LOGS
from usage_pipeline.providers.openai import COSTS
from usage_pipeline.providers.refusals import AskedTooMuchError
from usage_pipeline.pulls.asking import chosen_dimensions, default_dimensions, learn, request_for
from usage_pipeline.pulls.ranges import RangeRequest

FIRST, END = date(2026, 11, 1), date(2026, 11, 8)
NINE = tuple(MESSAGES.dimensions)


def asked(
    dimensions: tuple[str, ...] = NINE, learned: LearnedLimits | None = None, first: date = FIRST
) -> RangeRequest:
    return request_for(MESSAGES, first, END, "1h", dimensions, (), learned or LearnedLimits())


def refusal(
    refused_dimension: str | None = None, dimensions_max: int | None = None, page_limit: int | None = None
) -> AskedTooMuchError:
    return AskedTooMuchError(
        "too much",
        "here",
        refused_dimension=refused_dimension,
        dimensions_max=dimensions_max,
        page_limit=page_limit,
    )


def test_without_a_choice_the_endpoints_own_order_decides() -> None:
    assert chosen_dimensions("anthropic", MESSAGES, {}) == default_dimensions(MESSAGES) == NINE[:5]


def test_the_operator_chooses_dimensions_by_endpoint() -> None:
    environ = {"ANTHROPIC_MESSAGES_DIMENSIONS": " model, inference_geo ,model", "OPENAI_COSTS_DIMENSIONS": "project_id"}
    assert chosen_dimensions("anthropic", MESSAGES, environ) == ("model", "inference_geo")
    assert chosen_dimensions("openai", COSTS, environ) == ("project_id",)


def test_an_unknown_dimension_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        InvalidInputError, match=r"dimension_unknown.*ANTHROPIC_MESSAGES_DIMENSIONS.*colour.*inference_geo"
    ):
        chosen_dimensions("anthropic", MESSAGES, {"ANTHROPIC_MESSAGES_DIMENSIONS": "model,colour"})


def test_a_proxy_must_be_asked_for_the_vendor_behind_a_call() -> None:
    with pytest.raises(InvalidInputError, match=r"dimension_needed.*upstream_provider"):
        chosen_dimensions("litellm", SPEND_LOGS, {"LITELLM_SPEND_LOGS_DIMENSIONS": "model"})
    environ = {"LITELLM_SPEND_LOGS_DIMENSIONS": "model,upstream_provider"}
    assert chosen_dimensions("litellm", SPEND_LOGS, environ) == ("model", "upstream_provider")


def test_nothing_learned_asks_for_everything_in_the_largest_pages() -> None:
    assert asked() == RangeRequest(FIRST, END, "1h", NINE)


def test_a_refused_dimension_is_left_out_and_the_others_stay() -> None:
    learned = learn(LearnedLimits(), refusal(refused_dimension="speed"), asked())
    assert learned is not None
    assert asked(learned=learned).dimensions == tuple(name for name in NINE if name != "speed")


def test_too_many_dimensions_leave_out_those_that_were_chosen_last() -> None:
    learned = learn(LearnedLimits(), refusal(dimensions_max=5), asked())
    assert learned is not None
    assert asked(learned=learned).dimensions == NINE[:5]
    assert asked(tuple(reversed(NINE)), learned).dimensions == tuple(reversed(NINE))[:5]


def test_a_page_limit_is_learned_for_the_width_that_was_refused() -> None:
    learned = learn(LearnedLimits(), refusal(page_limit=7), asked())
    assert learned is not None
    assert asked(learned=learned).page_limit == 7
    assert request_for(MESSAGES, FIRST, END, "1d", NINE, (), learned).page_limit is None


def test_what_is_learned_adds_up() -> None:
    first = learn(LearnedLimits(), refusal(dimensions_max=5), asked())
    assert first is not None
    second = learn(first, refusal(page_limit=24), asked(learned=first))
    assert second == LearnedLimits(frozenset(), 5, {"1h": 24})


@pytest.mark.parametrize(
    "again",
    [
        refusal(),
        refusal(refused_dimension="label"),
        refusal(dimensions_max=9),
        refusal(dimensions_max=0),
        refusal(page_limit=0),
    ],
)
def test_a_refusal_that_makes_nothing_smaller_teaches_nothing(again: AskedTooMuchError) -> None:
    assert learn(LearnedLimits(), again, asked()) is None


def test_the_same_refusal_of_a_smaller_request_teaches_nothing_more() -> None:
    smaller = replace(asked(), page_limit=7)
    assert learn(LearnedLimits(page_limits={"1h": 7}), refusal(page_limit=7), smaller) is None


def test_a_dimension_is_asked_for_from_the_day_on_that_it_exists() -> None:
    endpoint = replace(MESSAGES, dimension_since={"speed": date(2026, 11, 2)})
    before = request_for(endpoint, FIRST, END, "1h", ("model", "speed"), (), LearnedLimits())
    since = request_for(endpoint, date(2026, 11, 2), END, "1h", ("model", "speed"), (), LearnedLimits())
    assert (before.dimensions, since.dimensions) == (("model",), ("model", "speed"))


def test_costs_are_asked_for_in_days_whatever_the_keys_grain() -> None:
    assert request_for(COSTS, FIRST, END, "1h", ("label",), (), LearnedLimits()).width == "1d"


def test_a_scope_that_cannot_be_asked_for_needs_the_project_of_each_row() -> None:
    environ = {"ANTHROPIC_COST_REPORT_DIMENSIONS": "label", "ANTHROPIC_MESSAGES_DIMENSIONS": "model"}
    with pytest.raises(InvalidInputError, match=r"dimension_needed.*ANTHROPIC_COST_REPORT_DIMENSIONS.*project_id"):
        chosen_dimensions("anthropic", COST_REPORT, environ, ("wrkspc_a",))
    assert chosen_dimensions("anthropic", COST_REPORT, environ) == ("label",)
    assert chosen_dimensions("anthropic", MESSAGES, environ, ("wrkspc_a",)) == ("model",)  # asked for by its scope
