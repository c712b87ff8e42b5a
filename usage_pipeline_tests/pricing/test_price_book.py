"""Prices by day, against list prices worked by hand."""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal
from subprocess import run
from time import perf_counter

import pytest
from genai_prices import data_snapshot
from genai_prices.data import providers
from genai_prices.types import StartDateConstraint

from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import RATE_NAMES, cost_usd
from usage_pipeline.pricing.variants import PriceVariant

DAY = date(2026, 11, 20)
ORDINARY = PriceVariant()
BATCH = PriceVariant(batch="true")
LONG = PriceVariant(context_window="200k-1M")


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def priced(
    book: PriceBook, model: str, variant: PriceVariant = ORDINARY, day: date = DAY, provider: str = ""
) -> PriceQuote:
    quote = book.rates_for(provider or ("anthropic" if "claude" in model else "openai"), model, variant, day)
    assert quote is not None, book.quote("anthropic" if "claude" in model else "openai", model, variant, day).basis
    return quote


def of(book: PriceBook, model: str, *names: str, variant: PriceVariant = ORDINARY, day: date = DAY) -> list[str]:
    found = priced(book, model, variant, day).rates
    return [format(getattr(found, name).normalize(), "f") for name in names]


def test_gpt_5_has_its_list_price(book: PriceBook) -> None:
    assert of(book, "gpt-5", "uncached_input", "cache_read", "output") == ["1.25", "0.125", "10"]


def test_claude_sonnet_4_5_has_its_list_price(book: PriceBook) -> None:
    names = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "searches")
    assert of(book, "claude-sonnet-4-5", *names) == ["3", "0.3", "3.75", "6", "15", "10"]


def test_a_quote_names_its_version_and_basis(book: PriceBook) -> None:
    quote = priced(book, "gpt-5")
    assert quote.version.startswith("genai-prices ")
    assert (quote.basis, quote.day, quote.model) == ("base tier", DAY, "gpt-5")


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        ("gpt-5-2025-08-07", "gpt-5"),
        ("GPT-5", "gpt-5"),
        ("gpt-5.2-20251211", "gpt-5.2"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("claude-opus-4-1-20250805", "claude-opus-4-1"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("ft:gpt-4o-mini-2024-07-18:acme::id", "ft:gpt-4o-mini-2024-07-18"),
        ("gpt-4o-mini-realtime-preview-2024-12-17", "gpt-4o-mini-realtime-preview"),
    ],
)
def test_a_snapshot_has_the_price_of_its_model(book: PriceBook, model: str, same_as: str) -> None:
    assert priced(book, model).rates == priced(book, same_as).rates


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", "gpt-5-turbo"),
        ("openai", "gpt-5-2031-01-01"),
        ("openai", "gpt-5-nano-max"),
        ("openai", "claude-sonnet-4-5"),
        ("openai", "gpt-4o-audio-preview"),
        ("openai", ""),
        ("anthropic", "claude"),
        ("anthropic", "claude-sonnet-4-5-turbo"),
        ("anthropic", "claude-haiku-4-55"),
        ("anthropic", "claude-2.5"),
        ("anthropic", "my-claude-v2-clone"),
        ("azure", "gpt-5-from-elsewhere"),
        ("openai-codex", "gpt-5"),
        ("bedrock", "claude-sonnet-4-5"),
        ("unknown", "gpt-5"),
    ],
)
def test_an_unknown_model_has_no_price_and_never_a_similar_ones(book: PriceBook, provider: str, model: str) -> None:
    assert book.rates_for(provider, model, ORDINARY, DAY) is None
    quote = book.quote(provider, model, ORDINARY, DAY)
    assert (quote.rates, quote.basis) == (None, "unpriced: unknown model")


def test_every_model_of_both_vendors_is_found_by_its_own_id(book: PriceBook) -> None:
    lost = {
        model.id
        for provider in providers
        if provider.id in ("openai", "anthropic")
        for model in provider.models
        if book.rates_for(provider.id, model.id, ORDINARY, DAY) is None
    }
    # Two entries list text prices for audio models, the others' ids are no names of models.
    assert lost == {"gpt-4o-audio-preview", "gpt-4o-mini-audio-preview", "ft:gpt-4o", "ft:gpt-4o-mini", "moderation"}


def test_moderation_is_free_and_not_unknown(book: PriceBook) -> None:
    quote = priced(book, "omni-moderation-latest")
    assert quote.rates is not None
    assert quote.basis == "free of charge"
    assert cost_usd(quote.rates, {"uncached_input": 5, "requests": 1}).amount_usd == 0


@pytest.mark.parametrize(
    ("vendor", "model"), [("google", "gemini-2.5-pro"), ("xai", "grok-4"), ("moonshot", "kimi-k2")]
)
def test_other_vendors_models_have_prices_too(book: PriceBook, vendor: str, model: str) -> None:
    assert book.quote(vendor, model, ORDINARY, DAY).basis.startswith("base tier")


