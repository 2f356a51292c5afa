"""The walk of one call through the gateway: cache, limits, opening row, dispatch, relay, settle.

It is never handed back up: `run` returns when the client has its last byte and the ledger has both rows. Errors are
raised only while nothing has been promised to the client; after that they are told inside the stream.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from apps.gateway import classifier, holding, relay, routing, shadow
from apps.gateway.cache import answering, embeddings
from apps.gateway.capture.recording import Recorder
from apps.gateway.dispatch import dispatch
from apps.gateway.errors import GuardrailError, UnknownModel
from apps.gateway.guardrails.guarding import guard_request
from apps.gateway.hangup import HungUp, Watch
from apps.gateway.settle import HUNG_UP_STATUS, INTERNAL_STATUS, Tally, open_call, settle
from apps.gateway.wire import error_event
from menhir.errors import MenhirError, status_of
from menhir.metering.limits import limits

if TYPE_CHECKING:
    from apps.gateway.call import Call, ResolvedRoute, Respond
    from apps.gateway.dispatch import Answer
    from apps.gateway.hangup import Gone

DRAIN_SECONDS = 1.0


async def run(call: Call, respond: Respond, gone: Gone) -> None:
    """Answer a call. Raises GatewayError (or another MenhirError) only before `respond.start`."""
    route = call.route or await routing.resolve(call.principal.tenant_id, call.model)
    if route is not None and route.branches:
        route = await classifier.choose(call, route)
    if route is None or not route.targets:
        raise UnknownModel(f"The model `{call.model}` does not exist.", param="model")
    call.route = route
    if route.capture is not None and not isinstance(respond, Recorder):
        with Recorder(call, route.capture, respond) as recorder:
            await run(call, recorder, gone)
        return
    if route.guards is not None:
        await guard_request(call, route)
    if call.operation == "embeddings":
        await embeddings.answer(call, route, respond, gone, ask)
    elif route.cache_seconds and (call.guard is None or call.guard.shareable):
        await answering.answer(call, route, respond, gone, ask)
    else:
        await ask(call, route, respond, gone)


async def ask(call: Call, route: ResolvedRoute, respond: Respond, gone: Gone) -> None:
    """Answer a call that no cache answers, within the limits of whoever makes it."""
    if limits.none_for(call.principal.tenant_id):
        await _ask(call, route, respond, gone)
        return
    hold = call.hold = await holding.hold(call, route)
    try:
        await _ask(call, route, respond, gone)
    finally:
        if hold is not None:
            hold.release()  # unless it is settled: no way out of here forgets it


async def _ask(call: Call, route: ResolvedRoute, respond: Respond, gone: Gone) -> None:
    await open_call(call, route)
    tally = Tally()
    try:
        with Watch(gone) as watch:
            answer = await dispatch(call, route, tally, watch)
            if route.shadows and call.stream:
                shadow.cast(call, route)
            try:
                ending = await relay.stream(call, answer, respond, tally, watch) if call.stream else None
            except BaseException:
                await answer.close()
                raise
    except HungUp:
        await settle(call, tally, outcome="cancelled", status=HUNG_UP_STATUS, error_code="client_hung_up")
        return
    except MenhirError as e:
        reason = e.reason if isinstance(e, GuardrailError) else e.code
        await settle(call, tally, outcome="failed", status=status_of(e), error_code=reason)
        raise
    except asyncio.CancelledError:
        # The process is going down: say what is known; the sweeper would charge the estimate.
        await settle(call, tally, outcome="interrupted", status=INTERNAL_STATUS, error_code="interrupted")
        raise
    except Exception:
        await settle(call, tally, outcome="failed", status=INTERNAL_STATUS, error_code="internal_error")
        raise
    if ending is None:
        await _finish_whole(call, answer, respond, tally)
    else:
        await _finish_stream(call, answer, ending, respond, tally)


async def _finish_whole(call: Call, answer: Answer, respond: Respond, tally: Tally) -> None:
    if call.operation == "embeddings":
        embeddings.keep(call, answer.target, answer.body)
    body = answer.body
    if call.guard is not None:
        try:
            body = await call.guard.check_answer(body)
        except GuardrailError as e:
            await settle(call, tally, outcome="failed", status=status_of(e), error_code=e.reason)
            raise
        except asyncio.CancelledError:
            await settle(call, tally, outcome="interrupted", status=INTERNAL_STATUS, error_code="interrupted")
            raise
        except Exception:  # what the upstream has done is known and owed, whatever became of looking at it
            await settle(call, tally, outcome="failed", status=INTERNAL_STATUS, error_code="internal_error")
            raise
    cost = await settle(call, tally, outcome="completed", status=200)
    with suppress(OSError):  # the client has left, and everything is written down
        await relay.whole(call, body, respond, tally, cost=cost)
    if call.route is not None and call.route.shadows:
        shadow.cast(call, call.route)


async def _finish_stream(call: Call, answer: Answer, ending: relay.Ending, respond: Respond, tally: Tally) -> None:
    try:
        last = ending.last
        if ending.broke:
            answer.target.health.breaker.failed(time.monotonic())
        try:
            await settle(call, tally, outcome=ending.outcome, status=200, error_code=ending.error_code)
        except MenhirError as e:
            last = error_event(e)
        if ending.outcome != "completed":
            await answer.close()  # nobody will read on: the upstream does not wait for the client to hear of it
        with suppress(OSError):
            await respond.send(last, False)
        if ending.outcome == "completed":
            await _drain(answer)
    finally:
        await answer.close()


async def _drain(answer: Answer) -> None:
    """Read to the end of the connection, so that it serves again; the client has everything and does not wait."""
    with Watch(asyncio.Event()) as watch:
        watch.allow(DRAIN_SECONDS)
        try:
            async for _ in answer.chunks:
                pass
        except asyncio.CancelledError:
            if not watch.expired():
                raise
        except MenhirError:
            return
