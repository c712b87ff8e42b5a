"""Why a bill and its usage differ: every reason by figures that a person can check, and none by a guess.

The model costs 1 dollar per million tokens of input, 0.10 cached, 10 of output; twice that at priority, half in batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from usage_pipeline.ledger.reconcile_inputs import BilledSum
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.bill_lines import Line, Use, read_line
from usage_pipeline.reconcile.bill_reasons import REASONS, DayGap, Reason, reason_of

MILLION = 1_000_000
RATES = Rates(uncached_input=Decimal(1), cache_read=Decimal("0.1"), output=Decimal(10), searches=Decimal(10))
_TIMES = {"priority": 2, "batch": Decimal("0.5"), "long": 3}


def rates(times: Decimal | int) -> Rates:
    return Rates(uncached_input=times * Decimal(1), cache_read=times * Decimal("0.1"), output=times * Decimal(10))


def price(_model: str, variant: PriceVariant) -> Rates | None:
    if variant.service_tier == "nobody-knows":
        return None
    name = variant.service_tier or ("batch" if variant.batch else "long" if variant.context_window else None)
    return rates(_TIMES[name]) if name else RATES


def line(usd: str, label: str = "gpt-5, output", **more: object) -> Line:
    """A line as OpenAI writes it: ``priority | gpt-5, output, long context``."""
    tier, bar, rest = label.partition(" | ")
    words = (rest if bar else label).split(", ")
    classes = {"input": "uncached_input", "cached input": "cache_read", "output": "output"}
    named = words[0].startswith("gpt")
    billed = BilledSum(
        slice_id=1,
        label=label,
        model=words[0] if named else None,
        cost_type=None,
        amount_usd=Decimal(usd),
        token_type=next((classes[word] for word in words[1:] if word in classes), None),
        service_tier=tier if bar else None,
    )
    return read_line(billed._replace(**more))  # type: ignore[arg-type]


def use(model: str = "gpt-5", variant: PriceVariant | None = None, **figures: int) -> Use:
    of = variant or PriceVariant()
    return Use(model, model, of, price(model, of) or RATES, figures)


def reason(
    lines: Sequence[Line], uses: Sequence[Use], around: Sequence[DayGap] = (), tolerance: str = "0.02"
) -> Reason:
    """The reason for what these lines bill beyond what this usage costs."""
    measures = ("uncached_input", "cache_read", "output", "searches")
    computed = sum((one.cost(name) for one in uses for name in measures), Decimal(0))
    gap = sum((one.usd for one in lines), Decimal(0)) - computed
    return reason_of(gap, Decimal(tolerance), lines, uses, price, lambda: around)


def told(found: Reason) -> tuple[str, Decimal]:
    return found.word, round(found.usd, 6)


def test_a_tier_that_the_usage_does_not_show_is_the_reason_by_the_tokens_that_its_dollars_buy() -> None:
    # 300,000 of the million output tokens were priority: 6 dollars in place of 3.
    lines = [line("7"), line("6", "priority | gpt-5, output")]
    found = reason(lines, [use(output=MILLION)])
    assert told(found) == ("tier", Decimal(3))
    assert "300,000 tokens" in found.words


def test_a_tier_without_a_list_price_is_told_by_the_tokens_that_the_other_lines_leave() -> None:
    lines = [line("7"), line("5", "nobody-knows | gpt-5, output")]
    assert told(reason(lines, [use(output=MILLION)])) == ("tier", Decimal(2))


@pytest.mark.parametrize("amounts", [("0",), ("5", "-5")])
def test_lines_of_a_tier_that_come_to_nothing_tell_nothing_of_tokens(amounts: tuple[str, ...]) -> None:
    lines = [line("7"), *(line(usd, "nobody-knows | gpt-5, output") for usd in amounts)]
    assert reason(lines, [use(output=MILLION)]).word in REASONS


def test_a_line_of_a_tier_for_more_tokens_than_were_used_is_no_tier() -> None:
    lines = [line("10"), line("60", "priority | gpt-5, output")]
    assert reason(lines, [use(output=MILLION)]).word == "unknown"


def test_batch_lines_are_the_reason_where_the_usage_is_shown_at_the_base_tier() -> None:
    lines = [line("5", "batch | gpt-5, output"), line("0.5", "batch | gpt-5, input")]
    found = reason(lines, [use(output=MILLION, uncached_input=MILLION)])
    assert told(found) == ("batch", Decimal("-5.5"))


def test_batch_usage_that_is_billed_at_the_base_tier_is_the_batch_too() -> None:
    found = reason([line("10")], [use(variant=PriceVariant(batch="true"), output=MILLION)])
    assert told(found) == ("batch", Decimal(5))


def test_long_context_is_read_from_the_words_of_the_line() -> None:
    lines = [line("9"), line("3", "gpt-5, output, long context")]
    assert told(reason(lines, [use(output=MILLION)])) == ("long_context", Decimal(2))


def test_a_place_of_inference_is_told_by_the_line() -> None:
    billed = line("11", inference_geo="us")
    assert reason([replace(billed, tokens=Decimal(MILLION))], [use(output=MILLION)]).word == "inference_geo"


def test_web_searches_are_those_beyond_the_ones_that_the_usage_shows() -> None:
    lines = [line("10"), line("30", "web search tool calls")]
    found = reason(lines, [use(output=MILLION, searches=1000)])
    assert told(found) == ("web_search", Decimal(20))


def test_lines_without_tokens_are_told_by_their_words() -> None:
    for label, word in (
        ("Code interpreter sessions", "tools"),
        ("File search storage", "tools"),
        ("Scale tier commitment", "priority_commitment"),
        ("Reserved capacity", "priority_commitment"),
        ("Goodwill credit", "other_lines"),
    ):
        found = reason([line("10"), line("-4", label)], [use(output=MILLION)])
        assert told(found) == (word, Decimal(-4))
        assert label in found.words


def test_lines_of_two_kinds_together_are_told_by_the_larger() -> None:
    lines = [line("10"), line("4", "Scale tier commitment"), line("1", "Code interpreter sessions")]
    found = reason(lines, [use(output=MILLION)])
    assert told(found) == ("priority_commitment", Decimal(5))
    assert "tools: 1.00 USD" in found.words


def test_input_that_is_billed_as_cached_is_the_cache() -> None:
    # All of it was used uncached, and half of it is billed as cached.
    lines = [line("0.5", "gpt-5, input"), line("0.05", "gpt-5, cached input"), line("10")]
    found = reason(lines, [use(uncached_input=MILLION, output=MILLION)])
    assert told(found) == ("cached", Decimal("-0.45"))
    assert "cache_read 500,000, uncached_input 500,000" in found.words


def test_lines_that_are_all_off_by_one_factor_are_a_negotiated_price() -> None:
    lines = [line("0.85", "gpt-5, input"), line("8.5")]
    found = reason(lines, [use(uncached_input=MILLION, output=MILLION)])
    assert told(found) == ("negotiated", Decimal("-1.65"))
    assert "0.85 times" in found.words


def test_a_single_line_is_a_price_only_if_it_states_the_tokens_or_another_model_is_off_alike() -> None:
    assert reason([line("8.5")], [use(output=MILLION)]).word == "unknown"
    stated = replace(line("8.5"), tokens=Decimal(MILLION))
    assert told(reason([stated], [use(output=MILLION)])) == ("negotiated", Decimal("-1.5"))
    lines = [line("8.5"), line("17", "gpt-4o, output")]
    found = reason(lines, [use(output=MILLION), use("gpt-4o", output=2 * MILLION)])
    assert told(found) == ("negotiated", Decimal("-4.5"))


def test_lines_that_are_off_by_different_factors_are_not_negotiated() -> None:
    lines = [line("0.85", "gpt-5, input"), line("7")]
    assert reason(lines, [use(uncached_input=MILLION, output=MILLION)]).word == "unknown"


def test_lines_that_state_more_tokens_than_were_used_say_how_many() -> None:
    stated = replace(line("12"), tokens=Decimal(1_200_000))
    found = reason([stated], [use(output=MILLION)])
    assert told(found) == ("tokens_differ", Decimal(2))
    assert "1,200,000 tokens, the usage 1,000,000" in found.words


def test_quantities_are_read_in_the_units_that_the_bill_names() -> None:
    assert line("1", quantity=Decimal(30)).tokens == 30
    assert line("1", quantity=Decimal(30), quantity_unit="tokens").tokens == 30
    assert line("1", quantity=Decimal("0.5"), quantity_unit="1000_tokens").tokens == 500
    assert line("1", quantity=Decimal(30), quantity_unit="images").tokens is None
    assert line("1", "web search tool calls", quantity=Decimal(30)).tokens is None


def test_models_on_one_side_alone_are_named() -> None:
    found = reason([line("10"), line("4", "gpt-4o, output")], [use(output=MILLION)])
    assert told(found) == ("model_not_used", Decimal(4))
    found = reason([line("10")], [use(output=MILLION), use("gpt-4o", output=MILLION)])
    assert told(found) == ("model_not_billed", Decimal(-10))


def test_days_that_make_up_for_each_other_are_a_day_boundary() -> None:
    after = DayGap(date(2026, 3, 11), Decimal("-2.01"))
    found = reason([line("12")], [use(output=MILLION)], [DayGap(date(2026, 3, 9), Decimal(0)), after])
    assert told(found) == ("day_boundary", Decimal("2.01"))
    assert "2026-03-11 (-2.01 USD)" in found.words
    both = [DayGap(date(2026, 3, 9), Decimal(-1)), DayGap(date(2026, 3, 11), Decimal(-1))]
    assert told(reason([line("12")], [use(output=MILLION)], both)) == ("day_boundary", Decimal(2))


def test_neighbours_are_asked_only_where_the_lines_do_not_tell() -> None:
    asked: list[str] = []

    def around() -> list[DayGap]:
        asked.append("around")
        return []

    lines = [line("10"), line("4", "Code interpreter sessions")]
    assert reason_of(Decimal(4), Decimal("0.02"), lines, [use(output=MILLION)], price, around).word == "tools"
    assert asked == []
    assert reason_of(Decimal(4), Decimal("0.02"), [line("14")], [use(output=MILLION)], price, around).word == "unknown"
    assert asked == ["around"]


def test_what_accounts_for_a_part_says_how_much() -> None:
    lines = [line("17"), line("2", "Code interpreter sessions")]
    found = reason(lines, [use(output=MILLION)])
    assert told(found) == ("tools", Decimal(2))
    assert "+2.00 USD of +9.00 USD" in found.words


def test_what_would_leave_more_than_before_is_no_reason() -> None:
    lines = [line("6"), line("2", "Code interpreter sessions")]
    assert told(reason(lines, [use(output=MILLION)])) == ("unknown", Decimal(0))


def test_every_reason_that_is_told_is_listed() -> None:
    assert all(words and not words.endswith(".") for words in REASONS.values())
    assert reason([line("14")], [use(output=MILLION)]).word in REASONS
