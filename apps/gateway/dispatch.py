"""Who answers: the route's targets in the order of its strategy, until one has begun.

Of a failure only four things are asked. Busy: once more here, after a moment, then the next target. Down, or unfit for this
request: the next target at once. Refused: stop, it would be refused everywhere. Out of time: stop. Who has failed time and
again is passed over (`breaker`), and asked only when everybody is.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from apps.gateway import failing
from apps.gateway.asking import Answer, ask
from apps.gateway.errors import TotalTimeout, UnknownModel, UpstreamBusy, UpstreamDown, UpstreamUnfit
from apps.gateway.fanout import race
from apps.gateway.ordering import ordered, willing
from apps.gateway.refusals import telling
from apps.gateway.retrying import pause_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget
    from apps.gateway.errors import UpstreamError
    from apps.gateway.hangup import Watch
    from apps.gateway.settle import Tally

    Asks = Callable[[Call, ResolvedTarget, Tally, Watch], Coroutine[Any, Any, Answer]]

__all__ = ["Answer", "dispatch"]


def dispatch(call: Call, route: ResolvedRoute, tally: Tally, watch: Watch) -> Coroutine[Any, Any, Answer]:
    """Ask the route's targets; raises UpstreamError when none of them answers."""
    if route.total_timeout_seconds is not None:
        watch.within(route.total_timeout_seconds - (time.perf_counter() - call.received))
    targets = route.targets
    if len(targets) == 1:
        return _in_turn(call, route, targets, ask, tally, watch)
    if route.strategy == "fan_out":
        return race(call, route, willing(targets), tally, watch)
    order = willing(ordered(call, route, now=time.monotonic(), chance=random.random))
    return _in_turn(call, route, order, _ask_and_measure if route.strategy == "least_latency" else ask, tally, watch)


async def _in_turn(call: Call, route: ResolvedRoute, targets: Sequence[ResolvedTarget], asks: Asks, tally: Tally, watch: Watch) -> Answer:
    """Ask one after another; raises the most hopeful of their errors when none of them answers."""
    failure: UpstreamError | None = None
    latest: UpstreamError | None = None
    last = targets[-1] if targets else None
    for target in targets:
        if failure is not None and _has_become_unwilling(target, watch, failure):
            continue
        tally.elsewhere = target is not last
        tried = 0
        while True:
            if failure is not None and latest is not None and tally.taken:
                await failing.pay(call, route, tally, latest, told=failure)
            try:
                return await asks(call, target, tally, watch)
            except UpstreamBusy as busy:
                failure = latest = busy
                tried += 1
                if not await _paused(call, route, busy, tried=tried, watch=watch):
                    break
            except (UpstreamDown, UpstreamUnfit) as elsewhere:
                failure, latest = telling(failure, elsewhere), elsewhere
                break
    raise failure or UnknownModel(f"The model `{route.name}` has nowhere to run.", param="model")


def _has_become_unwilling(target: ResolvedTarget, watch: Watch, failure: UpstreamError) -> bool:
    """Tell whether others are at the next target's breaker meanwhile. Raises TotalTimeout when it is too late for any."""
    if watch.left() <= 0:
        raise TotalTimeout from failure
    return target.health.breaker.shuns(time.monotonic())


async def _ask_and_measure(call: Call, target: ResolvedTarget, tally: Tally, watch: Watch) -> Answer:
    latency = target.health.streams if call.stream else target.health.wholes
    began = time.monotonic()
    try:
        answer = await ask(call, target, tally, watch)
    except (UpstreamBusy, UpstreamDown):
        now = time.monotonic()
        latency.failed(now - began, now)
        raise
    now = time.monotonic()
    latency.measured(now - began, now)
    return answer


async def _paused(call: Call, route: ResolvedRoute, busy: UpstreamBusy, *, tried: int, watch: Watch) -> bool:
    """Wait before the same target is asked again; False at once when it shall not be."""
    if call.client_retries or tried > route.retries:
        return False
    pause = pause_seconds(tried=tried, retry_after_seconds=busy.retry_after_seconds, chance=random.random())  # noqa: S311 - spreads callers, hides nothing
    if pause is None or (watch.limit and pause >= watch.left()):
        return False
    await asyncio.sleep(pause)
    return True
