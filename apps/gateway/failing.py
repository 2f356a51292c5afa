"""What a target had done before it failed: paid apart when another one is asked in its place.

The client's own row in the ledger is of the target that answers, or fails last. One that took the request before and may have worked on
it has a row of its own, as the legs of a fan-out have: `parent_id` names the client's call. Whoever refused at once has cost nothing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from apps.gateway import afterwards, holding
from apps.gateway.settle import bill, open_call, settle
from menhir.errors import MenhirError, status_of
from menhir.postgres.ids import uuid7

if TYPE_CHECKING:
    from apps.gateway.call import Call, ResolvedRoute
    from apps.gateway.errors import UpstreamError
    from apps.gateway.settle import Tally


async def pay(call: Call, route: ResolvedRoute, tally: Tally, failure: UpstreamError, *, told: UpstreamError) -> None:
    """Charge what the target asked last has done until its `failure`, and make the tally ready for the next.

    Raises what the client is `told` when a limit does not allow for both: what is held for the call covers one target.
    """
    began = tally.asked
    leg = msgspec.structs.replace(tally, attempts=1, waited=time.perf_counter() - began)
    row: Call = msgspec.structs.replace(
        call, id=uuid7(), parent_id=call.id, opened_at=datetime.now(UTC), received=began, preface=None, guard=None, hold=None
    )
    if call.hold is not None:
        usage, cost = bill(call, leg, at=row.opened_at)
        try:
            row.hold = await holding.hold_more(call, route, tokens=usage.input_tokens + usage.output_tokens, money=cost)
        except MenhirError:
            raise told from None
    tally.taken, tally.filtered, tally.usage, tally.characters = False, False, None, 0
    afterwards.begin(_settle(row, route, leg, failure), name="settling a target that failed")


async def _settle(row: Call, route: ResolvedRoute, leg: Tally, failure: UpstreamError) -> None:
    try:
        await open_call(row, route, target=leg.target)
        await settle(row, leg, outcome="failed", status=status_of(failure), error_code=failure.code)
    finally:
        if row.hold is not None:
            row.hold.release()