def test_a_price_that_depends_on_the_hour_is_none_for_a_day(book: PriceBook) -> None:
    assert book.quote("deepseek", "deepseek-chat", ORDINARY, DAY).basis == (
        "unpriced: price depends on the hour of the day"
    )


def test_a_days_sum_is_never_priced_as_one_long_request(book: PriceBook) -> None:
    quote = priced(book, "claude-sonnet-4-5")
    assert quote.rates is not None
    assert cost_usd(quote.rates, {"uncached_input": 10_000_000}).amount_usd == 30
    assert quote.basis == "base tier, context window not told"


def test_the_long_context_price_is_taken_when_the_window_says_so(book: PriceBook) -> None:
    names = ("uncached_input", "cache_read", "output")
    assert of(book, "claude-sonnet-4-5", *names, variant=LONG) == ["6", "0.6", "22.5"]
    assert priced(book, "claude-sonnet-4-5", LONG).basis == "long context"
    assert priced(book, "claude-sonnet-4-5", PriceVariant(context_window="0-200k")).basis == "base tier"


def test_a_flat_price_holds_for_every_window(book: PriceBook) -> None:
    assert priced(book, "claude-opus-4-7", LONG).rates == priced(book, "claude-opus-4-7").rates
    assert priced(book, "claude-opus-4-7", LONG).basis == "base tier"


def test_a_window_over_a_limit_is_priced_at_the_base_tier_and_says_so(book: PriceBook) -> None:
    quote = priced(book, "claude-haiku-5-5", PriceVariant(context_window="0-200k"))
    assert quote.basis == "base tier, context window reaches over the limit of 100000 tokens"
    assert of(book, "claude-haiku-5-5", "output", variant=PriceVariant(context_window="0-200k")) == ["0.5"]


def test_an_unknown_window_of_a_tiered_model_has_no_price(book: PriceBook) -> None:
    unknown = PriceVariant(context_window="enormous")
    assert book.quote("anthropic", "claude-sonnet-4-5", unknown, DAY).basis == (
        "unpriced: no price for context window enormous"
    )


def test_openais_long_context_line_takes_the_long_tier(book: PriceBook) -> None:
    variant = PriceVariant(context_window="long context")
    assert of(book, "gpt-5.4", "uncached_input", "output", variant=variant) == ["5", "22.5"]


@pytest.mark.parametrize(
    ("tier", "expected"),
    [("flex", ["0.625", "0.0625", "5"]), ("priority", ["2.5", "0.25", "20"]), ("default", ["1.25", "0.125", "10"])],
)
def test_openais_tiers_have_their_own_prices(book: PriceBook, tier: str, expected: list[str]) -> None:
    variant = PriceVariant(service_tier=tier)
    assert of(book, "gpt-5", "uncached_input", "cache_read", "output", variant=variant) == expected


@pytest.mark.parametrize(
    ("provider", "model", "variant"),
    [
        ("openai", "gpt-5", PriceVariant(service_tier="bogus")),
        ("openai", "gpt-5", PriceVariant(service_tier="scale")),
        ("openai", "gpt-5", PriceVariant(service_tier="flex", batch="true")),
        ("openai", "gpt-5", PriceVariant(batch="perhaps")),
        ("openai", "gpt-5", PriceVariant(inference_geo="us")),
        ("openai", "gpt-5-pro", PriceVariant(service_tier="priority")),
        ("openai", "text-embedding-3-small", BATCH),
        ("anthropic", "claude-sonnet-4-5", PriceVariant(service_tier="priority")),
        ("anthropic", "claude-sonnet-4-5", PriceVariant(service_tier="flex_discount")),
        ("anthropic", "claude-sonnet-4-5", PriceVariant(speed="fast")),
        ("anthropic", "claude-opus-5", PriceVariant(speed="fast", batch="true")),
        ("anthropic", "claude-opus-5", PriceVariant(inference_geo="moon")),
    ],
)
def test_what_the_list_lacks_is_never_the_ordinary_price(
    book: PriceBook, provider: str, model: str, variant: PriceVariant
) -> None:
    assert book.rates_for(provider, model, variant, DAY) is None
    assert book.quote(provider, model, variant, DAY).basis.startswith("unpriced: no price for ")


def test_openais_tiers_before_the_library_knew_them_have_no_price(book: PriceBook) -> None:
    assert book.rates_for("openai", "gpt-5", PriceVariant(service_tier="flex"), date(2026, 10, 11)) is None
    assert book.rates_for("openai", "gpt-5", BATCH, date(2026, 10, 13)) is None
    assert book.rates_for("openai", "gpt-5", BATCH, date(2026, 10, 14)) is not None


