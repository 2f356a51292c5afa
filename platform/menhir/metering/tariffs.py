"""A tariff: the prices of one model, and what tokens cost by it.

Everything is in USD per million. Tokens that have a price apart (from a cache, into one, thought, heard, spoken) are taken out of the whole
first, and never more of them than the whole holds: what an upstream says of its details may be nonsense, and a cost below nothing would
give money back.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from genai_prices.types import TieredPrices

from menhir.metering.entries import Usage

PER_MILLION = Decimal("1e-6")
FREE = Decimal(0)

Price = Decimal | TieredPrices | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one model, in USD per million tokens, `request` per million calls; a price may rise with the size of the input."""

    input: Price
    cached_input: Price
    output: Price
    reasoning: Price = None
    cache_write: Price = None
    cache_write_1h: Price = None
    input_audio: Price = None
    cached_audio: Price = None
    output_audio: Price = None
    request: Price = None

    def cost(self, usage: Usage) -> Decimal:
        """What this usage costs.

        >>> tariff = Tariff(input=Decimal(2), cached_input=None, output=Decimal(4), input_audio=Decimal(32))
        >>> tariff.cost(Usage(input_tokens=10, output_tokens=5, input_audio_tokens=3))
        Decimal('0.000130')
        """
        size = usage.input_tokens
        cached = min(usage.cached_input_tokens, size) if self.cached_input is not None else 0
        reasoning = min(usage.reasoning_tokens, usage.output_tokens) if self.reasoning is not None else 0
        price = _rate(self.input, size) * (size - cached) + _rate(self.output, size) * (usage.output_tokens - reasoning)
        if cached:
            price += _rate(self.cached_input, size) * cached
        if reasoning:
            price += _rate(self.reasoning, size) * reasoning
        if usage.cache_write_tokens:
            price += self._more_for_writing(usage, size, fresh=size - cached)
        if usage.input_audio_tokens or usage.output_audio_tokens:
            price += self._more_for_audio(usage, size, cached=cached, spoken=usage.output_tokens - reasoning)
        if self.request is not None:
            price += _rate(self.request, size)
        return PER_MILLION * price

    def _more_for_writing(self, usage: Usage, size: int, *, fresh: int) -> Decimal:
        """What tokens cost more, having gone into a cache, than the fresh ones they were counted as."""
        written = min(usage.cache_write_tokens, fresh)
        hour = min(usage.cache_write_1h_tokens, written) if self.cache_write_1h is not None else 0
        rest = written - hour if self.cache_write is not None else 0
        return _rate(self.cache_write_1h, size) * hour + _rate(self.cache_write, size) * rest - _rate(self.input, size) * (hour + rest)

    def _more_for_audio(self, usage: Usage, size: int, *, cached: int, spoken: int) -> Decimal:
        """What tokens cost more as sound than as the text they were counted as; less, should sound be cheaper."""
        written = min(usage.cache_write_tokens, size - cached)
        again = min(usage.cached_audio_tokens, usage.input_audio_tokens, cached)
        heard = min(usage.input_audio_tokens - again, size - cached - written)
        said = min(usage.output_audio_tokens, spoken)
        price = FREE
        if self.input_audio is not None:
            price += (_rate(self.input_audio, size) - _rate(self.input, size)) * heard
        if self.cached_audio is not None:
            price += (_rate(self.cached_audio, size) - _rate(self.cached_input, size)) * again
        if self.output_audio is not None:
            price += (_rate(self.output_audio, size) - _rate(self.output, size)) * said
        return price

    def most(self, input_tokens: int, output_tokens: int, *, audio: bool = True) -> Decimal:
        """Each token at the dearest price that it may have; without `audio` none of them is sound."""
        read = [self.input, self.cached_input, self.cache_write, self.cache_write_1h]
        written = [self.output, self.reasoning]
        if audio:
            read += self.input_audio, self.cached_audio
            written.append(self.output_audio)
        price = _dearest(read, input_tokens) * input_tokens + _dearest(written, input_tokens) * output_tokens
        return PER_MILLION * (price + _dearest([self.request], input_tokens))


def _dearest(prices: list[Price], input_tokens: int) -> Decimal:
    found = FREE
    for price in prices:
        if isinstance(price, Decimal):
            found = max(found, price)
        elif price is not None:
            found = max(found, price.base, *(tier.price for tier in price.tiers if input_tokens > tier.start))
    return found


def _rate(price: Price, input_tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    if price is None:
        return FREE
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)
