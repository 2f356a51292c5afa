"""What tokens cost, as exact decimals of USD, from the price table that `genai-prices` keeps.

The table's own calculator takes 73 microseconds a call, most of it for finding out what to multiply; here that is found out once
per (provider, model) and kept as a `Tariff`, so that a call costs five multiplications. Tests compare the two over the whole table.

Input that came from a cache or went into one, reasoning output, and what was heard or spoken are priced apart where the table has a
price for them. A provider is looked up by its slug ("openai", "anthropic"), and where the slug is a name of the tenant's own ("our-proxy")
by the model's maker ("gpt-…" is OpenAI's).
A model the table does not know costs `Decimal(0)`, and `known()` says so: such calls are shown as unpriced, not as free.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Tier, TieredPrices

from menhir.metering import tokens
from menhir.metering.entries import Usage
from menhir.metering.tariffs import FREE, Price, Tariff

ASSUMED_OUTPUT_TOKENS = 1_000


def cost(*, provider: str, model: str, usage: Usage, at: datetime, own: Tariff | None = None) -> Decimal:
    """USD for the tokens of one call at the prices of that moment; `Decimal(0)` when the model has no known price.

    A tenant's `own` price goes before the table's, here and below.

    >>> from datetime import UTC
    >>> usage = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400)
    >>> cost(provider="openai", model="gpt-4o-mini", usage=usage, at=datetime(2026, 1, 1, tzinfo=UTC))
    Decimal('0.000180000')
    """
    tariff = own or _tariff(provider, model, at)
    return FREE if tariff is None else tariff.cost(usage)


def estimate(
    *, provider: str, model: str, input_characters: int, max_output_tokens: int | None, at: datetime, own: Tariff | None = None
) -> Decimal:
    """USD that a call will cost at most, before it is made: its input by its characters, its output by its limit.

    Where the caller set no limit, 1,000 tokens of output are assumed.
    """
    output_tokens = ASSUMED_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
    usage = Usage(input_tokens=tokens.of_characters(input_characters), output_tokens=output_tokens, source="estimate")
    return cost(provider=provider, model=model, usage=usage, at=at, own=own)


def most(
    *, provider: str, model: str, input_tokens: int, output_tokens: int, at: datetime, audio: bool = True, own: Tariff | None = None
) -> Decimal:
    """USD that so many tokens cost at the very most, however they are made up; `Decimal(0)` when the model has no known price.

    Without `audio` none of them is sound, which is many times as dear as text.

    >>> from datetime import UTC
    >>> most(provider="openai", model="gpt-4o-mini", input_tokens=1_000, output_tokens=100, at=datetime(2026, 1, 1, tzinfo=UTC))
    Decimal('0.00021000')
    """
    tariff = own or _tariff(provider, model, at)
    return FREE if tariff is None else tariff.most(input_tokens, output_tokens, audio=audio)


def known(*, provider: str, model: str) -> bool:
    """Whether the table has a price for this model at all."""
    return _model(provider, model) is not None


def load() -> None:
    """Read the table, which takes 65 ms that no call should wait for."""
    get_snapshot()


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
        input_audio=price.input_audio_mtok,
        cached_audio=price.cache_audio_read_mtok,
        output_audio=price.output_audio_mtok,
        request=_per_million(price.requests_kcount),
    )


def _per_million(per_thousand: Price) -> Price:
    if isinstance(per_thousand, TieredPrices):
        tiers = [Tier(start=tier.start, price=tier.price * 1_000) for tier in per_thousand.tiers]
        return TieredPrices(base=per_thousand.base * 1_000, tiers=tiers)
    return None if per_thousand is None else per_thousand * 1_000


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
