"""Shadow traffic: a share of a route's calls is shown to another target as well, and what it says is dropped.

It begins when the client's answer has begun, in a task of its own: it can neither delay nor fail the client's call. It has a
row of its own in the ledger (`parent_id` names the client's call), and what it uses is paid like anything else.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from apps.gateway import afterwards, holding, relay
from apps.gateway.asking import ask
from apps.gateway.hangup import Watch
from apps.gateway.settle import INTERNAL_STATUS, Tally, open_call, settle
from menhir.errors import MenhirError, status_of
from menhir.postgres.ids import uuid7

if TYPE_CHECKING:
    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget

MOST_SHADOWS = 32
"""At one time in one process; a call beyond that casts none."""
LONGEST_SECONDS = 300.0

_under_way: set[asyncio.Task[None]] = set()


def cast(call: Call, route: ResolvedRoute) -> None:
    """Show the call to each shadow of its route, as often as its percentage says."""
    now = time.monotonic()
    for target in route.shadows:
        if len(_under_way) < MOST_SHADOWS and random.random() * 100 < target.weight and not target.health.breaker.shuns(now):  # noqa: S311 - a sample
            copy = msgspec.structs.replace(
                call, id=uuid7(), parent_id=call.id, opened_at=datetime.now(UTC), received=time.perf_counter(), preface=None, guard=None
            )
            task = afterwards.begin(_ask(copy, route, target), name=f"shadow at {target.provider}")
            _under_way.add(task)
            task.add_done_callback(_under_way.discard)


async def _ask(call: Call, route: ResolvedRoute, target: ResolvedTarget) -> None:
    try:
        hold = call.hold = await holding.hold_shadow(call, route, target)
    except MenhirError:
        return  # a shadow is the first to go without
    try:
        await _ask_within(call, route, target)
    finally:
        if hold is not None:
            hold.release()


async def _ask_within(call: Call, route: ResolvedRoute, target: ResolvedTarget) -> None:
    try:
        await open_call(call, route, target=target)
    except MenhirError:
        return  # what cannot be written down is not asked
    tally = Tally()
    try:
        with Watch(asyncio.Event()) as watch:
            watch.within(LONGEST_SECONDS)
            answer = await ask(call, target, tally, watch)
            try:
                ending = await relay.stream(call, answer, Nobody(), tally, watch) if call.stream else None
            finally:
                await answer.close()
    except MenhirError as e:
        await settle(call, tally, outcome="failed", status=status_of(e), error_code=e.code)
    except asyncio.CancelledError:
        await settle(call, tally, outcome="interrupted", status=INTERNAL_STATUS, error_code="interrupted")
        raise
    except Exception:
        await settle(call, tally, outcome="failed", status=INTERNAL_STATUS, error_code="internal_error")
        raise
    else:
        if ending is None:
            await settle(call, tally, outcome="completed", status=200)
        else:
            await settle(call, tally, outcome=ending.outcome, status=200, error_code=ending.error_code)


class Nobody:
    """Who reads a shadow's answer; the way back to a client who is not there."""

    async def start(self, status: int, headers: relay.Headers) -> None:
        """Drop it."""

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Drop it."""
