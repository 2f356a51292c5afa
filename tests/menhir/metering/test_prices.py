"""Prices: exact, equal to the kept table's own calculator over all of it, and never an error for a model nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice

from menhir.metering import prices
from menhir.metering.entries import Usage

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
# What has no sound in it can be asked of every model; the table refuses counts of a detail that it does not price beside one that it does.
TEXT = [
    Usage(input_tokens=1_000, output_tokens=100),
    Usage(input_tokens=300_000, output_tokens=7, cached_input_tokens=250_000, reasoning_tokens=3),
    Usage(input_tokens=0, output_tokens=0),
    Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400, cache_write_tokens=300, cache_write_1h_tokens=100),
    Usage(input_tokens=400_000, output_tokens=1, cache_write_tokens=400_000),
]
SOUND = [
    Usage(input_tokens=1_000, output_tokens=100, input_audio_tokens=900),
    Usage(input_tokens=1_000, output_tokens=100, input_audio_tokens=1_000, output_audio_tokens=100),
    Usage(input_tokens=300_000, output_tokens=90, cached_input_tokens=800, input_audio_tokens=900, cached_audio_tokens=700),
    Usage(input_tokens=1_000, output_tokens=90, cached_input_tokens=1_000, input_audio_tokens=1_000, cached_audio_tokens=1_000),
    Usage(input_tokens=9, output_tokens=90, output_audio_tokens=80, cached_input_tokens=5, reasoning_tokens=10),
]


def said_by_the_table(price: ModelPrice, usage: Usage) -> Decimal:
    said = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cache_audio_read_tokens=usage.cached_audio_tokens,
        output_audio_tokens=usage.output_audio_tokens,
    )
    return price.calc_price(said)["total_price"]


def test_every_model_of_the_table_costs_what_the_table_says():
    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            price = model.get_prices(AT)
            for usage in TEXT + SOUND:
                assert prices._compile(price).cost(usage) == said_by_the_table(price, usage), f"{provider.id} {model.id} {usage}"
                compared += 1
    assert compared > 20_000


@pytest.mark.parametrize(
    ("tariff", "model", "heard", "spoken"),
    [("google", "gemini-2.5-flash", "1.0", "2.5"), ("openai", "gpt-audio", "32", "64")],
)
def test_sound_is_priced_apart(tariff, model, heard, spoken):
    usage = Usage(input_tokens=1_000, output_tokens=100, input_audio_tokens=1_000, output_audio_tokens=100)
    cost = prices.cost(provider=tariff, model=model, usage=usage, at=AT)
    assert cost == (1_000 * Decimal(heard) + 100 * Decimal(spoken)) / 1_000_000


def test_a_price_of_each_call_is_paid_besides():
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    assert prices.cost(provider="perplexity", model="sonar", usage=usage, at=AT) == Decimal("0.014")
    assert prices.most(provider="perplexity", model="sonar", input_tokens=1_000, output_tokens=1_000, at=AT) == Decimal("0.014")


def test_cached_input_is_priced_apart():
    usage = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400)
    cost = prices.cost(provider="openai", model="gpt-4o-mini", usage=usage, at=AT)
    assert cost == (600 * Decimal("0.15") + 400 * Decimal("0.075") + 100 * Decimal("0.6")) / 1_000_000
    assert isinstance(cost, Decimal)


def test_reasoning_is_priced_apart_where_it_has_a_price():
    tariff = prices._compile(ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2), output_reasoning_mtok=Decimal(3)))
    assert tariff.cost(Usage(input_tokens=0, output_tokens=10, reasoning_tokens=4)) == Decimal("0.000024")


def test_what_a_cache_took_is_priced_apart():
    usage = Usage(input_tokens=1_000, output_tokens=0, cached_input_tokens=400, cache_write_tokens=300, cache_write_1h_tokens=100)
    cost = prices.cost(provider="anthropic", model="claude-sonnet-4-5", usage=usage, at=AT)
    assert cost == (300 * 3 + 400 * Decimal("0.3") + 200 * Decimal("3.75") + 100 * 6) / Decimal(1_000_000)


def test_the_most_that_a_call_may_cost_is_all_of_it_kept_for_an_hour():
    most = prices.most(provider="anthropic", model="claude-sonnet-4-5", input_tokens=1_000, output_tokens=10, at=AT)
    assert most == (1_000 * 6 + 10 * 15) / Decimal(1_000_000)


def test_more_written_than_sent_is_not_charged():
    usage = Usage(input_tokens=10, output_tokens=0, cached_input_tokens=6, cache_write_tokens=1_000, cache_write_1h_tokens=5_000)
    cost = prices.cost(provider="anthropic", model="claude-sonnet-4-5", usage=usage, at=AT)
    assert cost == (6 * Decimal("0.3") + 4 * 6) / Decimal(1_000_000)


@pytest.mark.parametrize(
    ("tariff", "model"),
    [
        ("anthropic", "claude-opus-4-8"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("google", "gemini-2.5-pro"),
        ("google", "gemini-3-pro-preview"),
        ("google", "gemini-embedding-001"),
    ],
)
def test_the_makers_of_other_wires_are_in_the_table(tariff, model):
    assert prices.known(provider=tariff, model=model)


def test_more_cached_than_sent_is_not_money_back():
    usage = Usage(input_tokens=10, output_tokens=0, cached_input_tokens=1_000)
    assert prices.cost(provider="openai", model="gpt-4o-mini", usage=usage, at=AT) == 10 * Decimal("0.075") / 1_000_000


@pytest.mark.parametrize(("provider", "model"), [("local", "all-MiniLM-L6-v2"), ("openai", "gpt-none"), ("", ""), ("extract", "extract")])
def test_an_unknown_model_costs_nothing_and_is_known_to_be_unknown(provider, model):
    assert prices.cost(provider=provider, model=model, usage=Usage(input_tokens=9, output_tokens=9), at=AT) == Decimal(0)
    assert not prices.known(provider=provider, model=model)


def test_a_provider_of_the_tenants_own_name_is_priced_by_the_models_maker():
    usage = Usage(input_tokens=1_000, output_tokens=0)
    own, makers = (prices.cost(provider=provider, model="gpt-4o-mini", usage=usage, at=AT) for provider in ("our-proxy", "openai"))
    assert own == makers > 0


def test_an_estimate_is_what_the_call_may_cost_at_most():
    estimate = prices.estimate(provider="openai", model="gpt-4o-mini", input_characters=4_000, max_output_tokens=50, at=AT)
    assert estimate == prices.cost(provider="openai", model="gpt-4o-mini", usage=Usage(input_tokens=1_000, output_tokens=50), at=AT)
    unlimited = prices.estimate(provider="openai", model="gpt-4o-mini", input_characters=4_000, max_output_tokens=None, at=AT)
    assert unlimited > estimate


@pytest.mark.parametrize("model", ["gpt-4o-mini", "no-such-model"])
def test_a_model_is_looked_up_once(model):
    first, again = (prices._tariff("openai", model, AT) for _ in range(2))
    assert first is again
    before = prices._model.cache_info().misses
    prices.cost(provider="openai", model=model, usage=Usage(input_tokens=1_000, output_tokens=100), at=AT)
    assert prices._model.cache_info().misses == before
