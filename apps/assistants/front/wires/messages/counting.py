"""How many tokens a message would take: Anthropic's own count where it answers, else an estimate.

What is counted is what would be sent: the translated call, with the prompt of ours that it names, and with what guardrails left of it.
A count takes a request of the caller's limits, like any other. It costs nothing, so the ledger has none of it; and a target's breaker
learns nothing by it, since many servers that answer messages do not count.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson

from apps.gateway import holding, runtime
from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget
from apps.gateway.errors import UpstreamError, UpstreamRefused
from apps.gateway.guardrails.guarding import guard_request
from apps.gateway.upstreams import Attempt
from apps.gateway.upstreams.anthropic import counting
from apps.gateway.upstreams.anthropic.encode import request_of
from apps.gateway.weighing import input_characters
from menhir.metering import tokens

COUNTING: Final = "anthropic"
"""The kind of provider that counts for others."""
PATIENCE_SECONDS: Final = 3.0
COUNTED: Final = frozenset(
    {"messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "context_management", "mcp_servers"}
)
"""Of a message: what can be counted. Anthropic refuses every other member there."""


class Count(NamedTuple):
    """So many tokens; `exact` when whoever would read them counted."""

    tokens: int
    exact: bool


async def count(call: Call) -> Count:
    """Count a call that is resolved. Raises LimitReached, GuardrailError, and UpstreamRefused when it is not as it must be."""
    route = call.route
    hold = await holding.hold_count(call, route) if route is not None else None
    try:
        counted = await _asked(call, route) if route is not None else None
    finally:
        if hold is not None:
            hold.settle(tokens=0, cost=Decimal(0))
    return counted or Count(tokens.of_characters(input_characters(call.body)), exact=False)


async def _asked(call: Call, route: ResolvedRoute) -> Count | None:
    """Whoever would read it; None when it does not count, or not now."""
    target = route.targets[0] if route.targets else None
    if target is None or target.kind != COUNTING or target.health.breaker.shuns(time.monotonic()):
        return None
    if route.guards is not None:
        await guard_request(call, route)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Count(await counting.count(_attempt(call, route, target)), exact=True)
    except UpstreamRefused:
        raise
    except (UpstreamError, TimeoutError):
        return None  # nobody is served worse by an estimate that says so


def _attempt(call: Call, route: ResolvedRoute, target: ResolvedTarget) -> Attempt:
    def attempt(body: dict[str, Any]) -> Attempt:
        return Attempt(
            operation="chat",
            path="",
            body=body,
            raw=None,
            stream=False,
            target=target,
            request_id=call.request_id,
            trace=call.trace,
            session=runtime.session(),
            max_output_tokens=route.max_output_tokens,
        )

    sent = request_of(attempt(call.body))
    said = {name: value for name, value in orjson.loads(sent.body).items() if name in COUNTED}
    return attempt({**said, "betas": sent.betas.split(",")} if sent.betas else said)
