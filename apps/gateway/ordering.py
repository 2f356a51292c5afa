"""In which order a route's targets are asked: pure functions of the targets, the time and chance."""

from __future__ import annotations

import time
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from apps.gateway.weighing import input_characters, max_output_tokens
from menhir.metering import prices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from decimal import Decimal
    from typing import Any

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget


def ordered(call: Call, route: ResolvedRoute, *, now: float, chance: Callable[[], float]) -> Sequence[ResolvedTarget]:
    """Give the targets of a route in the order in which this call asks them."""
    match route.strategy:
        case "weighted":
            return by_weight(route.targets, chance)
        case "least_latency":
            return by_latency(route.targets, stream=call.stream, now=now)
        case "least_cost":
            return by_cost(route.targets, call.body, at=call.opened_at)
    return route.targets


def by_weight(targets: Sequence[ResolvedTarget], chance: Callable[[], float]) -> list[ResolvedTarget]:
    """By position; among those of one position each is first as often as its weight says, then the rest likewise.

    A weight of 0 is a last resort: such targets come after all others, by position.

    >>> from types import SimpleNamespace as Target
    >>> a, b, c = (Target(upstream_model=name, weight=weight, position=0) for name, weight in (("a", 3), ("b", 1), ("c", 0)))
    >>> [[t.upstream_model for t in by_weight([c, b, a], lambda: drawn)] for drawn in (0.0, 0.24, 0.26, 0.99)]
    [['b', 'a', 'c'], ['b', 'a', 'c'], ['a', 'b', 'c'], ['a', 'b', 'c']]
    """
    order: list[ResolvedTarget] = []
    for _, equals in groupby((target for target in targets if target.weight), key=lambda target: target.position):
        left = list(equals)
        while len(left) > 1:
            drawn = chance() * sum(target.weight for target in left)
            reached = accumulate(target.weight for target in left)
            order.append(left.pop(next(number for number, sum_ in enumerate(reached) if drawn < sum_)))
        order += left
    return order + [target for target in targets if not target.weight]


def by_latency(targets: Sequence[ResolvedTarget], *, stream: bool, now: float) -> list[ResolvedTarget]:
    """The quickest of late first; equals by position. The first is noted as chosen (see `latency`).

    >>> from types import SimpleNamespace as Target
    >>> from apps.gateway.health import Health
    >>> slow, quick = Target(upstream_model="slow", health=Health()), Target(upstream_model="quick", health=Health())
    >>> slow.health.streams.measured(2.0, now=0.0)
    >>> quick.health.streams.measured(0.1, now=0.0)
    >>> [t.upstream_model for t in by_latency([slow, quick], stream=True, now=0.0)]
    ['quick', 'slow']
    >>> for second in range(200):
    ...     order = by_latency([slow, quick], stream=True, now=float(second))
    ...     if order[0] is slow:
    ...         break
    >>> second  # nobody had asked the slow one for two minutes: it is looked at again, once
    131
    >>> by_latency([slow, quick], stream=True, now=132.0)[0].upstream_model
    'quick'
    """
    if stream:
        order = sorted(targets, key=lambda target: target.health.streams.rank(now))
        order[0].health.streams.chosen(now)
    else:
        order = sorted(targets, key=lambda target: target.health.wholes.rank(now))
        order[0].health.wholes.chosen(now)
    return order


def by_cost(targets: Sequence[ResolvedTarget], body: dict[str, Any], *, at: datetime) -> list[ResolvedTarget]:
    """The cheapest for this call first, by its text and its limit of output; equals by position.

    One whose price list does not know the model may cost anything, and comes last.

    >>> from datetime import UTC, datetime
    >>> from types import SimpleNamespace as Target
    >>> models = ("gpt-4o", "openai"), ("no-such-model", "openai"), ("gpt-4o-mini", "openai"), ("our-own", "")
    >>> targets = [Target(upstream_model=model, tariff=tariff, price=None) for model, tariff in models]
    >>> order = by_cost(targets, {"input": "x" * 400}, at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> [target.upstream_model for target in order]
    ['our-own', 'gpt-4o-mini', 'gpt-4o', 'no-such-model']
    """
    characters, limit = input_characters(body), max_output_tokens(body)

    def price(target: ResolvedTarget) -> tuple[bool, Decimal | int]:
        if target.price is None:
            if not target.tariff:
                return False, 0
            if not prices.known(provider=target.tariff, model=target.upstream_model):
                return True, 0
        return False, prices.estimate(
            provider=target.tariff,
            model=target.upstream_model,
            input_characters=characters,
            max_output_tokens=limit,
            at=at,
            own=target.price,
        )

    return sorted(targets, key=price)


def willing(targets: Sequence[ResolvedTarget]) -> Sequence[ResolvedTarget]:
    """Leave out those whose breaker is open; when all are, give the one that has had the longest time to recover."""
    if all(target.health.breaker.calm for target in targets):
        return targets
    now = time.monotonic()
    return [target for target in targets if not target.health.breaker.shuns(now)] or [
        min(targets, key=lambda target: target.health.breaker.failed_at)
    ]
