"""What tokens cost, as exact decimals of USD, from the price table that `genai-prices` keeps.

The table's own calculator takes 73 microseconds a call, most of it for finding out what to multiply; here that is found out once
per (provider, model) and kept as a `Tariff`, so that a call costs five multiplications. Tests compare the two over the whole table.

Input that came from a cache or went into one, and reasoning output, are priced apart where the table has a price for them. A provider
is looked up by its slug ("openai", "anthropic"), and where the slug is a name of the tenant's own ("our-proxy") by the model's maker
("gpt-…" is OpenAI's).
A model the table does not know costs `Decimal(0)`, and `known()` says so: such calls are shown as unpriced, not as free.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from menhir.metering import tokens
from menhir.metering.entries import Usage

ASSUMED_OUTPUT_TOKENS = 1_000
PER_MILLION = Decimal("1e-6")
FREE = Decimal(0)

Price = Decimal | TieredPrices | None


def cost(*, provider: str, model: str, usage: Usage, at: datetime) -> Decimal:
    """USD for the tokens of one call at the prices of that moment; `Decimal(0)` when the model has no known price.

    >>> from datetime import UTC
    >>> usage = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400)
    >>> cost(provider="openai", model="gpt-4o-mini", usage=usage, at=datetime(2026, 1, 1, tzinfo=UTC))
    Decimal('0.000180000')
    """
    tariff = _tariff(provider, model, at)
    return FREE if tariff is None else tariff.cost(usage)


def estimate(*, provider: str, model: str, input_characters: int, max_output_tokens: int | None, at: datetime) -> Decimal:
    """USD that a call will cost at most, before it is made: its input by its characters, its output by its limit.

    Where the caller set no limit, 1,000 tokens of output are assumed.
    """
    output_tokens = ASSUMED_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
    usage = Usage(input_tokens=tokens.of_characters(input_characters), output_tokens=output_tokens, source="estimate")
    return cost(provider=provider, model=model, usage=usage, at=at)


def most(*, provider: str, model: str, input_tokens: int, output_tokens: int, at: datetime) -> Decimal:
    """USD that so many tokens cost at the very most, however they are made up; `Decimal(0)` when the model has no known price.

    >>> from datetime import UTC
    >>> most(provider="openai", model="gpt-4o-mini", input_tokens=1_000, output_tokens=100, at=datetime(2026, 1, 1, tzinfo=UTC))
    Decimal('0.00021000')
    """
    tariff = _tariff(provider, model, at)
    return FREE if tariff is None else tariff.most(input_tokens, output_tokens)


def known(*, provider: str, model: str) -> bool:
    """Whether the table has a price for this model at all."""
    return _model(provider, model) is not None


def load() -> None:
    """Read the table, which takes 65 ms that no call should wait for."""
    get_snapshot()


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one model, in USD per million tokens; a price may rise with the size of the input."""

    input: Price
    cached_input: Price
    output: Price
    reasoning: Price
    cache_write: Price = None
    cache_write_1h: Price = None

    def cost(self, usage: Usage) -> Decimal:
        """What is priced apart is taken out of the whole first, and never more than the whole holds."""
        size = usage.input_tokens
        cached = min(usage.cached_input_tokens, size) if self.cached_input is not None else 0
        reasoning = min(usage.reasoning_tokens, usage.output_tokens) if self.reasoning is not None else 0
        price = _rate(self.input, size) * (size - cached) + _rate(self.output, size) * (usage.output_tokens - reasoning)
        if cached:
            price += _rate(self.cached_input, size) * cached
        if reasoning:
            price += _rate(self.reasoning, size) * reasoning
        if usage.cache_write_tokens:
            price += self._surcharge(usage, size, fresh=size - cached)
        return PER_MILLION * price

    def _surcharge(self, usage: Usage, size: int, *, fresh: int) -> Decimal:
        """What tokens cost more, having gone into a cache, than the fresh ones they were counted as."""
        written = min(usage.cache_write_tokens, fresh)
        hour = min(usage.cache_write_1h_tokens, written) if self.cache_write_1h is not None else 0
        rest = written - hour if self.cache_write is not None else 0
        return _rate(self.cache_write_1h, size) * hour + _rate(self.cache_write, size) * rest - _rate(self.input, size) * (hour + rest)

    def most(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Each token at the dearest price that it may have."""
        read = max(
            _dearest(self.input, input_tokens),
            _dearest(self.cached_input, input_tokens),
            _dearest(self.cache_write, input_tokens),
            _dearest(self.cache_write_1h, input_tokens),
        )
        written = max(_dearest(self.output, input_tokens), _dearest(self.reasoning, input_tokens))
        return PER_MILLION * (read * input_tokens + written * output_tokens)


def _dearest(price: Price, input_tokens: int) -> Decimal:
    if price is None or isinstance(price, Decimal):
        return price or FREE
    return max(price.base, *(tier.price for tier in price.tiers if input_tokens > tier.start), FREE)


def _rate(price: Price, input_tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    if price is None:
        return FREE
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)


def _tariff(provider: str, model: str, at: datetime) -> Tariff | None:
    info = _model(provider, model)
    if info is None:
        return None
    # A model whose price depends on the date or the hour answers with the same ModelPrice object each time it holds.
    price = info.get_prices(at)
    tariff = _TARIFFS.get(id(price))
    if tariff is None:
        tariff = _TARIFFS[id(price)] = _compile(price)
    return tariff


_TARIFFS: dict[int, Tariff] = {}  # by identity: the table's prices live as long as the process


def _compile(price: ModelPrice) -> Tariff:
    return Tariff(
        input=price.input_mtok,
        cached_input=price.cache_read_mtok,
        output=price.output_mtok,
        reasoning=price.output_reasoning_mtok,
        cache_write=price.cache_write_mtok,
        cache_write_1h=price.cache_write_1h_mtok,
    )


@lru_cache(maxsize=4096)
def _model(provider: str, model: str) -> ModelInfo | None:
    """Finding a model walks a list of thousands; tenants name models as they like, so what is kept is bounded."""
    snapshot = get_snapshot()
    for provider_id in (provider, None):
        try:
            return snapshot.find_provider_model(model, None, provider_id, None)[1]
        except LookupError:
            continue
    return None