def test_batch_is_half_and_searches_are_not(book: PriceBook) -> None:
    names = ("uncached_input", "cache_read", "cache_write_1h", "output", "searches")
    for day, basis in ((DAY, "batch"), (date(2025, 10, 1), "batch (half the standard rates)")):
        quote = priced(book, "claude-sonnet-4-5", PriceVariant("batch", None, "0-200k"), day)
        assert [getattr(quote.rates, name) for name in names] == [
            Decimal(amount) for amount in ("1.5", "0.15", "3", "7.5", "10")
        ]
        assert quote.basis == basis


def test_anthropics_batch_has_no_price_before_it_existed(book: PriceBook) -> None:
    assert book.rates_for("anthropic", "claude-3-5-sonnet-20240620", BATCH, date(2024, 10, 7)) is None


def test_half_the_standard_rates_is_what_the_library_lists_for_anthropics_batches(book: PriceBook) -> None:
    vendor = next(provider for provider in providers if provider.id == "anthropic")
    listed = [
        model.id
        for model in vendor.models
        if any(
            variant.when == {"processing": "batch"} and isinstance(variant.constraint, StartDateConstraint)
            for variant in model.price_variants or ()
        )
    ]
    assert len(listed) > 5
    for model in listed:
        before, after = priced(book, model, BATCH, date(2026, 10, 13)), priced(book, model, BATCH, DAY)
        for name in RATE_NAMES:
            assert getattr(before.rates, name) == getattr(after.rates, name), (model, name)


def test_fast_mode_and_inference_in_the_us_cost_more(book: PriceBook) -> None:
    fast = PriceVariant(speed="fast")
    assert of(book, "claude-opus-5", "uncached_input", "output", variant=fast) == ["10", "50"]
    quote = priced(book, "claude-opus-5", PriceVariant(inference_geo="us"))
    assert quote.rates is not None
    assert (quote.rates.uncached_input, quote.rates.searches) == (Decimal("5.5"), Decimal(10))
    assert quote.basis == "US inference (1.1 x)"


def test_a_new_price_holds_from_the_start_of_its_utc_day(book: PriceBook) -> None:
    assert of(book, "o3", "uncached_input", "output", day=date(2025, 6, 9)) == ["10", "40"]
    assert of(book, "o3", "uncached_input", "output", day=date(2025, 6, 10)) == ["2", "8"]


def test_cache_writes_of_openai_have_documented_rates(book: PriceBook) -> None:
    free = priced(book, "gpt-5").rates
    assert free is not None
    assert free.cache_write_30m == free.cache_write_12h == free.cache_write_unsplit == Decimal("1.25")
    assert ("cache_write_30m", "at the input rate") in free.stand_ins
    charged = priced(book, "gpt-6.1-terra").rates
    assert charged is not None
    assert (charged.cache_write_30m, charged.cache_write_unsplit) == (Decimal("1.25"), Decimal("1.25"))
    assert (charged.cache_write_12h, charged.cache_write_5m, charged.cache_write_1h) == (None, None, None)
    assert charged.stand_ins == (("cache_write_unsplit", "at the 30m rate"),)


def test_unsplit_cache_writes_of_anthropic_cost_as_five_minutes(book: PriceBook) -> None:
    rates = priced(book, "claude-sonnet-4-5").rates
    assert rates is not None
    assert (rates.cache_write_30m, rates.cache_write_12h) == (None, None)
    found = cost_usd(rates, {"cache_write_unsplit": 1_000_000})
    assert (found.amount_usd, found.assumed) == (Decimal("3.75"), ("cache_write_unsplit at the 5m rate",))


def test_audio_by_the_second_and_speech_by_the_character_have_prices(book: PriceBook) -> None:
    assert of(book, "whisper-1", "seconds") == ["0.0001"]
    assert of(book, "tts-1", "characters") == ["15"]
    live = priced(book, "gpt-live-1").rates
    assert live is not None
    assert live.seconds is None  # $3 an hour is no finite decimal a second


def test_forty_thousand_quotes_take_less_than_two_seconds(book: PriceBook) -> None:
    models = ("gpt-5", "gpt-5-mini", "gpt-4o", "o3", "gpt-99")
    started = perf_counter()
    for cell in range(40_000):
        variant = PriceVariant(service_tier=("default", "flex")[cell % 2])
        quote = book.quote("openai", models[cell % 5], variant, date.fromordinal(DAY.toordinal() - cell % 300))
        if quote.rates is not None:
            cost_usd(quote.rates, {"uncached_input": cell, "output": cell})
    assert perf_counter() - started < 2


def test_the_library_is_not_imported_before_the_first_price() -> None:
    program = "import sys; import usage_pipeline.pricing.price_book; sys.exit('genai_prices' in sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_snapshot_that_something_else_loaded_does_not_change_prices(book: PriceBook) -> None:
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert PriceBook().rates_for("openai", "gpt-5", ORDINARY, DAY) == book.rates_for(
            "openai", "gpt-5", ORDINARY, DAY
        )
    finally:
        data_snapshot.set_custom_snapshot(None)
