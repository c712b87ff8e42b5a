"""Prices as the ledger keeps them, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from usage_pipeline.ledger import migrate, prices, server
from usage_pipeline.pricing.overrides import PriceOverride
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home: Path = tmp_path_factory.mktemp("usage")
    with server.acquire({"USAGE_HOME": str(home)}) as acquired:
        migrate.upgrade(acquired.url)
        engine = server.connect_engine(acquired.url)
        yield engine
        engine.dispose()


@pytest.fixture(autouse=True)
def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE prices CASCADE"))


def test_quotes_come_back_as_they_were_priced_or_not(engine: Engine) -> None:
    book = PriceBook([PriceOverride(1, "openai", "ours", Rates(output=Decimal("0.000000001")), DAY)])
    quotes = [
        book.quote("anthropic", "claude-sonnet-4-5", PriceVariant(context_window="200k-1M"), DAY),
        book.quote("openai", "gpt-5", PriceVariant(service_tier="flex"), DAY),
        book.quote("openai", "gpt-99", PriceVariant(), DAY),
        book.quote("openai", "ours", PriceVariant(), DAY),
    ]
    with engine.begin() as connection:
        assert prices.remember(connection, quotes) == 4
        assert prices.load(connection, DAY) == tuple(quotes)
        assert prices.load(connection, date(2026, 11, 19)) == ()


def test_remembering_twice_writes_once(engine: Engine) -> None:
    quote = PriceBook().quote("openai", "gpt-5", PriceVariant(), DAY)
    with engine.begin() as connection:
        assert prices.remember(connection, [quote, quote]) == 1
        assert prices.remember(connection, [quote]) == 0
        assert prices.remember(connection, []) == 0


def test_an_unpriced_quote_has_null_rates_and_rates_are_decimal_strings(engine: Engine) -> None:
    book = PriceBook()
    quotes = [book.quote("openai", model, PriceVariant(), DAY) for model in ("gpt-5", "gpt-99")]
    with engine.begin() as connection:
        prices.remember(connection, quotes)
        stored = connection.execute(text("SELECT rates ->> 'cache_read', jsonb_typeof(rates -> 'output') FROM prices"))
        assert {tuple(row) for row in stored} == {("0.125", "string"), (None, None)}


def test_another_override_stands_beside_the_old_one(engine: Engine) -> None:
    with engine.begin() as connection:
        for amount in (1, 2):
            book = PriceBook([PriceOverride(amount, "openai", "gpt-5", Rates(output=Decimal(amount)), DAY)])
            prices.remember(connection, [book.quote("openai", "gpt-5", PriceVariant(), DAY)])
        rates = [quote.rates for quote in prices.load(connection, DAY)]
    assert rates == [Rates(output=Decimal(1)), Rates(output=Decimal(2))]
