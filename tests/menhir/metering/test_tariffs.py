"""What holds for every tariff and whatever an upstream says it used: never below nothing, never above the bound, never less for more."""

from __future__ import annotations

from decimal import Decimal

from genai_prices.types import Tier, TieredPrices
from hypothesis import given
from hypothesis import strategies as st

from menhir.metering.entries import Usage
from menhir.metering.tariffs import Tariff

AMOUNTS = st.decimals(min_value=0, max_value=1_000, places=4)
TOKENS = st.one_of(st.integers(0, 12), st.integers(0, 1_000_000_000))


@st.composite
def tiered(draw: st.DrawFn) -> TieredPrices:
    """A price that rises with the size of the input, as those of the table do."""
    base, *dearer = sorted(draw(st.lists(AMOUNTS, min_size=2, max_size=4)))
    starts = draw(st.lists(st.integers(0, 300_000), min_size=len(dearer), max_size=len(dearer), unique=True))
    return TieredPrices(base=base, tiers=[Tier(start=start, price=price) for start, price in zip(sorted(starts), dearer, strict=True)])


PRICES = AMOUNTS | tiered()
MAYBE = st.none() | PRICES
TARIFFS = st.builds(
    Tariff,
    input=MAYBE,
    cached_input=MAYBE,
    output=MAYBE,
    reasoning=MAYBE,
    cache_write=MAYBE,
    cache_write_1h=MAYBE,
    input_audio=MAYBE,
    cached_audio=MAYBE,
    output_audio=MAYBE,
    request=MAYBE,
)
# As an upstream says it: parts may come to more than their whole.
USAGES = st.builds(
    Usage,
    input_tokens=TOKENS,
    output_tokens=TOKENS,
    cached_input_tokens=TOKENS,
    reasoning_tokens=TOKENS,
    cache_write_tokens=TOKENS,
    cache_write_1h_tokens=TOKENS,
    input_audio_tokens=TOKENS,
    cached_audio_tokens=TOKENS,
    output_audio_tokens=TOKENS,
)


@given(TARIFFS, USAGES)
def test_nothing_costs_less_than_nothing(tariff: Tariff, usage: Usage) -> None:
    assert tariff.cost(usage) >= 0


@given(TARIFFS, USAGES, TOKENS, TOKENS)
def test_nothing_within_the_bound_costs_more_than_the_bound(tariff: Tariff, usage: Usage, more_read: int, more_written: int) -> None:
    bound = tariff.most(usage.input_tokens + more_read, usage.output_tokens + more_written)
    assert tariff.cost(usage) <= bound


@given(TARIFFS, USAGES)
def test_without_sound_a_lower_bound_holds(tariff: Tariff, usage: Usage) -> None:
    silent = Usage(**{name: getattr(usage, name) for name in Usage.__struct_fields__ if "audio" not in name})
    assert tariff.cost(silent) <= tariff.most(usage.input_tokens, usage.output_tokens, audio=False)
    assert tariff.most(usage.input_tokens, usage.output_tokens, audio=False) <= tariff.most(usage.input_tokens, usage.output_tokens)


@given(TARIFFS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_a_wider_bound_is_no_lower(tariff: Tariff, read: int, written: int, more_read: int, more_written: int) -> None:
    assert tariff.most(read, written) <= tariff.most(read + more_read, written + more_written)


@given(TARIFFS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_more_text_costs_no_less(tariff: Tariff, read: int, written: int, more_read: int, more_written: int) -> None:
    less = tariff.cost(Usage(input_tokens=read, output_tokens=written))
    assert less <= tariff.cost(Usage(input_tokens=read + more_read, output_tokens=written + more_written))


@given(TARIFFS, USAGES, TOKENS)
def test_more_output_costs_no_less_whatever_it_is_made_of(tariff: Tariff, usage: Usage, more: int) -> None:
    grown = Usage(**{name: getattr(usage, name) for name in Usage.__struct_fields__} | {"output_tokens": usage.output_tokens + more})
    assert tariff.cost(usage) <= tariff.cost(grown)


def test_parts_that_come_to_more_than_their_whole_are_cut_to_it() -> None:
    tariff = Tariff(input=Decimal(1), cached_input=Decimal(2), output=Decimal(1), input_audio=Decimal(4), cached_audio=Decimal(8))
    usage = Usage(input_tokens=10, output_tokens=0, cached_input_tokens=6, input_audio_tokens=1_000, cached_audio_tokens=1_000)
    assert tariff.cost(usage) == (6 * Decimal(8) + 4 * Decimal(4)) / 1_000_000
